"""Asks every branch through its tunnel whether it is there, about once a second (ICMP echo, RFC 792 and RFC 4443 section 4).

Echoes are small, 44 or 64 bytes with their header: within the tunnel they are some 100, so one a second is 260 MB a month. They are marked EF (RFC 3246), so
they are treated like the voice that they speak for. Branches are asked at moments of their own, never all at once; all together not more
than :data:`SECOND_MAX` times a second. When an answer came is told by the kernel, so that a process that is busy measures no
more than there is.

What happens when…

* the socket can't be made, or nothing can be sent: :attr:`Echoes.trouble` says so, nothing is claimed, and it is tried again;
* somebody sends answers that nobody asked for: each echo holds eight random bytes of its own, and its answer must come from the very address;
* this process was held up, or suspended: what waited in the socket counts by the kernel's time.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import secrets
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from appliance.core.errors import CentralinoError
from appliance.engine.netns import socket_in
from appliance.vpn.quality import LATE_S, Quality, Window

EVERY_S: Final = 1.0
JITTER: Final = 0.2
"""Share of :data:`EVERY_S` that a pause may be longer or shorter by."""
SECOND_MAX: Final = 500
TICK_S: Final = 0.02
"""The least time between two wake-ups, in which echoes are sent and answers read: for five hundred branches ten of each, where a thousand wake-ups
a second would cost more than the packets …"""
TICK_MAX_S: Final = 0.1
"""… and the most. The kernel notes when an answer came, so nothing is measured by it."""
READ_MAX: Final = 2000
"""Answers that are read in one go: others have their turn too."""
RETRY_S: Final = 10.0
"""Pause before a socket that couldn't be made is tried again."""
BUFFER: Final = 1024 * 1024
EF: Final = 46 << 2

_ECHO4: Final = (8, 0)
_ECHO6: Final = (128, 129)
"""Types of question and answer."""
_HEADER: Final = struct.Struct("!BBHHH")
_TOKEN: Final = 8
_ICMP_FILTER: Final = 1
_ICMP6_FILTER: Final = 1
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("qq")
_RAW: Final = 255

Address = IPv4Address | IPv6Address


@dataclass(slots=True)
class _Asked:
    """One branch that is asked."""

    address: Address
    session: object
    window: Window = field(default_factory=Window)
    text: str = field(init=False)
    family: int = field(init=False)

    def __post_init__(self) -> None:
        self.text = str(self.address)
        self.family = socket.AF_INET6 if isinstance(self.address, IPv6Address) else socket.AF_INET


class Echoes:
    """See this module. For one event loop. ``network_namespace``: where the tunnels are, None: ours."""

    def __init__(self, network_namespace: str | None = None) -> None:
        self._namespace = network_namespace
        self._asked: dict[str, _Asked] = {}
        self._due: list[tuple[float, str]] = []
        self._pending: dict[bytes, tuple[str, int, float, Window]] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._number = 0
        self._id = secrets.randbelow(65536)
        self._news = asyncio.Event()
        self.trouble = ""
        """Why nothing can be measured; empty: it can."""

    def follow(self, targets: Mapping[str, tuple[Address, object]]) -> None:
        """Ask these from now on, and nobody else. Name → address within the tunnel, and what tells its sessions apart: with
        another session, what was measured is forgotten."""
        for name in self._asked.keys() - targets.keys():
            del self._asked[name]
        scheduled = {name for _, name in self._due}
        for name, (address, session) in targets.items():
            known = self._asked.get(name)
            if known is None or (known.address, known.session) != (address, session):
                self._asked[name] = _Asked(address, session)
                if name not in scheduled:
                    heapq.heappush(self._due, (time.monotonic() + random.random() * self._pause(), name))  # noqa: S311
                    self._news.set()

    def quality(self, name: str) -> Quality:
        """What is known of somebody's way now."""
        asked = self._asked.get(name)
        return Quality() if asked is None else asked.window.quality(time.monotonic())

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                if not self._due:
                    self._news.clear()
                    await self._news.wait()
                elif await self._ready():
                    await self._send_due()
                else:
                    await asyncio.sleep(RETRY_S)
        finally:
            self._close()

    # Sending

    def _pause(self) -> float:
        return max(EVERY_S, len(self._asked) / SECOND_MAX)

    async def _send_due(self) -> None:
        for family, each in self._sockets.items():
            self._read(each, family)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, name = heapq.heappop(self._due)
            asked = self._asked.get(name)
            if asked is not None:
                self._send(name, asked)
                pause = self._pause() * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
                heapq.heappush(self._due, (now + pause, name))
        self._forget(now)
        if self._due:
            await asyncio.sleep(min(max(TICK_S, self._due[0][0] - time.monotonic()), TICK_MAX_S))

    def _send(self, name: str, asked: _Asked) -> None:
        self._number += 1
        token = secrets.token_bytes(_TOKEN)
        type = _ECHO4[0] if asked.family == socket.AF_INET else _ECHO6[0]
        packet = echo(type, self._id, self._number & 0xFFFF, token)
        at, way = time.monotonic(), self._sockets.get(asked.family)
        try:
            if way is None or way.sendto(packet, (asked.text, 0)) != len(packet):
                return
        except OSError:
            return  # no way there, or no room now: nothing was sent, so nothing is lost
        self._pending[token] = (name, self._number, at, asked.window)
        asked.window.sent(self._number, at)

    def _forget(self, now: float) -> None:
        """Echoes whose answers would come too late: they were kept in order."""
        while self._pending:
            token, (_, _, sent, _) = next(iter(self._pending.items()))
            if now - sent <= 2 * LATE_S:
                return
            del self._pending[token]

    # Receiving

    async def _ready(self) -> bool:
        if self._sockets:
            return True
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                made = await asyncio.to_thread(self._open, family)
                if made is not None:
                    self._sockets[family] = made
        except (OSError, CentralinoError) as error:
            self._close()
            said = error.message if isinstance(error, CentralinoError) else str(error.strerror)
            message = f"the way to branches can't be measured: {said}"
            self.trouble = message
            return False
        self.trouble = ""
        return True

    def _open(self, family: int) -> socket.socket | None:
        six = family == socket.AF_INET6
        protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        try:
            made = socket_in(self._namespace, family, socket.SOCK_RAW, protocol)
        except OSError:
            if six:  # a kernel without IPv6
                return None
            raise
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if six:
            wanted = bytearray(b"\xff" * 32)
            struct.pack_into("I", wanted, 4 * (_ECHO6[1] >> 5), 0xFFFFFFFF & ~(1 << (_ECHO6[1] & 31)))
            made.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(wanted))
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EF)
        else:
            made.setsockopt(_RAW, _ICMP_FILTER, struct.pack("I", 0xFFFFFFFF & ~(1 << _ECHO4[1])))
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EF)
        return made

    def _close(self) -> None:
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()

    def _read(self, from_: socket.socket, family: int) -> None:
        for _ in range(READ_MAX):
            try:
                data, more, _flags, address = from_.recvmsg(256, 64)
            except OSError:
                return
            token = answer_of(data, family == socket.AF_INET6)
            asked = self._pending.get(token)
            if asked is None:
                continue
            name, number, _sent, window = asked
            known = self._asked.get(name)
            if known is not None and known.window is window and known.text == address[0].partition("%")[0]:
                del self._pending[token]
                window.answered(number, came(more))


def echo(type: int, id: int, number: int, token: bytes) -> bytes:
    """An echo request. The checksum of IPv6 is the kernel's."""
    payload = token.ljust(2 * _TOKEN, b"\0")
    bare = _HEADER.pack(type, 0, 0, id, number) + payload
    return _HEADER.pack(type, 0, checksum(bare), id, number) + payload


def answer_of(data: bytes, six: bool) -> bytes:
    """The random bytes of an answer, as a raw socket gives it: IPv4 with its header. Empty: it isn't one."""
    begins = 0 if six else 4 * (data[0] & 0x0F) if data else 0
    answer = data[begins:]
    if len(answer) < _HEADER.size + _TOKEN or answer[0] != (_ECHO6 if six else _ECHO4)[1]:
        return b""
    return answer[_HEADER.size : _HEADER.size + _TOKEN]


def checksum(data: bytes) -> int:
    """RFC 1071."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total: int = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def came(more: list[tuple[int, int, bytes]]) -> float:
    """When a packet came, by the monotonic clock."""
    now = time.monotonic()
    for level, type, value in more:
        if level == socket.SOL_SOCKET and type == _SO_TIMESTAMPNS and len(value) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            ago: float = time.time() - seconds - nanoseconds / 1e9
            return now - max(0.0, min(2 * LATE_S, ago))
    return now
