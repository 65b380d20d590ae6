"""A line's far end that is slow: takes datagrams at one port and sends them on later, some not at all, both ways. As a process:

    python tests/hil/agents/middle.py HOST PORT TO_HOST TO_PORT CONTROL

``CONTROL``: a file of JSON, ``{"delay_ms": …, "jitter_ms": …, "loss": …}`` for each way; read again when it is another. Jitter is even, between nothing and twice
its mean, so packets overtake each other as they do on bad lines. Each sender is sent on from a port of its own, as by a router with NAT.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import select
import socket
import sys
import time
from pathlib import Path

LOOK_S = 0.1


class Middle:
    """See this module."""

    def __init__(self, at: tuple[str, int], to: tuple[str, int], control: Path) -> None:
        self._to, self._control, self._stamp = to, control, 0
        self._in = self._made(at)
        self._poll = select.epoll()
        self._poll.register(self._in.fileno(), select.EPOLLIN)
        self._out: dict[tuple[str, int], socket.socket] = {}
        self._whose: dict[int, tuple[str, int]] = {}
        self._waiting: list[tuple[float, int, socket.socket, bytes, tuple[str, int]]] = []
        self._order = itertools.count()
        self._chance = random.Random(7)
        self._bad = {"delay_ms": 0.0, "jitter_ms": 0.0, "loss": 0.0}
        self._looked = 0.0

    def _made(self, at: tuple[str, int]) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
        made.setblocking(False)
        made.bind(at)
        return made

    def run(self) -> None:
        """For ever."""
        while True:
            now = time.monotonic()
            if now - self._looked > LOOK_S:
                self._look(now)
            wait = max(0.0, self._waiting[0][0] - now) if self._waiting else LOOK_S
            for descriptor, _event in self._poll.poll(min(wait, LOOK_S)):
                self._take(descriptor)
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _due, _order, by, data, to = heapq.heappop(self._waiting)
                try:
                    by.sendto(data, to)
                except OSError:
                    continue

    def _take(self, descriptor: int) -> None:
        inside = descriptor == self._in.fileno()
        source = self._in if inside else self._out[self._whose[descriptor]]
        for _ in range(64):
            try:
                data, sender = source.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError:
                continue
            if self._chance.random() < self._bad["loss"]:
                continue
            due = (
                time.monotonic() + (self._bad["delay_ms"] + self._chance.uniform(0, 2) * self._bad["jitter_ms"]) / 1000
            )
            if inside:
                item = (due, next(self._order), self._of(sender), data, self._to)
            else:
                item = (due, next(self._order), self._in, data, self._whose[descriptor])
            heapq.heappush(self._waiting, item)

    def _of(self, sender: tuple[str, int]) -> socket.socket:
        if sender not in self._out:
            made = self._out[sender] = self._made(("0.0.0.0", 0))  # noqa: S104
            self._whose[made.fileno()] = sender
            self._poll.register(made.fileno(), select.EPOLLIN)
        return self._out[sender]

    def _look(self, now: float) -> None:
        self._looked = now
        stamp = self._control.stat().st_mtime_ns
        if stamp != self._stamp:
            self._bad |= json.loads(self._control.read_text())
            self._stamp = stamp


if __name__ == "__main__":
    host, port, to_host, to_port, control = sys.argv[1:]
    Middle((host, int(port)), (to_host, int(to_port)), Path(control)).run()
