"""How long a state is on trial, and what is remembered of slices that weren't good. Pure, but for :class:`Refused`.

A trial has time by the machine's running time, which nobody can set. Where the machine starts anew within it (the power was cut, or somebody
pulled the plug because nothing worked), the time begins anew, :data:`TRIES` times in all; then it is over.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from appliance.clock import DAY, HOUR, SECOND, Moment
from appliance.edge.states import Trial
from appliance.vpn.files import put
from appliance.vpn.slices import Slice

_log = logging.getLogger("centralino.edge")

BASE: Final = 30 * SECOND
EACH_REMOTE: Final = 10 * SECOND
"""OpenVPN gives up an address that doesn't answer after ``server-poll-timeout`` (8 s) and a pause."""
LONGEST: Final = 10 * 60 * SECOND
TRIES: Final = 3
AGAIN_FIRST: Final = HOUR
AGAIN_LAST: Final = DAY


def time_for(slice: Slice) -> int:
    """ms in which a state with this slice has to prove itself: each of the centre's addresses can be tried twice, within reason."""
    return min(LONGEST, BASE + 2 * EACH_REMOTE * len(slice.remotes))


def begun(previous: str, lasts: int, now: Moment) -> Trial:
    """A trial that begins now and has so many ms."""
    return Trial(previous, now.boot, now.uptime + lasts)


def over(trial: Trial, now: Moment) -> bool:
    """Whether its time is up."""
    return trial.tries > TRIES or (trial.boot == now.boot and now.uptime >= trial.until)


def carried_on(trial: Trial, lasts: int, now: Moment) -> Trial | None:
    """The trial after another start of the machine; None: it goes on as it is."""
    if trial.boot == now.boot:
        return None
    return replace(trial, boot=now.boot, until=now.uptime + lasts, tries=trial.tries + 1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A slice that this edge went back from, and how many times; ``why``: in words."""

    digest: str
    revision: int
    times: int
    why: str


class Refused:
    """The last slice that wasn't good: it is tried again after an hour, two, four … a day, or at once if the centre has another.

    Garbage in the file is nothing known; what can't be written is known in memory.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = self._read()
        self._again = 0

    @property
    def last(self) -> Refusal | None:
        """None: there is none."""
        return self._known

    def add(self, slice: Slice, why: str, now: Moment) -> Refusal:
        """It wasn't good."""
        same = self._known is not None and self._known.digest == slice.digest
        times = 1 + (self._known.times if same and self._known is not None else 0)
        self._known = Refusal(slice.digest, slice.revision, times, why)
        self._again = now.uptime + self._wait(times)
        plain = {"digest": slice.digest, "revision": slice.revision, "times": times, "why": why}
        try:
            put(self._file, json.dumps(plain).encode())
        except OSError as error:
            _log.warning("what wasn't good can't be noted: %s", error.strerror)
        return self._known

    def waits(self, digest: str, now: Moment) -> bool:
        """Whether that slice isn't to be tried now."""
        known = self._known
        if known is None or known.digest != digest:
            return False
        if not self._again:  # known from before this process began
            self._again = now.uptime + self._wait(known.times)
        return now.uptime < self._again

    def forget(self) -> None:
        """Another slice is good."""
        if self._known is not None:
            self._known = None
            self._file.unlink(missing_ok=True)

    @staticmethod
    def _wait(times: int) -> int:
        return min(AGAIN_LAST, AGAIN_FIRST << min(max(times, 1) - 1, 10))

    def _read(self) -> Refusal | None:
        try:
            plain = json.loads(self._file.read_bytes())
            return Refusal(str(plain["digest"]), int(plain["revision"]), int(plain["times"]), str(plain["why"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
            return None
