"""What the firewall costs who is let in: new flows beside 50,000 bans, and how long the rules of 500 branches take to load.

The rules are those of a document with 500 branches, each with two neighbours, and a hundred trunks; the table of bans beside them
has 50,000 single addresses, /24, /64 and /56, and hosts that are quarantined alone. New flows come from 2,000 phones of a voice
network: over UDP a socket of its own each, a request and its answer; over TCP a connection, the same, and its end. Both ends are in one
process, and the kernel takes in what is sent while it is sent: what is measured is work, not waiting. Slices take turns in the
same run, and the median of the rounds counts. Compared are four hosts on one switch: all of ours, ours with no bans (``…_bans``, the
targets), the least rules of any firewall that knows connections, and none at all (the baseline). Told besides: microseconds of a flow's first
UDP packet, as a frame that was made before, from the wire to who receives it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import random
import socket
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.core.document import Document
from appliance.firewall import kernel
from appliance.firewall.bans import kernel as bans_kernel
from appliance.firewall.bans import sets
from appliance.firewall.bans.judge import Wanted
from appliance.firewall.bans.model import Ban, Reason
from appliance.firewall.promise import Machine, promise
from appliance.firewall.rules import script
from bench import Result, Say
from tests.hil.agents.network import Host, Network, in_namespace
from tests.hil.system import objects

BANS: Final = 50_000
BRANCHES: Final = 500
TRUNKS: Final = 100
PHONES: Final = "10.240.0.0/16"
"""Where the flows come from; 2,000 addresses of it."""
SOURCES: Final = 2_000
PORT: Final = 5060
BATCH: Final = 50
SLICE: Final = 5_000
"""UDP flows of one turn."""
CONNECTS: Final = 500
"""TCP connections of one turn."""
ROUNDS: Final = 30
COMPARED: Final = (
    ("bans", "ours", "rules"),
    ("nothing", "ours", "empty"),
    ("least_to_nothing", "stateful", "empty"),
)
KINDS: Final = ("empty", "stateful", "rules", "ours")
"""No rules at all; the least that knows connections; ours without bans; all of ours."""
REQUEST: Final = b"OPTIONS sip:centre.example.com SIP/2.0\r\n\r\n"
IP_BIND_ADDRESS_NO_PORT: Final = 24
"""ip(7): the port is chosen when it connects. Python has no name for it."""
STATEFUL: Final = """
table inet least {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    meta l4proto { icmp, icmpv6 } accept
    ip saddr 10.240.0.0/16 th dport 5060 meta l4proto { udp, tcp } accept
  }
}
"""
TARGETS: Final = {"udp_ratio_bans": ">= 0.95", "tcp_ratio_bans": ">= 0.95", "load_s": "<= 1"}
Rates = dict[str, dict[str, list[float]]]
"""Kind of host and kind of flow → flows a second, by round."""


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: 1,000 bans, 20 branches, two short rounds."""
    bans, branches, rounds, flows, connects = (
        (1_000, 20, 2, 500, 50) if smoke else (BANS, BRANCHES, ROUNDS, SLICE, CONNECTS)
    )
    with Network() as net:
        phones = net.host("phones")
        phones.run(["ip", "route", "add", "local", PHONES, "dev", "lo"])
        beds = {kind: Bed(kind, net.host(kind), phones) for kind in KINDS}
        figures, baseline = loaded(beds, bans, branches, say)
        try:
            for bed in beds.values():
                bed.open()
            rates = measured(beds, rounds, flows, connects, say)
        finally:
            for bed in beds.values():
                bed.close()
    figures |= {"failed": sum(bed.lost for bed in beds.values())}
    return Result("firewall", figures | ratios(rates), baseline | told(rates), TARGETS)


# What is loaded


def document(address: str, branches: int) -> Document:
    """A company with so many branches and a fifth as many trunks."""
    rows: list[tuple[str, dict[str, Any]]] = [
        ("company", {"id": "demo", "name": "Demo Srl"}),
        ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": "vpn.example.com"}], "pool6": "fd00:1:2:3::/64"}),
        ("listener", {"id": "udp", "name": "U", "transport": "udp", "address": address}),
        ("listener", {"id": "tcp", "name": "T", "transport": "tcp", "address": address}),
        ("listener", {"id": "lines", "name": "L", "transport": "udp", "address": address, "port": 5080, "zone": "trunks"}),
        ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": [PHONES]}),
        ("network", {"id": "office", "name": "Office", "zone": "management", "networks": ["10.241.0.0/24"]}),
        ("network", {"id": "world", "name": "World", "zone": "clients", "networks": ["0.0.0.0/0", "::/0"]}),
    ]  # fmt: skip
    for n in range(branches):
        networks = [f"10.{n // 64}.{4 * (n % 64)}.0/23", f"2001:db8:{0x4000 + n:x}::/64"]
        near = [f"site-{(n + step) % branches}" for step in (1, 7)]
        rows.append(("site", {"id": f"site-{n}", "name": f"Site {n}", "company": "demo", "networks": networks}))
        rows.append(("branch", {"id": f"site-{n}", "site": f"site-{n}", "number": n + 1, "reaches": near}))
    for n in range(branches // 5):
        provider = {"id": f"telco-{n}", "name": f"Telco {n}", "media_networks": [f"198.18.{n}.0/24"]}
        line = {"host": f"198.19.{n}.1", "auth": {"type": "address"}}
        rows.append(("provider", provider))
        rows.append(("trunk", {"id": f"line-{n}", "name": f"Line {n}", "provider": provider["id"], **line}))
    return Document.of(objects(rows))


def some_bans(count: int) -> list[Ban]:
    """Bans of all lengths, spread over the address spaces; none of ours."""
    chance = random.Random(1)
    made: dict[Any, None] = {}
    for n in range(count):
        match n % 10:
            case 0 | 1:
                found: Any = ipaddress.ip_network((0x2001_0DB8_8000 << 80 | chance.getrandbits(31) << 64, 64))
            case 2:
                found = ipaddress.ip_network((0x2001_0DB8_9000 << 80 | chance.getrandbits(24) << 72, 56))
            case 3:
                found = ipaddress.ip_network((0x0B00_0000 + chance.getrandbits(16) * 256 + 0x5000_0000, 24))
            case _:
                found = ipaddress.ip_network(0x1000_0000 + chance.getrandbits(30))
        made[found] = None
    week = 6 * 86_400_000
    found = [Ban(network, 0, week, 0, Reason.GUESSING, "guesses") for network in made]
    hosts = [*ipaddress.ip_network("10.4.1.0/25").hosts(), *ipaddress.ip_network("2001:db8:4001::/121").hosts()]
    quarantined = map(ipaddress.ip_network, hosts)  # alone, and their site goes on
    return [*found, *(Ban(each, 0, week, 0, Reason.GUESSING, "guesses", quarantine=True) for each in quarantined)]


def loaded(beds: dict[str, Bed], bans: int, branches: int, say: Say) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rules and bans are in force; how long that took, and what an empty table takes."""
    ours = beds["ours"].host
    began = time.monotonic()
    made = promise(document(ours.address, branches), Machine(cores=2))
    text = script(made)
    generated = time.monotonic() - began
    kernel.Kernel(beds["rules"].host.namespace).load(
        script(promise(document(beds["rules"].host.address, branches), Machine(cores=2)))
    )
    kernel.Kernel(beds["stateful"].host.namespace).load(STATEFUL)
    firewall = kernel.Kernel(ours.namespace)
    firewall.load(text)
    again = statistics.median(timed(lambda: firewall.load(text)) for _ in range(5))
    empty = statistics.median(timed(lambda: firewall.check("table inet nothing { }\n")) for _ in range(5))
    found = some_bans(bans)
    kept_out = bans_kernel.Kernel(sets.Doors.of(made), ours.namespace)
    filled = timed(lambda: kept_out.sync(Wanted(1, tuple(found))))
    assert sum(len(each) for each in kept_out.read().values()) >= len(found)
    figures = {
        "branches": branches, "bans": len(found), "script_kb": round(len(text) / 1000), "generate_s": round(generated, 2),
        "load_s": round(again, 2), "fill_bans_s": round(filled, 2),
    }  # fmt: skip
    say(f"{figures}; an empty table {1000 * empty:.0f} ms")
    return figures, {"load_empty_s": round(empty, 3)}


def timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


# Flows


@dataclass
class Bed:
    """One receiving host and what comes in."""

    kind: str
    host: Host
    phones: Host
    lost: int = 0
    frames: Iterator[bytes] = field(default_factory=lambda: iter(()))

    def open(self) -> None:
        """Sockets, ways back, and the next frames."""
        self.host.run(["ip", "route", "add", PHONES, "via", self.phones.address])
        for name in ("udp_timeout=1", "tcp_timeout_time_wait=1", "tcp_timeout_close=1"):
            self.host.run(["sysctl", "-q", "-w", f"net.netfilter.nf_conntrack_{name}"], check=False)
        self.inbox = self.host.socket()
        self.inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.inbox.bind((self.host.address, PORT))
        self.inbox.setblocking(False)
        self.listener = self.host.socket(kind=socket.SOCK_STREAM)
        self.listener.bind((self.host.address, PORT))
        self.listener.listen(128)
        for one, other in (
            (self.host, self.phones),
            (self.phones, self.host),
        ):  # so that nobody has to ask for places first
            mac = mac_of(other).hex(":")
            one.run(["ip", "neighbour", "replace", other.address, "lladdr", mac, "dev", "eth0", "nud", "permanent"])
        self.wire = self.phones.socket(socket.AF_PACKET, socket.SOCK_RAW)  # of no protocol: it sends only
        self.wire.bind(("eth0", 0))
        self.frames = frames(mac_of(self.phones), mac_of(self.host), self.host.address)
        self.addresses = itertools.cycle(sources())

    def close(self) -> None:
        for name in ("inbox", "listener", "wire"):
            if hasattr(self, name):
                getattr(self, name).close()

    def frames_in(self, count: int) -> float:
        """New UDP flows a second, as frames that were made before: what is left is the kernel's work for a packet."""
        ready = list(itertools.islice(self.frames, count))
        send, receive, came = self.wire.send, self.inbox.recv, 0
        began = time.perf_counter()
        for start in range(0, count, BATCH):
            for frame in ready[start : start + BATCH]:
                send(frame)
            with contextlib.suppress(BlockingIOError):
                for _ in range(BATCH):
                    receive(100)
                    came += 1
        took = time.perf_counter() - began
        self.lost += count - came
        return came / took

    def udp(self, count: int) -> float:
        """New flows a second: a phone's socket, its request, the answer."""
        return in_namespace(self.phones.namespace, lambda: self._exchanged(count, self._ask))

    def tcp(self, count: int) -> float:
        """New connections a second: a phone's connects, asks, is answered and closes."""
        return in_namespace(self.phones.namespace, lambda: self._exchanged(count, self._connect))

    def _exchanged(self, count: int, exchange: Callable[[str, tuple[str, int]], bool]) -> float:
        target, came = (self.host.address, PORT), 0
        began = time.perf_counter()
        for address in itertools.islice(self.addresses, count):
            came += exchange(address, target)
        took = time.perf_counter() - began
        self.lost += count - came
        return came / took

    def _ask(self, address: str, target: tuple[str, int]) -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as phone:
            phone.bind((address, 0))
            phone.connect(target)
            phone.setblocking(False)
            phone.send(REQUEST)
            try:  # on the same core it is there when it was sent
                self.inbox.sendto(*self.inbox.recvfrom(100))
                return phone.recv(100) == REQUEST
            except BlockingIOError:
                return False

    def _connect(self, address: str, target: tuple[str, int]) -> bool:
        with socket.socket() as phone:
            phone.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            phone.bind((address, 0))
            phone.settimeout(2)
            try:
                phone.connect(target)
            except OSError:
                return False
            with self.listener.accept()[0] as answering:
                phone.send(REQUEST)
                answering.send(answering.recv(100))
                return phone.recv(100) == REQUEST


def sources() -> list[str]:
    """Addresses of the phones."""
    first = int(ipaddress.IPv4Network(PHONES).network_address)
    return [str(ipaddress.IPv4Address(first + 256 + n)) for n in range(SOURCES)]


def mac_of(host: Host) -> bytes:
    text = host.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
    return bytes.fromhex(text.replace(":", ""))


def frames(source: bytes, target: bytes, address: str) -> Iterator[bytes]:
    """Ethernet frames of UDP packets, each of another flow: an OPTIONS of a phone, without a checksum over UDP (RFC 768)."""
    all_sources = [int(ipaddress.IPv4Address(each)) for each in sources()]
    to, length = int(ipaddress.IPv4Address(address)), 28 + len(REQUEST)
    for port in itertools.cycle(range(20_000, 60_000)):
        for one in all_sources:
            ip = struct.pack("!BBHHHBBHII", 0x45, 0, length, 0, 0, 64, 17, 0, one, to)
            total = sum(struct.unpack("!10H", ip))
            total = (total & 0xFFFF) + (total >> 16)
            check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
            ip = ip[:10] + struct.pack("!H", check) + ip[12:]
            yield target + source + b"\x08\x00" + ip + struct.pack("!HHHH", port, PORT, length - 20, 0) + REQUEST


def measured(beds: dict[str, Bed], rounds: int, flows: int, connects: int, say: Say) -> Rates:
    """One slice of each bed at a time, another one first each round."""
    ways: dict[str, tuple[Callable[[Bed, int], float], int]] = {
        "frames": (Bed.frames_in, flows), "udp": (Bed.udp, connects), "tcp": (Bed.tcp, connects)
    }  # fmt: skip
    found: Rates = {kind: {way: [] for way in ways} for kind in beds}
    for bed in beds.values():
        for measure, count in ways.values():
            measure(bed, count // 5)
        bed.lost = 0
    for number in range(rounds):
        order = list(beds)[number % len(beds) :] + list(beds)[: number % len(beds)]
        for way, (measure, count) in ways.items():
            for kind in order:
                found[kind][way].append(measure(beds[kind], count))
    for kind, rates in found.items():
        say(
            f"{kind}: { ({way: round(statistics.median(all_)) for way, all_ in rates.items()}) }, lost {beds[kind].lost}"
        )
    return found


def told(rates: Rates) -> dict[str, Any]:
    """The baseline: flows a second, and microseconds of the kernel for a flow's first packet."""
    empty = rates["empty"]
    return {f"{way}_per_s": round(statistics.median(empty[way])) for way in ("udp", "tcp")} | {
        "packet_us": us(rates, "empty")
    }


def us(rates: Rates, kind: str) -> float:
    return round(1e6 / statistics.median(rates[kind]["frames"]), 2)


def ratios(rates: Rates) -> dict[str, Any]:
    """Ours to the baseline, and to ours without bans: round by round, the median of them."""
    found: dict[str, Any] = {}
    for way in ("udp", "tcp"):
        for name, one, other in COMPARED:
            rounds = zip(rates[one][way], rates[other][way], strict=True)
            found[f"{way}_ratio_{name}"] = round(statistics.median(mine / theirs for mine, theirs in rounds), 3)
        found[f"{way}_per_s"] = round(statistics.median(rates["ours"][way]))
    packets = {f"packet_us_{kind}": us(rates, kind) for kind in ("stateful", "rules")} | {
        "packet_us": us(rates, "ours")
    }
    return found | packets
