"""How good a path is in one direction: what its receiver counts, and what its sender makes of the receiver's reports (pure).

Times are seconds of a clock that doesn't go back; on the wire they are tenths of a millisecond, 65,536 of them and then from 0: differences
of up to three seconds can be told, and the two ends' clocks needn't agree.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from appliance.failover.relay.window import Window
from appliance.failover.relay.wire import OnPath

TENTHS: Final = 10_000
_WRAP: Final = 0xFFFF
_HALF: Final = 0x8000
FASTEST_S: Final = 5.0
"""How long the fastest packet is the measure of the others: clocks drift, and routes change."""
SIZE_S: Final = 2.0
"""How long the longest datagram is remembered."""
LOSS_S: Final = 2.0
"""What the loss is taken over."""
REORDERED: Final = 1024
SKIPPED: Final = 1 << 18
"""Numbers that nobody lost but a sender that was started anew left out."""
_LOW: Final = 0xFFFFFFFF
_MIDDLE: Final = 0x80000000


def tenths(now: float) -> int:
    """A time as a packet bears it."""
    return int(now * TENTHS) & _WRAP


def _apart(later: int, earlier: int) -> int:
    """Difference of two such times, whichever came first."""
    return ((later - earlier + _HALF) & _WRAP) - _HALF


class _Extreme:
    """The best of the last seconds, in two halves: what is older than one and a half spans is forgotten."""

    __slots__ = ("_before", "_best", "_since", "_span")

    def __init__(self, span: float) -> None:
        self._span = span
        self._since = float("-inf")
        self._before = self._best = 0

    def longest(self, value: int, now: float) -> int:
        if now - self._since > self._span:
            self._before = self._best if now - self._since < 2 * self._span else 0
            self._since, self._best = now, value
        elif value > self._best:
            self._best = value
        return max(self._best, self._before)


class Meter:
    """At the receiver of a path."""

    __slots__ = (
        "_before", "_echo", "_fastest", "_fastest_at", "_jitter", "_late", "_longest", "_longest_until", "_now",
        "_received", "_size", "_transit", "_window", "highest", "last",
    )  # fmt: skip

    def __init__(self) -> None:
        self._window = Window(REORDERED)
        self.highest = 0
        """Largest number on the path."""
        self.last = float("-inf")
        """When anything came."""
        self._received = 0
        self._jitter = self._late = 0.0
        self._transit = self._fastest = self._before = self._now = 0
        self._fastest_at = self._longest_until = float("-inf")
        self._echo = self._longest = 0
        self._size = _Extreme(SIZE_S)

    def heard(self, low: int, sent: int, octets: int, now: float) -> bool:
        """A packet that is signed came.

        :param low: its number on the path, the low 32 bits; :param sent: the time that it bears.
        :return: whether it is the newest of its path: a copy sent on by somebody later never is.
        """
        highest = self.highest
        number = (
            highest + ((low - highest + _MIDDLE) & _LOW) - _MIDDLE
        )  # whose low bits these are, nearest to the largest yet
        if not self._window.take(number):
            return False
        self._received += 1
        self.last = now
        if octets > self._longest or now >= self._longest_until:
            self._size.longest(octets, now)
            self._longest, self._longest_until = octets, now + SIZE_S / 4
        transit = (int(now * TENTHS) - sent) & _WRAP
        if self._received > 1:
            change = ((transit - self._transit + _HALF) & _WRAP) - _HALF
            self._jitter += (abs(change) - self._jitter) / 16
        self._transit = transit
        late = ((transit - self._fastest + _HALF) & _WRAP) - _HALF
        if late < 0 or now - self._fastest_at > FASTEST_S:
            late = self._faster(transit, now)
        self._late += (late - self._late) / 16
        if number <= highest:
            return False
        self.highest, self._echo = number, sent
        return True

    def _faster(self, transit: int, now: float) -> int:
        """The measure of lateness is another one: this packet is faster, or the measure is old. How late this one is by it."""
        if (
            now - self._fastest_at > FASTEST_S
        ):  # half the span is over: what came in it is the measure together with what comes now
            self._before = transit if now - self._fastest_at > 2 * FASTEST_S else self._now
            self._now, self._fastest_at = transit, now
        elif _apart(transit, self._now) < 0:
            self._now = transit
        self._fastest = self._now if _apart(self._now, self._before) < 0 else self._before
        return max(0, _apart(transit, self._fastest))

    def told(self, path: int, now: float) -> OnPath:
        """For the sender. Before anything has come, it says so by 0 received."""
        ago = now - self.last if self._received else 60.0
        return OnPath(
            path, self.highest & _LOW, self._received & _LOW, int(self._jitter), int(self._late),
            self._size.longest(0, now), self._echo, min(_WRAP, int(ago * TENTHS)), min(_WRAP, int(ago * 1000)),
        )  # fmt: skip


class Outlook:
    """At the sender of a path: what the other end reports of it."""

    __slots__ = ("_counts", "at", "highest", "jitter_ms", "late_ms", "loss", "lost", "rtt_ms", "silent_ms", "size")

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int, int]] = deque()
        self.loss: float | None = None
        """Share of the last :data:`LOSS_S`; None: nothing was sent."""
        self.lost = 0
        """Packets of that time."""
        self.highest = 0
        """Largest number that has come, the low 32 bits."""
        self.jitter_ms = self.late_ms = 0.0
        self.rtt_ms: float | None = None
        self.size = 0
        """Octets of the longest datagram that came whole of late."""
        self.silent_ms = _WRAP
        self.at = float("-inf")
        """When the last report came."""

    def reported(self, told: OnPath, now: float) -> None:
        """A report came, by whichever path."""
        if self._counts and _behind(told.highest, self._counts[-1][1]):
            return  # an older report, by a slower path
        if self._counts and (told.highest - self._counts[-1][1]) & _LOW > SKIPPED:
            self._counts.clear()
        self._counts.append((now, told.highest, told.received))
        while len(self._counts) > 2 and self._counts[1][0] <= now - LOSS_S:
            self._counts.popleft()
        _at, highest, received = self._counts[0]
        sent = (told.highest - highest) & _LOW
        came = (told.received - received) & _LOW
        self.lost, self.highest = max(0, sent - came), told.highest
        self.loss = self.lost / sent if sent else None
        self.jitter_ms, self.late_ms = told.jitter / 10, told.late / 10
        self.size, self.silent_ms, self.at = told.size, told.silent, now
        if told.held < _WRAP and told.received:
            trip = _apart((tenths(now) - told.held) & _WRAP, told.echo)
            self.rtt_ms = max(0, trip) / 10


def _behind(number: int, than: int) -> bool:
    return (than - number) & _LOW < _LOW >> 1 and number != than
