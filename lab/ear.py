"""What comes in at a machine's phones: each call's voice, judged while it is spoken. Keeps the last seconds only.

with Ear(host) as ear:
    ear.heard(phone.voice_ports)
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Self

from appliance.failover.quality import BUFFER_MS
from tests.hil.agents.network import Host

WINDOW_S: Final = 5.0
SILENT_S: Final = 0.2
PACE_S: Final = 0.02
CLOCK: Final = 8
"""Ticks of the timestamp in a millisecond, of G.711."""
ETH_P_IP: Final = 0x0800
SO_TIMESTAMPNS: Final = 35
MAX_MISORDER: Final = 100
"""A packet with a number that is farther away than that may not be this stream's (RFC 3550 A.1): when it joins two legs, the engine sends now and then one with a
number of another. Two of them in a row are."""
WIDTH: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Heard:
    """What a phone heard. ``packets``, ``lost``: since the call began; ``missing``: share that was lost or came too late in the last seconds, 0 to 1."""

    packets: int
    lost: int
    missing: float


@dataclass
class _Voice:
    """One stream: what came of it, and when."""

    ssrc: int
    first: int
    top: int
    count: int = 0
    last_at: float = 0.0
    recent: deque[tuple[float, int, float]] = field(default_factory=deque)  # when, number, how long it was under way
    numbers: set[int] = field(default_factory=set)
    odd: tuple[float, int, int] | None = None

    def take(self, now: float, sequence: int, timestamp: int) -> None:
        number = self.top + (sequence - self.top + WIDTH // 2) % WIDTH - WIDTH // 2
        if abs(number - self.top) > MAX_MISORDER:
            before, self.odd = self.odd, (now, number, timestamp)
            if before is None or number != before[1] + 1:
                return
            if self.count <= 1 or number < self.top:  # what we have taken for the stream until now was another
                self.first = self.top = before[1]
                self.count = 0
                self.numbers.clear()
                self.recent.clear()
            self._count(*before)
        self.odd = None
        self._count(now, number, timestamp)

    def _count(self, now: float, number: int, timestamp: int) -> None:
        if number in self.numbers or number < self.first:
            return
        self.count += 1
        self.top, self.last_at = max(self.top, number), now
        self.numbers.add(number)
        self.recent.append((now, number, 1000 * now - timestamp / CLOCK))
        while now - self.recent[0][0] > WINDOW_S:
            self.numbers.discard(self.recent.popleft()[1])

    def heard(self, now: float) -> Heard:
        silent = max(0.0, now - self.last_at)
        unheard = int(silent / PACE_S) if silent > SILENT_S else 0
        lost = self.top - self.first + 1 - self.count + unheard
        recent = [each for each in self.recent if now - each[0] <= WINDOW_S]
        if not recent:
            return Heard(self.count, lost, 1.0)
        sent = self.top - min(number for _at, number, _under_way in recent) + 1 + unheard
        earliest = min(under_way for _at, _number, under_way in recent)
        in_time = sum(under_way - earliest <= BUFFER_MS for _at, _number, under_way in recent)
        return Heard(self.count, lost, min(1.0, max(0.0, 1 - in_time / sent)))


class Ear:
    """See this module. All legs of the host."""

    def __init__(self, host: Host) -> None:
        self._addresses = {socket.inet_aton(v4) for v4, _v6 in host.legs.values()}
        self._socket = host.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)  # when it came, however late this program looks
        self._socket.settimeout(0.2)
        self._voices: dict[int, _Voice] = {}
        self._until = time.time()
        """All that came before then has been looked at: what waits to be looked at is no silence."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                packet, [(_level, _kind, stamp), *_], _flags, _from = self._socket.recvmsg(2048, 64)
            except TimeoutError:
                self._until = time.time()
                continue
            seconds, ns = struct.unpack("qq", stamp[:16])
            self._until = seconds + ns / 1e9
            self._take(packet, self._until)

    def _take(self, packet: bytes, came: float) -> None:
        start = 4 * (packet[0] & 15)
        if packet[9] != socket.IPPROTO_UDP or packet[16:20] not in self._addresses or len(packet) < start + 20:
            return
        port = struct.unpack_from("!H", packet, start + 2)[0]
        first, kind, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", packet, start + 8)
        if first >> 6 != 2 or kind & 127 not in (0, 8):
            return
        with self._lock:
            voice = self._voices.get(port)
            if voice is None or voice.ssrc != ssrc:
                voice = self._voices[port] = _Voice(ssrc, sequence + WIDTH, sequence + WIDTH)
            voice.take(came, sequence, timestamp)

    def heard(self, ports: range) -> Heard | None:
        """What came to a phone that has these ports: of its newest stream; None: nothing ever."""
        with self._lock:
            found = [voice for port, voice in self._voices.items() if port in ports]
            return max(found, key=lambda each: each.last_at).heard(self._until) if found else None

    def forget(self, ports: range) -> None:
        """What these ports heard is over."""
        with self._lock:
            for port in [port for port in self._voices if port in ports]:
                del self._voices[port]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()
