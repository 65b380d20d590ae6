"""The relay pair: what a packet costs on its way through both relays, at 1, 30, 60 and 200 calls, copied over both lines, signed and marked.

A branch and the centre in namespaces with two lines between them; OpenVPN's two ends are sockets of this process, which send fifty packets a
second and call, each way, as long as OpenVPN's for G.711 are. *CPU*: of each relay, for each packet that it hands on. With 200 calls, both relays
and we want more than the two cores of a small machine: what is lost then is told apart. *Added*: from OpenVPN's one end to the
other, beyond what the same packets take between the same hosts by the kernel alone (the baseline, same run).
"""

from __future__ import annotations

import select
import statistics
import struct
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.engine.processes import noted
from appliance.failover.relay.batch import Goes, Receiver, Sender, prepare, sockaddr
from bench import Result, Say
from bench.processes import cpu_seconds, rss_mb
from tests.hil.agents.network import Host, Network
from tests.hil.agents.process import eventually
from tests.hil.agents.relay import EF, Ends

CALLS: Final = (1, 30, 60, 200)
PER_CALL: Final = 50
OCTETS: Final = 252
"""Of a packet of OpenVPN's that carries 20 ms of G.711."""
STEP_S: Final = 0.002
AT_ONCE: Final = 60
"""Up to so many calls, what comes is taken as it comes; with more we would take the processor from the relays, and take it by the dozen."""
SERVER: Final = ("127.0.0.1", 1194)
CLIENT: Final = ("127.0.0.1", 2000)
RELAY: Final = ("127.0.0.1", 1195)
TARGETS: Final = {
    "centre_core_share_200": "<= 1", "edge_core_share_30": "<= 0.3", "lost": "<= 0", "added_ms_p99_30": "<= 5", "rss_mb": "<= 60",
}  # fmt: skip
_STAMP: Final = struct.Struct("!BId")
_DATA: Final = 9 << 3
_OPENING: Final = bytes((7 << 3,)) + b"bench-01"


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: one and five calls, for half a second."""
    calls, seconds = ((1, 5), 0.5) if smoke else (CALLS, 10.0)
    figures: dict[str, Any] = {"lost": 0} | {f"lost_{number}": 0 for number in calls if number > AT_ONCE}
    baseline: dict[str, Any] = {}
    with (
        Network() as net,
        tempfile.TemporaryDirectory(prefix="centralino-relay-") as folder,
        Ends(net, Path(folder)) as ends,
    ):
        pids = {end: noted(ends.places[end] / "relay.pid") or 0 for end in ends.places}
        for number in calls:
            plain = flow(End(ends.edge, (ends.edge.address, 3000), (ends.centre.address, 3000)),
                         End(ends.centre, (ends.centre.address, 3000), (ends.edge.address, 3000)), number, seconds)  # fmt: skip
            client, server = End(ends.edge, CLIENT, RELAY), End(ends.centre, SERVER, None)
            opened(client, server)
            before = {end: cpu_seconds(pid) for end, pid in pids.items()}
            found = flow(client, server, number, seconds)
            say(f"{number} calls: {found}, by the kernel alone {plain}")
            figures["lost" if number <= AT_ONCE else f"lost_{number}"] += found.lost
            for end, pid in pids.items():
                spent = cpu_seconds(pid) - before[end]
                each = spent / len(found.delays)
                figures[f"{end}_core_share_{number}"] = round(each * 2 * number * PER_CALL, 3)
                figures[f"{end}_us_per_packet_{number}"] = round(1e6 * each, 1)
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                figures[f"added_ms_{name}_{number}"] = round(1000 * (found.delay(share) - plain.delay(share)), 3)
                baseline[f"delay_ms_{name}_{number}"] = round(1000 * plain.delay(share), 3)
        figures["rss_mb"] = round(max(map(rss_mb, pids.values())), 1)
        figures["refused"] = {end: ends.standing(end)["refused"] for end in ends.places}
    return Result("relay", figures, baseline, {name: bound for name, bound in TARGETS.items() if name in figures})


@dataclass
class End:
    """One end: where it is, and where it sends (``None``: to whoever sent to it)."""

    host: Host
    at: tuple[str, int]
    to: tuple[str, int] | None

    def __post_init__(self) -> None:
        self.socket = self.host.socket()
        prepare(self.socket, whole=False)
        self.socket.setsockopt(1, 33, 8 << 20)  # SO_RCVBUFFORCE
        self.socket.bind(self.at)
        self.address = sockaddr(*self.to) if self.to else b""


@dataclass
class Flow:
    """What came of packets sent both ways."""

    sent: int = 0
    delays: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Of all."""
        return self.sent - len(self.delays)

    def delay(self, share: float) -> float:
        """That so many of all don't exceed, in seconds."""
        return sorted(self.delays)[int(share * (len(self.delays) - 1))] if self.delays else float("inf")

    def __str__(self) -> str:
        median = statistics.median(self.delays) * 1000 if self.delays else None
        return f"{self.sent} sent, {self.lost} lost, median {median} ms"


def opened(client: End, server: End) -> None:
    """OpenVPN's session begins: the centre's relay gives it a port."""
    receiver, sender = Receiver(), Sender()

    def heard() -> bool:
        sender.send(client.socket.fileno(), [Goes(_OPENING, client.address)])
        found = receiver.receive(server.socket.fileno())
        if found:
            server.address = found[0].address
        return bool(found)

    eventually(heard, "a packet comes through", every_s=0.1)
    drain(receiver, server)


def drain(receiver: Receiver, end: End) -> None:
    """What was sent again meanwhile."""
    time.sleep(0.2)
    while receiver.receive(end.socket.fileno()):
        pass


def flow(one: End, other: End, calls: int, seconds: float) -> Flow:
    """Packets both ways, evenly."""
    found, receiver, sender = Flow(), Receiver(), Sender()
    ends = (one, other)
    filling = bytes(OCTETS - _STAMP.size)
    began = time.monotonic()
    numbers = 0
    while (now := time.monotonic()) < began + seconds + 1.0:
        due = int(min(now - began, seconds) * calls * PER_CALL) - numbers
        if due > 0:
            for end in ends:
                goes = [
                    Goes(_STAMP.pack(_DATA, numbers + each, time.monotonic()) + filling, end.address, b"", EF)
                    for each in range(due)
                ]
                sender.send(end.socket.fileno(), goes)
            numbers += due
            found.sent += 2 * due
        for end in ends:
            while came := receiver.receive(end.socket.fileno()):
                at = time.monotonic()
                found.delays += [at - _STAMP.unpack_from(each.data)[2] for each in came if each.data[0] == _DATA]
        if calls <= AT_ONCE:
            select.select([end.socket for end in ends], (), (), STEP_S)
        else:
            time.sleep(STEP_S)
    for end in ends:
        end.socket.close()
    return found
