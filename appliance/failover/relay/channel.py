"""One session's packets, the same at both ends (pure): signed, numbered, measured, handed on once."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, Final, NamedTuple

from appliance.failover.relay.meter import Meter, Outlook, tenths
from appliance.failover.relay.pieces import Pieces, cut
from appliance.failover.relay.sizes import Sizes
from appliance.failover.relay.window import SIZE, Window
from appliance.failover.relay.wire import AROUND, PACKET, PACKET_MAC, Kind, MalformedError, Role, first_octet

_DATA, _FIRST, _LAST, _TALK = (first_octet(kind) for kind in (Kind.DATA, Kind.FIRST, Kind.LAST, Kind.TALK))
_LOW: Final = 0xFFFFFFFF
SPARE: Final = 1 << 20
"""Numbers that are left out after a restart: more than can have been used since they were written down."""
_FARTHEST: Final = 1 << 30
"""A number on a path that is as far away is still told from an earlier one (:mod:`.meter`)."""


LOG_S: Final = 0.02
LOGGED: Final = 128
"""Of the packets sent on a way one in so long is remembered, and so many of them: more than any round trip takes."""


class Way:
    """A path as one end has it."""

    __slots__ = ("_log", "_log_at", "capped", "meter", "outlook", "path", "role", "sent", "sizes")

    def __init__(self, path: int, role: Role = Role.PRIMARY) -> None:
        self.path, self.role, self.capped = path, role, False
        self.sent = 0
        """Packets sent on it."""
        self.meter, self.outlook, self.sizes = Meter(), Outlook(), Sizes()
        self._log: deque[tuple[float, int]] = deque()
        self._log_at = float("-inf")

    def sends(self, now: float) -> None:
        """A packet is about to be sent: some of them are remembered until there is word of them."""
        if now - self._log_at >= LOG_S and len(self._log) < LOGGED:
            self._log.append((now, self.sent + 1))
            self._log_at = now

    def unanswered(self, now: float) -> float:
        """For how many seconds there has been no word of a packet that was sent; 0: there is of all."""
        while self._log and (self.outlook.highest - self._log[0][1]) & _LOW < _LOW >> 1:
            self._log.popleft()
        return now - self._log[0][0] if self._log else 0.0

    def told(self, now: float) -> dict[str, Any]:
        """For whoever shows it: how the other end hears us (``out``), and we it (``in``)."""
        out, here = self.outlook, self.meter.told(self.path, now)
        known = now - out.at < 10
        return {
            "role": self.role.name.lower(), "capped": self.capped, "rtt_ms": out.rtt_ms if known else None,
            "out": {"loss": out.loss, "jitter_ms": out.jitter_ms, "late_ms": out.late_ms, "silent_ms": out.silent_ms,
                    "packets": self.sent, "longest": self.sizes.limit} if known else None,
            "in": {"jitter_ms": here.jitter / 10, "late_ms": here.late / 10, "silent_ms": here.silent,
                   "packets": here.received, "highest": here.highest},
        }  # fmt: skip


class Opened(NamedTuple):
    """A packet that is signed.

    :param newest: of its path: where it came from is where the path is now.
    :param payload: OpenVPN's packet, if it is whole and new.
    :param talk: what the other relay says.
    """

    way: Way
    newest: bool
    payload: bytes | None
    talk: bytes | None


class Channel:
    """See this module.

    :param transmit: key that signs ours; :param receive: that signs the other end's.
    """

    def __init__(self, transmit: bytes, receive: bytes, tag: int, window: int = SIZE) -> None:
        self.tag = tag
        self.ways: dict[int, Way] = {}
        self.number = 0
        """The last one that we used."""
        self._signer = hashlib.blake2b(key=transmit, digest_size=PACKET_MAC)
        self._verifier = hashlib.blake2b(key=receive, digest_size=PACKET_MAC)
        self._receive = receive
        self._window = Window(window)
        self._window_size = window
        self._pieces = Pieces()

    @property
    def highest(self) -> int:
        """The largest number that has come."""
        return self._window.highest

    def made_with(self, receive: bytes) -> bool:
        """Whether it opens what is signed by this key."""
        return compare_digest(self._receive, receive)

    def state(self) -> dict[str, Any]:
        """What the next process needs to go on with it; no key."""
        return {
            "tag": self.tag, "number": self.number, "highest": self._window.highest,
            "ways": {path: [way.role, way.capped, way.sent, way.meter.highest, way.sizes.limit] for path, way in self.ways.items()},
        }  # fmt: skip

    def resume(self, state: dict[str, Any], spare: int = SPARE) -> None:
        """Go on after a restart, with what was written down before. Our numbers skip what may have been used since: ``spare``.

        :raises KeyError: it is none; so :raises TypeError: and :raises ValueError:.
        """
        self.number = int(state["number"]) + spare
        self._window = Window(self._window_size, int(state["highest"]))
        for path, (role, capped, sent, highest, limit) in state["ways"].items():
            way = self.ways.setdefault(int(path), Way(int(path)))
            way.role, way.capped, way.sent = Role(role), bool(capped), int(sent) + min(spare, _FARTHEST)
            way.meter.highest, way.sizes.limit = int(highest), int(limit)

    def data(self, payload: bytes, ways: Sequence[Way], now: float) -> list[tuple[Way, bytes]]:
        """A packet of OpenVPN's as datagrams: one for each way, or two where it is too long for that."""
        self.number += 1
        number, time = self.number, tenths(now)
        length = len(payload) + AROUND
        made = []
        for way in ways:
            way.sends(now)
            limit = way.sizes.limit
            if length <= limit:
                made.append((way, self._sealed(_DATA, way, time, number, payload)))
                continue
            halves = cut(payload, limit - AROUND)
            if halves is not None:
                made.append((way, self._sealed(_FIRST, way, time, number, halves[0])))
                made.append((way, self._sealed(_LAST, way, time, number, halves[1])))
        return made

    def talk(self, content: bytes, way: Way, now: float) -> bytes:
        """What we say to the other relay, on one way."""
        self.number += 1
        way.sends(now)
        return self._sealed(_TALK, way, tenths(now), self.number, content)

    def _sealed(self, octet: int, way: Way, time: int, number: int, payload: bytes) -> bytes:
        way.sent += 1
        body = PACKET.pack(octet, way.path, time, self.tag, number, way.sent & _LOW) + payload
        signer = self._signer.copy()
        signer.update(body)
        return body + signer.digest()

    def open(self, datagram: bytes, now: float) -> Opened:
        """:raises MalformedError: it is none of this session's."""
        body = datagram[:-PACKET_MAC]
        verifier = self._verifier.copy()
        verifier.update(body)
        if len(body) < PACKET.size or not compare_digest(verifier.digest(), datagram[-PACKET_MAC:]):
            raise MalformedError
        octet, path, time, _tag, number, on_path = PACKET.unpack_from(body)
        way = self.ways.get(path)
        if way is None:
            raise MalformedError
        newest = way.meter.heard(on_path, time, len(datagram), now)
        content = body[PACKET.size :]
        if octet == _DATA:
            return Opened(way, newest, content if self._window.take(number) else None, None)
        if octet == _TALK:
            return Opened(way, newest, None, content if self._window.take(number) else None)
        whole = None
        if octet in (_FIRST, _LAST) and self._window.fresh(number):
            whole = self._pieces.add(number, octet == _LAST, content, now)
            if whole is not None:
                self._window.take(number)
        return Opened(way, newest, whole, None)


def tag_of(datagram: bytes) -> int:
    """The session that a packet names. :raises MalformedError: it is none."""
    if len(datagram) < AROUND:
        raise MalformedError
    return int.from_bytes(datagram[4:8])
