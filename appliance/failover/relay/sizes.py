"""The longest datagram that a path takes, in one direction (pure): found out by padded talk that the other end answers.

Nothing is believed of a path but what has come through it: until then packets go in pieces. What came once is asked for again and again; three times without an
answer, while shorter ones are answered, and the path is a shorter one.
"""

from __future__ import annotations

from typing import Final

from appliance.failover.relay.wire import DATAGRAM

LADDER: Final = (DATAGRAM, 1452, 1432, 1412, 1392, 1372, 1332, 1292, 1232, 1172)
"""Octets of datagrams that are tried. IPv4 and UDP take 28 more (IPv6 48): Ethernet 1,500, PPPoE 1,492, LTE 1,428, tunnels 1,400 and less, the least of IPv6 1,280."""
LEAST: Final = 740
"""What is believed to pass before anything has been tried: two pieces of it are a longest packet."""
EACH_S: Final = 1.0
RARELY_S: Final = 300.0
"""On a line that is paid for by what it carries, while nobody talks."""
LONGER_S: Final = 30.0
"""How often a longer one is tried."""
ANSWER_S: Final = 0.5
TRIES: Final = 3
RECENT_S: Final = 3.0


class Sizes:
    """Of one path in one direction, at its sender."""

    __slots__ = ("_answered", "_asked", "_longer_at", "_missing", "_next", "limit")

    def __init__(self) -> None:
        self.limit = LEAST
        """Octets of the longest datagram that may be sent."""
        self._answered: dict[int, float] = {}
        self._asked: float | None = None
        self._missing = 1
        self._next = self._longer_at = float("-inf")

    def answered(self, size: int, now: float) -> None:
        """One of this size came through."""
        if size not in LADDER:
            return
        self._answered[size] = now
        if size >= self.limit:
            self.limit = size
            self._missing, self._asked = 0, None

    def due(self, now: float, *, rarely: bool = False) -> tuple[int, ...]:
        """Sizes to be tried now; called several times a second."""
        if self._asked is not None and now - self._asked >= ANSWER_S:
            self._asked, self._next = None, now
            self._missing += 1
            if self._missing > TRIES:
                self._shorten(now)
        if now < self._next:
            return ()
        self._next = now + (RARELY_S if rarely and not self._missing else EACH_S)
        self._asked = now
        if self._missing:
            return LADDER
        if now < self._longer_at:
            return (self.limit,)
        self._longer_at = now + LONGER_S
        return tuple(size for size in LADDER if size >= self.limit)

    def _shorten(self, now: float) -> None:
        """Only if shorter ones pass: a path that lets nothing pass isn't a short one."""
        passing = [size for size, at in self._answered.items() if now - at < RECENT_S and size < self.limit]
        if passing:
            self.limit, self._missing = max(passing), 0
