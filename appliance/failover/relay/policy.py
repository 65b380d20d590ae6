"""Which paths get a copy of a packet (pure).

Calls are what is marked EF (voice) or CS3 (signalling); OpenVPN's own control packets, without which there are none, are few, and copied however little else is.
What else there is goes by one path: the best one (:mod:`.best`). A line that is paid for by what it carries gets copies only while somebody calls, or the best line is weak.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from appliance.failover.relay.best import SILENT_S, Best, pace
from appliance.failover.relay.channel import Way
from appliance.failover.relay.openvpn import DATA, opcode
from appliance.failover.relay.wire import Copying, Role

EF: Final = 0xB8
CS3: Final = 0x60
"""As octets of TOS: RFC 3246 and RFC 4594."""
WEAK_LOSS: Final = 0.005
WEAK_LATE_MS: Final = 40.0
CALL_PACKETS: Final = 4
"""In a second, of one direction: a call has fifty, and its signalling has as many before the first of them …"""
CALL_S: Final = 5.0
"""… and it is over so long after the last of them."""
COPIES_S: Final = 10.0
"""Copies go on for so long after the last weakness (:attr:`Copying.DEGRADED`)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Ways of voice and signalling, of all else, and of OpenVPN's control packets, without which there is neither."""

    calls: tuple[Way, ...] = ()
    rest: tuple[Way, ...] = ()
    control: tuple[Way, ...] = ()

    def of(self, tos: int, payload: bytes) -> tuple[Way, ...]:
        """Those of a packet of OpenVPN's."""
        if opcode(payload) not in DATA:
            return self.control
        return self.calls if _marked(tos) else self.rest

    def among(self, paths: Collection[int]) -> Choice:
        """What is left of it."""
        return Choice(
            *(tuple(way for way in ways if way.path in paths) for ways in (self.calls, self.rest, self.control))
        )


def belongs_to_calls(tos: int, payload: bytes) -> bool:
    """Whether a packet of OpenVPN's is a call's: by its mark, or for being no data."""
    return _marked(tos) or opcode(payload) not in DATA


def _marked(tos: int) -> bool:
    return (tos & 0xFC) in (EF, CS3)


class Calling:
    """Whether somebody calls. A ping a second or a phone's registration is marked like a call, and is none."""

    __slots__ = ("_at", "_count", "_since")

    def __init__(self) -> None:
        self._at = self._since = float("-inf")
        self._count = 0

    def heard(self, now: float) -> None:
        """A packet of the kind that belongs to calls."""
        if now - self._since > 1.0:
            self._since, self._count = now, 0
        self._count += 1
        if self._count >= CALL_PACKETS:
            self._at = now

    def idle(self, now: float) -> bool:
        """Whether nobody has called of late."""
        return now - self._at > CALL_S


def weak(way: Way, now: float, *, idle: bool) -> bool:
    """Whether what we send by it arrives so badly that copies help."""
    seen, each = way.outlook, pace(way.role, idle=idle)
    if now - seen.at > each + SILENT_S or seen.silent_ms > 1000 * (each + SILENT_S):
        return True
    return (seen.loss or 0) > WEAK_LOSS or seen.late_ms > WEAK_LATE_MS


class Chooser:
    """At one end of a session."""

    def __init__(self, copying: Copying = Copying.ALWAYS) -> None:
        self.copying, self.best = copying, Best()
        self._weak_at = float("-inf")
        self.troubled = False
        """Our best way was weak a moment ago (:attr:`Copying.DEGRADED`): the other end is to copy too."""

    def choose(self, bound: Iterable[Way], now: float, *, idle: bool, wanted: bool = False) -> Choice:
        """Of ways whose other end is known. Called several times a second.

        :param idle: nobody calls; :param wanted: the other end asks for copies.
        """
        ways = sorted(bound, key=lambda way: (way.capped, way.role, way.path))
        best = self.best.choose(ways, now, idle=idle)
        if best is None:
            return Choice()
        copied = tuple(way for way in ways if way is best or not (way.capped or (idle and way.role is Role.METERED)))
        if best.capped or weak(best, now, idle=idle):
            copied = tuple(ways)
        if self.copying is Copying.ALWAYS:
            return Choice(copied, copied, copied)
        if self.copying is Copying.CALLS:
            return Choice(copied, (best,), copied)
        if self.copying is Copying.NEVER:
            return Choice((best,), (best,), copied)
        if weak(best, now, idle=idle):
            self._weak_at = now
        self.troubled = now - self._weak_at < COPIES_S
        calls = copied if self.troubled or wanted else (best,)
        return Choice(calls, (best,), calls)
