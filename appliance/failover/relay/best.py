"""Which of the ways is the best, and why (pure): the first by its role, unless what we send by it arrives badly and another is better.

* A way is left at once when nothing of ours arrives by it any more; and when too much is lost on it, comes too late, or wouldn't be understood (MOS), if another
  way is better. It is never left for one that isn't: a poor line is better than a poorer one, and than going to and fro.
* It is come back to when it has been good for a while, by stricter measures than those by which it was left; for twice as long each time that it has to be left
  soon again.
* Each change is kept with what was measured (:class:`Decision`), for whoever asks why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from appliance.failover.quality import FAIR_MOS, GOOD_MOS, heard
from appliance.failover.relay.channel import Way
from appliance.failover.relay.wire import Role

PACE_S: Final = 0.25
"""Between two talks on each way while somebody calls …"""
IDLE_S: Final = 1.0
"""… and while nobody does …"""
RARE_S: Final = 5.0
"""… on a line that is paid for by what it carries …"""
CLOSE_S: Final = 0.04
"""… and, while somebody calls, on one that may be come back to: how much it loses has to show within :data:`HOLD_S`."""
SILENT_S: Final = 0.4
"""Beyond its pace, a way on which nothing is heard for so long is silent …"""
UNANSWERED_S: Final = 0.25
"""… and beyond its pace and its round trip, one of whose packets we have had no word for so long."""
LEFT_LOST: Final = 2
LEFT_LOSS: Final = 0.01
"""So many packets of the last two seconds are lost, and more than that share of them: it is left …"""
BACK_LOSS: Final = 0.005
"""… and come back to with no more than that."""
LEFT_LATE_MS: Final = 40.0
BACK_LATE_MS: Final = 20.0
"""Behind the fastest, on average: more than half of a phone's jitter buffer (:data:`~appliance.failover.quality.BUFFER_MS`)."""
NEAR_MS: Final = 200.0
BETTER_MOS: Final = 0.2
"""By so much another way has to be better when neither is good."""
SETTLED_S: Final = 2.0
"""After a change nothing but silence is a reason for another: so long it takes to measure."""
HOLD_S: Final = 10.0
HOLD_MAX_S: Final = 300.0
FLAP_S: Final = 60.0
"""Left again within so long after it was come back to: it flaps."""
KEPT: Final = 16
"""Decisions."""


class Why(StrEnum):
    """Why another way is the best one now."""

    FIRST = "first"  # there was none
    GONE = "gone"  # the one before isn't a way any more
    SILENT = "silent"
    LOSS = "loss"
    LATE = "late"
    QUALITY = "quality"
    CAPPED = "capped"
    BACK = "back"  # the one that is liked better has been good for long enough


class Decision(NamedTuple):
    """A change.

    :param at: seconds of the clock that doesn't go back. :param left: path; None: there was none. :param taken: path.
    :param seen: of both, as they were then. :param held_s: for how long a way that is liked better has to be good before it is come back to.
    :param number: of this process's; the first is 1.
    """

    at: float
    left: int | None
    taken: int
    why: Why
    seen: tuple[dict[str, Any], ...]
    held_s: float
    number: int

    def told(self, now: float) -> dict[str, Any]:
        """For whoever shows it; no clock but ours is in it."""
        return {
            "ago_s": round(now - self.at, 1), "left": self.left, "taken": self.taken, "why": self.why.value, "held_s": self.held_s,
            "seen": list(self.seen), "number": self.number,
        }  # fmt: skip


def pace(role: Role, *, idle: bool) -> float:
    """Seconds between two talks on a line."""
    if not idle:
        return PACE_S
    return RARE_S if role is Role.METERED else IDLE_S


def worth(way: Way) -> float:
    """What voice by it would be like: MOS of what we send, with a phone's buffer. A way of which nothing is known is not good."""
    seen = way.outlook
    if seen.rtt_ms is None:
        return 1.0
    return heard(seen.rtt_ms, seen.late_ms, seen.loss or 0.0)


def silent(way: Way, now: float, *, idle: bool) -> bool:
    """Whether nothing that we send by it arrives, or we can't know."""
    seen, each = way.outlook, pace(way.role, idle=idle)
    if now - seen.at > each + SILENT_S or seen.silent_ms > 1000 * (each + SILENT_S):
        return True
    return way.unanswered(now) > each + UNANSWERED_S + (seen.rtt_ms if seen.rtt_ms is not None else 1000.0) / 1000


def trouble(way: Way, now: float, *, idle: bool) -> Why | None:
    """Why it would be left; None: it is good enough to stay with."""
    seen = way.outlook
    if silent(way, now, idle=idle):
        return Why.SILENT
    if seen.lost >= LEFT_LOST and (seen.loss or 0.0) > LEFT_LOSS:
        return Why.LOSS
    if seen.late_ms > LEFT_LATE_MS:
        return Why.LATE
    if _far(way) and worth(way) < FAIR_MOS:
        return Why.QUALITY
    return Why.CAPPED if way.capped else None


def well(way: Way) -> bool:
    """Whether what has no :func:`trouble` is good enough to be come back to."""
    seen = way.outlook
    return (
        (seen.loss or 0.0) <= BACK_LOSS and seen.late_ms <= BACK_LATE_MS and not (_far(way) and worth(way) < GOOD_MOS)
    )


def _far(way: Way) -> bool:
    """Whether its round trip alone may be heard: nearer than this, what loses little and isn't late is good (measured a thousand times a second at a centre)."""
    return way.outlook.rtt_ms is None or way.outlook.rtt_ms > NEAR_MS


class Best:
    """At one end of a session, for what this end sends."""

    def __init__(self) -> None:
        self.way: Way | None = None
        self.decisions: deque[Decision] = deque(maxlen=KEPT)
        self._count = 0
        self._why: dict[int, Why | None] = {}
        self._well_since: dict[int, float] = {}
        self._hold_s = HOLD_S
        self._changed = self._ventured = float("-inf")
        """Of the last change, and of the last that nothing forced: it was good for long enough, or less bad."""

    def choose(self, bound: Iterable[Way], now: float, *, idle: bool) -> Way | None:
        """Of ways whose other end is known; None: there are none. Called several times a second."""
        ways = sorted(bound, key=_liking)
        self._why = {way.path: trouble(way, now, idle=idle) for way in ways}
        for way in ways:
            if self._why[way.path] is None and well(way):
                self._well_since.setdefault(way.path, now)
            else:
                self._well_since.pop(way.path, None)
        if not ways:
            self.way = None
            return None
        left = self.way
        current = left if left in ways else None
        if current is None:
            self._take(self._pick(ways), Why.FIRST if left is None else Why.GONE, now)
        else:
            self._reconsider(ways, current, now)
        return self.way

    def pace(self, way: Way, *, idle: bool) -> float:
        """Seconds between two talks on it."""
        back = not idle and self.way is not None and way.role is not Role.METERED and _liking(way) < _liking(self.way)
        return CLOSE_S if back else pace(way.role, idle=idle)

    def _reconsider(self, ways: Sequence[Way], current: Way, now: float) -> None:
        why = self._why[current.path]
        if why is not None:
            other = self._pick(ways)
            if other is not current and self._better(other, current, why, now):
                self._hold_s = min(HOLD_MAX_S, 2 * self._hold_s) if now - self._ventured < FLAP_S else HOLD_S
                if self._why[other.path] is not None:
                    self._ventured = now
                self._take(other, why, now)
                return
        for way in ways:
            if way is current or _liking(way) > _liking(current):
                return
            if now - self._well_since.get(way.path, now) >= self._hold_s:
                self._ventured = now
                self._take(way, Why.BACK, now)
                return

    def _better(self, other: Way, current: Way, why: Why, now: float) -> bool:
        """Whether what is troubled is left for it."""
        if why is Why.SILENT:
            return self._why[other.path] is not Why.SILENT
        if now - self._changed < SETTLED_S or self._why[other.path] is Why.SILENT:
            return False
        if self._why[other.path] is None:
            return True
        if other.capped is not current.capped:
            return current.capped
        return now - self._changed >= self._hold_s and worth(other) >= worth(current) + BETTER_MOS

    def _pick(self, ways: Sequence[Way]) -> Way:
        for way in ways:
            if self._why[way.path] is None:
                return way
        return max(ways, key=lambda way: (self._why[way.path] is not Why.SILENT, not way.capped, worth(way)))

    def _take(self, way: Way, why: Why, now: float) -> None:
        both = [each for each in (self.way, way) if each is not None]
        left = None if self.way is None else self.way.path
        self.way, self._changed = way, now
        self._count += 1
        seen = tuple(_seen(each) for each in both)
        self.decisions.append(Decision(now, left, way.path, why, seen, self._hold_s, self._count))


def _liking(way: Way) -> tuple[bool, int, int]:
    return way.capped, way.role, way.path


def _seen(way: Way) -> dict[str, Any]:
    seen = way.outlook
    return {
        "path": way.path, "loss": None if seen.loss is None else round(seen.loss, 4), "late_ms": round(seen.late_ms, 1),
        "jitter_ms": round(seen.jitter_ms, 1), "rtt_ms": seen.rtt_ms, "silent_ms": seen.silent_ms, "mos": round(worth(way), 2),
    }  # fmt: skip
