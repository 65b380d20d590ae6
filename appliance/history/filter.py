"""Which calls are asked for, and which the one who asks may see (pure)."""

from __future__ import annotations

import datetime
import unicodedata
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import Fault, InvalidError
from appliance.history.model import Direction, Outcome

TEXT_MAX: Final = 200
"""Characters of a text that is looked for."""
YEARS: Final = (1970, 2999)
_TEXTS: Final = ("number", "number_prefix", "number_part", "name", "extension", "device", "trunk", "site")
_RANGES: Final = ("talk_ms", "ring_ms", "loss_percent", "jitter_ms")
_MAX: Final = 2**53
"""Greatest whole number that JSON's readers keep exactly; no duration is longer."""


@dataclass(frozen=True, slots=True)
class Visible:
    """Calls in which any of these took part: extensions (by number, also when they were only dialled), sites, trunks (by
    id). Nothing given: no call at all. A user's own: the extension; a site manager's: the site, not all its extensions."""

    extensions: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    trunks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Range:
    """From ``low`` to ``high``, both included; None: no bound on that side."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls. Nothing given: all. Everything given must hold.

    :param since: calls that started then or later; with a time zone.
    :param until: calls that started before.
    :param number: an extension or number that took part in any role, exactly as recorded (outside numbers as ``+39…``).
    :param number_prefix: one that begins so.
    :param number_part: one that has this in it.
    :param name: part of the caller's name; case and compatibility forms don't matter.
    :param extension: number of an extension one of whose devices took part.
    :param device: id of a device that called or was called; ``trunk``, ``site`` likewise (tried counts as taken part).
    :param talk_ms: milliseconds from answer to end; calls that weren't answered have 0.
    :param ring_ms: milliseconds that it rang.
    :param loss_percent: highest loss on any leg in either direction, 0–100. Calls that weren't measured aren't found.
    :param jitter_ms: highest jitter on any leg in either direction. Likewise.
    :param id: the call's id in the history.
    :param linked_id: the engine's id of the call.
    """

    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    number: str = ""
    direction: Direction | None = None
    outcome: Outcome | None = None
    number_prefix: str = ""
    number_part: str = ""
    name: str = ""
    extension: str = ""
    device: str = ""
    trunk: str = ""
    site: str = ""
    talk_ms: Range | None = None
    ring_ms: Range | None = None
    loss_percent: Range | None = None
    jitter_ms: Range | None = None
    id: int | None = None
    linked_id: str = ""

    def check(self) -> None:
        """:raises InvalidError: a text, time or range that can't be; every fault at once."""
        faults = [fault for name in (*_TEXTS, "linked_id") for fault in _text_faults(name, getattr(self, name))]
        for name in _RANGES:
            faults += _range_faults(name, getattr(self, name))
        for name in ("since", "until"):
            time = getattr(self, name)
            if time is not None and time.tzinfo is None:
                faults.append(_fault(name, "the time has no time zone", "2026-11-23T08:00:00+01:00"))
            elif time is not None and not YEARS[0] <= time.year <= YEARS[1]:
                faults.append(_fault(name, "no call was or will be then", f"a year from {YEARS[0]} to {YEARS[1]}"))
        if self.id is not None and not 0 < self.id <= _MAX:
            faults.append(_fault("id", f"{self.id} is no id of a call", "a number from 1 on"))
        if faults:
            raise InvalidError(faults)


EVERY_CALL: Final = CallFilter()


def millis(time: datetime.datetime) -> int:
    """Milliseconds since the epoch."""
    return int(time.timestamp() * 1000)


def _text_faults(name: str, text: str) -> list[Fault]:
    if len(text) > TEXT_MAX:
        return [_fault(name, f"{len(text)} characters are too many", f"at most {TEXT_MAX}")]
    if any(unicodedata.category(character) == "Cs" or character == "\x00" for character in text):
        return [_fault(name, "there is a character in it that no text has", "text in Unicode")]
    return []


def _range_faults(name: str, range: Range | None) -> list[Fault]:
    if range is None:
        return []
    bounds = [bound for bound in (range.low, range.high) if bound is not None]
    if not all(0 <= bound <= _MAX for bound in bounds):  # not-a-number neither
        return [_fault(name, "a bound is out of range", "0 or more")]
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        return [_fault(name, "the lower bound is above the upper one", "the lower bound first")]
    return []


def _fault(name: str, message: str, hint: str) -> Fault:
    return Fault(f"history/{name}", message, hint)
