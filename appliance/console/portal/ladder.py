"""One call → the drawing of its legs as a ladder (pure): a line for each leg, a rung for each thing that happened, time downwards.

Callers stand left of the telephone system, those who were called right of it; arrows go between a leg and the system, for so it
is: the engine connects legs. Rungs are as far apart whatever time lies between them; the time stands beside them. Lengths are
pixels at a width that isn't shrunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.commands.calls_text import result_text
from appliance.console.portal.writing import decimal
from appliance.history.legs import Quality
from appliance.history.model import Call, Leg, LegResult, Transfer
from appliance.i18n import _

LEGS_MAX: Final = 10
"""Legs that are drawn; a call to a large group has hundreds."""
TIMES: Final = 76
COLUMN: Final = 156
HEAD: Final = 64
RUNG: Final = 34
FOOT: Final = 70
_TITLE: Final = 19
_BELOW: Final = 22
"""Characters that a column has room for, in bold and in small letters."""
BAD_LOSS_PERCENT: Final = 3.0
BAD_JITTER_MS: Final = 30.0
"""From here on people usually hear it. A rule of thumb: codecs and jitter buffers differ, and no standard has one limit."""


@dataclass(frozen=True, slots=True)
class Column:
    """One leg, or the system. ``quality``: lines below it; ``bad``: people heard it."""

    x: int
    title: str
    below: str
    whole: str
    quality: tuple[str, ...] = ()
    bad: bool = False
    system: bool = False


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a leg's line: ``ringing`` or ``talking``."""

    x: int
    top: int
    bottom: int
    what: str


@dataclass(frozen=True, slots=True)
class Rung:
    """Something that happened: an arrow from ``x1`` to ``x2``, or a mark where both are the same."""

    y: int
    time: str
    x1: int
    x2: int
    text: str
    text_x: int
    anchor: str
    what: str

    @property
    def head(self) -> str:
        """The arrow's head: points of a triangle."""
        side = 7 if self.x2 < self.x1 else -7
        return f"{self.x2},{self.y} {self.x2 + side},{self.y - 4} {self.x2 + side},{self.y + 4}"


@dataclass(frozen=True, slots=True)
class Ladder:
    """The drawing. ``left_out``: legs that have no room."""

    width: int
    height: int
    columns: tuple[Column, ...]
    stretches: tuple[Stretch, ...]
    rungs: tuple[Rung, ...]
    left_out: int
    bottom: int


@dataclass(frozen=True, slots=True)
class _Event:
    time: int
    what: str
    leg: int
    text: str


def ladder(call: Call, name_of: Callable[[Leg], tuple[str, str]]) -> Ladder:
    """The drawing of a call. ``name_of``: what a leg is called, and what stands below that."""
    legs = _chosen(call.legs)
    callers = [leg for leg in legs if leg.caller]
    called = [leg for leg in legs if not leg.caller]
    order = [*callers, *called]
    system = _x(len(callers))
    places = [_x(at if leg.caller else at + 1) for at, leg in enumerate(order)]
    events = _events(call, order)
    rows = {id(event): HEAD + RUNG * (at + 1) for at, event in enumerate(events)}
    bottom = HEAD + RUNG * (len(events) + 1)
    columns = [_column(leg, x, name_of(leg)) for leg, x in zip(order, places, strict=True)]
    columns.insert(len(callers), Column(system, "Centralino", "", "Centralino", system=True))
    return Ladder(
        width=_x(len(order)) + COLUMN // 2 + 8,
        height=bottom + FOOT,
        columns=tuple(columns),
        stretches=tuple(_stretches(places, events, rows, bottom)),
        rungs=tuple(_rung(event, rows[id(event)], places, system, call.started) for event in events),
        left_out=len(call.legs) - len(order),
        bottom=bottom,
    )


def _x(position: int) -> int:
    return TIMES + COLUMN // 2 + COLUMN * position


def _chosen(legs: Sequence[Leg]) -> list[Leg]:
    """All, or those that tell most: who called, who answered, what failed; the rest in their order."""
    if len(legs) <= LEGS_MAX:
        return list(legs)
    dull = (LegResult.ELSEWHERE, LegResult.CANCELLED, LegResult.NO_ANSWER)
    ranked = sorted(
        range(len(legs)), key=lambda at: (not legs[at].caller, not legs[at].answered, legs[at].result in dull, at)
    )
    return [legs[at] for at in sorted(ranked[:LEGS_MAX])]


def _events(call: Call, legs: Sequence[Leg]) -> list[_Event]:
    """What happened, in order; of things at the same time first what begins, last what ends."""
    found = []
    for at, leg in enumerate(legs):
        begins = _("calls {number}").format(number=leg.number) if leg.number else _("comes in")
        if leg.redirected_by:
            begins = _("forwarded by {number}").format(number=leg.redirected_by)
        elif not leg.caller:
            begins = _("is called")
        found.append(_Event(leg.started, "begin" if leg.caller else "ring", at, begins))
        if leg.answered is not None:
            found.append(_Event(leg.answered, "connect" if leg.caller else "answer", at, _answered(leg)))
        if leg.ended is not None:
            text = _("ends") if leg.result is LegResult.ANSWERED else result_text(leg.result)
            found.append(_Event(leg.ended, "end", at, text))
    found += [_Event(each.time, "transfer", _by(each, legs), transfer_text(each)) for each in call.transfers]
    order = ("begin", "ring", "answer", "connect", "transfer", "end")
    return sorted(found, key=lambda event: (event.time, order.index(event.what), event.leg))


def _answered(leg: Leg) -> str:
    return _("is connected") if leg.caller else _("answers")


def _by(transfer: Transfer, legs: Sequence[Leg]) -> int:
    """The leg of who transferred; -1: it isn't drawn."""
    found = (at for at, leg in enumerate(legs) if transfer.by and transfer.by in (leg.extension, leg.number))
    return next(found, -1)


def transfer_text(transfer: Transfer) -> str:
    """A transfer in words."""
    if transfer.kind == "pickup":
        return _("{by} picks up the call of {of}").format(by=transfer.by, of=transfer.to or transfer.of)
    return _("{by} passed {of} to {to}").format(by=transfer.by, of=transfer.of, to=transfer.to)


def _column(leg: Leg, x: int, name: tuple[str, str]) -> Column:
    title, below = name
    quality = leg.quality
    lines = [leg.codec] if leg.codec else []
    if quality is not None:
        lines += quality_lines(quality)
    whole = " · ".join(part for part in (title, below) if part)
    return Column(
        x, _short(title, _TITLE), _short(below, _BELOW), whole, tuple(lines), quality is not None and heard(quality)
    )


def quality_lines(quality: Quality) -> list[str]:
    """Loss, jitter and round trip of a leg, for people: from it / to it."""
    lost = f"{_share(quality.lost_received, quality.received + quality.lost_received)} / {_share(quality.lost_sent, quality.sent)}\N{NO-BREAK SPACE}%"
    jitter = f"{quality.jitter_received_ms:.0f} / {_ms(quality.jitter_sent_ms)}\N{NO-BREAK SPACE}ms"
    lines = [_("lost {figures}").format(figures=lost), _("jitter {figures}").format(figures=jitter)]
    if quality.round_trip_ms is not None:
        lines.append(_("round trip {figures}").format(figures=f"{quality.round_trip_ms:.0f}\N{NO-BREAK SPACE}ms"))
    return lines


def heard(quality: Quality) -> bool:
    """Whether people heard that a leg's audio was bad."""
    expected = quality.received + quality.lost_received
    losses = [100 * quality.lost_received / expected if expected else 0.0]
    if quality.lost_sent is not None and quality.sent > 0:
        losses.append(100 * quality.lost_sent / quality.sent)
    jitters = (quality.jitter_received_ms, quality.jitter_sent_ms or 0.0)
    return max(losses) >= BAD_LOSS_PERCENT or max(jitters) >= BAD_JITTER_MS


def _share(part: int | None, whole: int) -> str:
    if part is None:
        return "–"
    return decimal(min(100.0, 100 * part / whole) if whole > 0 else 0.0)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _stretches(places: Sequence[int], events: Sequence[_Event], rows: dict[int, int], bottom: int) -> list[Stretch]:
    """Of each leg: until it was answered, and from then on."""
    made = []
    for at, x in enumerate(places):
        own = {event.what: rows[id(event)] for event in events if event.leg == at and event.what != "transfer"}
        begin = own.get("begin", own.get("ring", HEAD))
        answer = own.get("answer", own.get("connect"))
        end = own.get("end", bottom)
        made.append(Stretch(x, begin, answer if answer is not None else end, "ringing"))
        if answer is not None:
            made.append(Stretch(x, answer, max(answer, end), "talking"))
    return [each for each in made if each.bottom > each.top]


def _rung(event: _Event, y: int, places: Sequence[int], system: int, start: int) -> Rung:
    time = f"+{decimal(max(0, event.time - start) / 1000)} s"
    x = places[event.leg] if event.leg >= 0 else system
    # The text begins at the leg, on the side where the arrow is, or where there is more room.
    left = x < system
    text_x, anchor = (x + 10, "start") if left else (x - 10, "end")
    if event.what == "end" or x == system:
        return Rung(y, time, x, x, event.text, text_x, anchor, event.what)
    outwards = event.what in ("ring", "connect")
    x1, x2 = (system, x) if outwards else (x, system)
    return Rung(y, time, x1, x2, event.text, text_x, anchor, event.what)
