"""The end that answers (pure): STAMP's stateful Session-Reflector (RFC 8762 section 4.3).

It answers those who have asked for a session by another way, which knows who they are; each answer is as long as what it answers, and goes where that came from. So nobody is
answered who isn't let in, and nobody can make more of it than he sends.

What happens when…

* a sender is silent: its session ends with its time, at most :data:`LASTS_S` after it was begun;
* a site begins another: the former ends;
* somebody sends garbage, another's packets, or a packet again: nothing is answered; once more the same probe counts as one that came twice, and is answered once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from appliance.core.errors import UnavailableError
from appliance.failover.stamp.packets import KEY, SIZE, Answer, ForeignError, answer, read_probe, session_of

LASTS_S: Final = 180.0
SESSIONS: Final = 64
"""At once: each is a call's worth of packets."""
LONGEST: Final = 1200
"""Octets of a probe."""
PROBES: Final = 20_000
"""Of one session: a hundred a second for longer than it lasts."""


@dataclass(slots=True)
class Session:
    """One sender's. ``key`` is secret. ``gap_ms``: the longest time between two probes that came."""

    number: int
    key: bytes = field(repr=False)
    until: float
    received: int = 0
    gap_ms: float = 0.0
    _last: int | None = None
    _seen: set[int] = field(default_factory=set)

    def take(self, number: int, now_ns: int) -> bool:
        """Whether this probe is new."""
        if number in self._seen or self.received >= PROBES:
            return False
        self._seen.add(number)
        self.received += 1
        if self._last is not None:
            self.gap_ms = max(self.gap_ms, (now_ns - self._last) / 1e6)
        self._last = now_ns
        return True


class Reflector:
    """See this module. ``random``: so many octets."""

    def __init__(self, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._random = random
        self._sessions: dict[int, Session] = {}
        self._of: dict[str, int] = {}

    def begin(self, site: str, now: float) -> Session:
        """A session for a site. :raises UnavailableError: ``measuring``: too many measure at once."""
        self._end(now)
        self._sessions.pop(self._of.pop(site, 0), None)
        if len(self._sessions) >= SESSIONS:
            raise UnavailableError(
                "too many branches measure at once", "try again in some minutes", error_id="measuring"
            )
        while (number := int.from_bytes(self._random(2))) in self._sessions or not number:
            pass
        made = Session(number, self._random(KEY), now + LASTS_S)
        self._sessions[number] = made
        self._of[site] = number
        return made

    def over(self, site: str, now: float) -> Session | None:
        """End a site's session: how it was; None: it had none."""
        self._end(now)
        return self._sessions.pop(self._of.pop(site, 0), None)

    def heard(self, datagram: bytes, ttl: int, now: float, now_ns: Callable[[], int]) -> bytes | None:
        """A datagram came: what is sent back. :param now: seconds of the clock by which sessions end; ``now_ns``: of the clock that answers bear, asked when they are made."""
        try:
            session = self._sessions.get(session_of(datagram))
            if session is None or now >= session.until or len(datagram) > LONGEST:
                return None
            probe = read_probe(session.key, datagram)
        except ForeignError:
            return None
        received = now_ns()
        if not session.take(probe.number, received):
            return None
        made = Answer(session.received - 1, received, now_ns(), probe)
        return answer(session.key, made, ttl, datagram[SIZE:])

    def _end(self, now: float) -> None:
        for site, number in list(self._of.items()):
            if now >= self._sessions[number].until:
                del self._of[site], self._sessions[number]
