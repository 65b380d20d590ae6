"""What the packets of a provider's lines pass: late, in another order, some not at all. As a process on the provider's router:

    python -m lab.wire DEVICE CONTROL COUNTED

``DEVICE``: a TUN interface, to which the router sends what comes from customers' lines or is for them; what is written back goes on to where it is addressed.
``CONTROL``: a file of JSON, for each customer's address ``{"up": …, "down": …}`` as :class:`lab.impairments.Way`; read again when it is another.
``COUNTED``: is written twice a second: for each address and direction, packets that passed and that were lost.

The kernel's own (``tc netem``) isn't built into every kernel that this runs on, and knows neither flapping nor bursts by the clock.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import json
import os
import random
import select
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.impairments import WELL, Way

QUEUE_S: Final = 0.3
"""How long a packet waits at most where a line carries too little: what routers of access lines hold."""
LOOK_S: Final = 0.1
TELL_S: Final = 0.5
TUNSETIFF: Final = 0x400454CA
IFF_TUN_NO_PI: Final = 0x1001


@dataclass
class Direction:
    """One direction of one customer's line."""

    way: Way = WELL
    since: float = 0.0
    passed: int = 0
    lost: int = 0
    free_at: float = 0.0
    burst_at: float = field(default=0.0)

    def due(self, now: float, octets: int, chance: random.Random) -> float | None:
        """When a packet goes on that comes now; None: never."""
        way = self.way
        if self._dead(now, chance) or (way.longest is not None and octets > way.longest) or chance.random() < way.loss:
            return None
        at = now
        if way.rate_kbit is not None:
            at = max(now, self.free_at)
            if at - now > QUEUE_S:
                return None
            at += octets * 8 / (1000 * way.rate_kbit)
            self.free_at = at
        return at + (way.delay_ms + chance.uniform(0, 2) * way.jitter_ms) / 1000

    def _dead(self, now: float, chance: random.Random) -> bool:
        way = self.way
        if way.flap_s is not None:
            return int((now - self.since) / way.flap_s) % 2 == 0
        if way.burst_every_s is None:
            return False
        if now >= self.burst_at + way.burst_s:
            self.burst_at = now + chance.expovariate(1 / way.burst_every_s)
        return now >= self.burst_at

    def becomes(self, way: Way, now: float) -> None:
        """From now on it is as bad as that."""
        if way != self.way:
            self.way, self.since, self.burst_at, self.free_at = way, now, now, now


class Wire:
    """See this module."""

    def __init__(self, device: str, control: Path, counted: Path) -> None:
        self._control, self._counted, self._stamp = control, counted, 0
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self._tun, TUNSETIFF, struct.pack("16sH14x", device.encode(), IFF_TUN_NO_PI))
        self._lines: dict[bytes, dict[str, Direction]] = {}
        self._waiting: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()
        self._chance = random.Random(7)

    def run(self) -> None:
        """For ever."""
        poll = select.poll()
        poll.register(self._tun, select.POLLIN)
        looked = told = 0.0
        while True:
            now = time.monotonic()
            if now - looked > LOOK_S:
                looked = now
                self._look(now)
            if now - told > TELL_S:
                told = now
                self._tell()
            wait = min(LOOK_S, max(0.0, self._waiting[0][0] - now)) if self._waiting else LOOK_S
            if poll.poll(1000 * wait):
                self._take()
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                self._give(heapq.heappop(self._waiting)[2])

    def _take(self) -> None:
        for _ in range(64):
            try:
                packet = os.read(self._tun, 4096)
            except BlockingIOError:
                return
            direction = self._direction(packet)
            if direction is None:
                self._give(packet)
                continue
            now = time.monotonic()
            due = direction.due(now, len(packet), self._chance)
            if due is None:
                direction.lost += 1
                continue
            direction.passed += 1
            if due <= now:
                self._give(packet)
            else:
                heapq.heappush(self._waiting, (due, next(self._order), packet))

    def _direction(self, packet: bytes) -> Direction | None:
        if packet[0] >> 4 != 4:
            return None
        if (line := self._lines.get(packet[12:16])) is not None:
            return line["up"]
        return line["down"] if (line := self._lines.get(packet[16:20])) is not None else None

    def _give(self, packet: bytes) -> None:
        try:
            os.write(self._tun, packet)
        except OSError:
            return  # the kernel has no way for it: as lost as on any router

    def _look(self, now: float) -> None:
        stamp = self._control.stat().st_mtime_ns
        if stamp == self._stamp:
            return
        self._stamp = stamp
        for address, ways in json.loads(self._control.read_text()).items():
            line = self._lines.setdefault(_packed(address), {"up": Direction(), "down": Direction()})
            for name, direction in line.items():
                direction.becomes(Way(**ways[name]), now)

    def _tell(self) -> None:
        found = {
            ".".join(map(str, address)): {
                name: {"passed": each.passed, "lost": each.lost} for name, each in line.items()
            }
            for address, line in self._lines.items()
        }
        fresh = self._counted.with_suffix(".new")
        fresh.write_text(json.dumps(found))
        fresh.replace(self._counted)


def _packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


if __name__ == "__main__":
    Wire(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])).run()
