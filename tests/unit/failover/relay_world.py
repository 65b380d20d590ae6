"""Both ends of a pair in one process and in a time of their own: lines with delay and loss, NAT, and somebody who copies what he sees."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.failover.relay.centre import Centre, Where
from appliance.failover.relay.edge import Edge
from appliance.failover.relay.wire import Copying, Role

KEY = bytes(range(32))
SITE = "bari"
LOCAL = b"centre"


@dataclass
class Line:
    """One line, as the two directions that it has."""

    role: Role = Role.PRIMARY
    delay: float = 0.01
    up: bool = True
    down: bool = True
    loss: float = 0.0
    jitter: float = 0.0
    longest: int = 1500
    address: bytes = b""


@dataclass
class World:
    """``sent_up``, ``got_up``: OpenVPN's packets from the edge; ``down``: to it."""

    lines: dict[int, Line]
    copying: Copying = Copying.ALWAYS
    seed: int = 1
    now: float = 1000.0
    sent_up: int = 0
    sent_down: int = 0
    got_up: list[bytes] = field(default_factory=list)
    got_down: list[bytes] = field(default_factory=list)
    seen: list[tuple[int, bytes, bool]] = field(default_factory=list)
    octets: dict[tuple[int, bool], int] = field(default_factory=dict)
    spy: Callable[[int, bytes, bool], None] | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        for path, line in self.lines.items():
            line.address = line.address or b"line%d" % path
        self.centre = Centre(self.chance.randbytes)
        self.centre.let_in({KEY: SITE})
        self.edge = self.new_edge(1)
        self.at(0.0, self._tick)

    def new_edge(self, epoch: int) -> Edge:
        return Edge(KEY, epoch, {path: line.role for path, line in self.lines.items()}, self.copying)

    def at(self, after: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + after, next(self.order), what))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.events and self.events[0][0] <= until:
            self.now, _, what = heapq.heappop(self.events)
            what()
        self.now = until

    def talk(self, seconds: float, *, tos: int = 0xB8, size: int = 200) -> None:
        """Fifty packets a second, each way."""
        for step in range(int(50 * seconds)):
            self.at(step / 50, lambda: self.send(tos, size))
        self.run(seconds)

    def send(self, tos: int = 0xB8, size: int = 200) -> None:
        self.sent_up += 1
        self.sent_down += 1
        head = bytes((9 << 3,))
        self._from_edge(self.edge.client((head + b"u%06d" % self.sent_up).ljust(size, b"."), tos, self.now))
        self._from_centre(self.centre.server(SITE, (head + b"d%06d" % self.sent_down).ljust(size, b"."), tos, self.now))

    def lost(self) -> tuple[int, int]:
        """Up and down; what came twice counts as an error of ours."""
        assert len(set(self.got_up)) == len(self.got_up)
        assert len(set(self.got_down)) == len(self.got_down)
        return self.sent_up - len(self.got_up), self.sent_down - len(self.got_down)

    def deliver_up(self, datagram: bytes, address: bytes) -> None:
        """A datagram reaches the centre from an address."""
        heard = self.centre.heard(datagram, Where(address, LOCAL), self.now)
        if heard.site is not None:
            assert heard.site == SITE
            self.got_up.append(heard.payload)
        self._from_centre(heard.sent)

    def deliver_down(self, path: int, datagram: bytes) -> None:
        payload, sent = self.edge.heard(path, datagram, self.now)
        if payload is not None:
            self.got_down.append(payload)
        self._from_edge(sent)

    def _tick(self) -> None:
        self._from_edge(self.edge.tick(self.now))
        self._from_centre(self.centre.tick(self.now))
        self.at(0.05, self._tick)

    def _from_edge(self, sent: list) -> None:
        for path, datagram, _tos in sent:
            line = self.lines[path]
            self._count(path, datagram, upward=True)
            if line.up and self._passes(line, datagram):
                address = line.address
                self.at(self._delay(line), lambda d=datagram, a=address: self.deliver_up(d, a))

    def _from_centre(self, sent: list) -> None:
        for where, datagram, _tos in sent:
            assert where.local == LOCAL
            for path, line in self.lines.items():
                if line.address == where.address:
                    self._count(path, datagram, upward=False)
                    if line.down and self._passes(line, datagram):
                        self.at(self._delay(line), lambda p=path, d=datagram: self.deliver_down(p, d))
                    break
            else:
                self.seen.append((-1, datagram, False))  # to somebody who isn't there

    def _count(self, path: int, datagram: bytes, *, upward: bool) -> None:
        self.octets[path, upward] = self.octets.get((path, upward), 0) + len(datagram)
        self.seen.append((path, datagram, upward))

    def _passes(self, line: Line, datagram: bytes) -> bool:
        return len(datagram) + 28 <= line.longest and self.chance.random() >= line.loss

    def _delay(self, line: Line) -> float:
        return line.delay + self.chance.random() * line.jitter
