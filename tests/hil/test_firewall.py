"""The firewall in the kernel: each zone reaches what the document promises it, port by port, and nothing else; nor too much of it."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import pytest

from appliance.core.document import Document
from appliance.core.errors import ApplyError
from appliance.firewall.kernel import Kernel
from appliance.firewall.promise import Machine, Promise, promise
from appliance.firewall.rules import CONNECTIONS, CONNECTS, METHODS, PINGS, SIP_PACKETS, digest_in, script
from appliance.firewall.tuning import settings, text
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.agents.process import eventually
from tests.hil.agents.scanner import SYN, Arrivals, Door, Forger, knock
from tests.hil.system import objects

MEDIA: Final = frozenset(("udp", port) for port in range(10000, 20000))
TUNNELS: Final = frozenset({("udp", 1194), ("udp", 1170)})
"""By OpenVPN alone, and by relays."""
SIP: Final = frozenset({("udp", 5060), ("tcp", 5060)})
PORTAL: Final = ("tcp", 8443)
ANY4: Final = "0.0.0.0"  # noqa: S104 (what a listener says)
POOL: Final = ("172.29.0.", "fd00:1:2:3::")
"""Addresses within the tunnels: ours ends in 1, the edge's in 2."""
CROWD: Final = "192.0.2.128/25"
"""Where browsers may be."""


@dataclass
class Ground:
    """The appliance among everybody: ``phone``, ``pc`` and ``browser`` on the voice LAN, a provider, somebody outside, and a branch whose
    tunnel is an interface of the tunnels' name (with real tunnels: test_branches.py)."""

    pbx: Host
    hosts: dict[str, Host]
    arrivals: Arrivals
    kernel: Kernel
    promised: Promise

    def way(self, who: str, version: int) -> tuple[Host, str, str, str]:
        """Who, its address, the appliance's address there, and the appliance's interface."""
        six = version == 6
        if who == "edge":
            return self.hosts["branch"], f"{POOL[six]}2", f"{POOL[six]}1", "voice-0"
        host = self.hosts[who]
        lan = next(iter(host.legs))
        return host, host.legs[lan][six], self.pbx.legs[lan][six], leg(self.pbx, lan)

    def forger(self, who: str) -> Forger:
        """Packets of any sender, by that host's cable."""
        return Forger(self.hosts[who], self.pbx, leg(self.pbx, next(iter(self.hosts[who].legs))))

    def counted(self, name: str) -> int:
        """Packets of a named counter."""
        return next(counter.packets for counter in self.kernel.counters() if counter.name == name)


def leg(pbx: Host, lan: str) -> str:
    return "voice-0" if lan == "torino" else f"eth{list(pbx.legs).index(lan)}"


def document(pbx: Host, hosts: dict[str, Host]) -> Document:
    """Phones have a network, one PC is an administrator's, some may use the portal; nobody else anything."""
    voice, outer = pbx.legs["voice"], pbx.legs["provider"]
    both = {who: [f"{host.address}/32", f"{host.address6}/128"] for who, host in hosts.items()}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("company", {"id": "demo", "name": "Demo Srl"}),
        ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["10.31.0.0/24", "2001:db8:31::/64"]}),
        ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": "vpn.example.com"}], "pool6": "fd00:1:2:3::/64"}),
        ("branch", {"id": "torino", "site": "torino", "number": 1}),
        ("listener", {"id": "udp", "name": "U", "transport": "udp", "address": ANY4, "media_address": voice[0]}),
        ("listener", {"id": "tcp", "name": "T", "transport": "tcp", "address": ANY4, "media_address": voice[0]}),
        ("listener", {"id": "udp6", "name": "U", "transport": "udp", "address": "::", "media_address": voice[1]}),
        ("listener", {"id": "tcp6", "name": "T", "transport": "tcp", "address": "::", "media_address": voice[1]}),
        ("listener", {"id": "wss", "name": "W", "transport": "wss", "address": ANY4, "port": 8089, "zone": "web", "certificate": "a"}),
        ("listener", {"id": "lines", "name": "L", "transport": "udp", "address": outer[0], "port": 5080, "zone": "trunks"}),
        ("provider", {"id": "telco", "name": "Telco", "media_networks": ["198.51.100.128/25"]}),
        ("trunk", {"id": "line", "name": "Line", "provider": "telco", "host": hosts["provider"].address, "auth": {"type": "address"}}),
        ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": both["phone"]}),
        ("network", {"id": "office", "name": "Office", "zone": "management", "networks": both["pc"]}),
        ("network", {"id": "browsers", "name": "Browsers", "zone": "clients", "networks": [*both["browser"], CROWD]}),
        ("address_list", {"id": "bad", "name": "Bad", "action": "block", "networks": ["203.0.113.128/25", "2001:db8:3::b0/124"]}),
    ]  # fmt: skip
    return Document.of(objects(rows))


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    require_root()
    with Network() as net:
        pbx = net.host("pbx").join("provider").join("branch").join("torino", leg="voice-0")
        lans = {"provider": "provider", "outside": "branch", "branch": "torino"}
        hosts = {who: net.host(who, lans.get(who, "voice")) for who in ("phone", "pc", "browser", *lans)}
        for four_six, length in zip(POOL, ("16", "64"), strict=True):
            for host, at, last in ((pbx, "voice-0", 1), (hosts["branch"], "eth0", 2)):
                host.run(["ip", "address", "add", f"{four_six}{last}/{length}", "dev", at, "nodad"])
        made = document(pbx, hosts)
        machine = Machine(provisioning=8088)
        promised = promise(made, machine)
        kernel = Kernel(pbx.namespace)
        kernel.load(script(promised))
        kernel.tune(text(settings(made, promised, machine)))
        yield Ground(pbx, hosts, Arrivals(pbx), kernel, promised)


def doors(ground: Ground, source: str, here: str, interface: str) -> set[Door]:
    """What the promise lets a source in by, reckoned beside the rules."""
    address = ipaddress.ip_address(source)
    return {
        (opening.protocol, port)
        for opening in ground.promised.openings
        if fnmatchcase(interface, opening.sources.interface or "*")
        and not opening.at_times
        and (not opening.sources.networks or any(address in ipaddress.ip_network(net) for net in opening.sources.networks))
        and opening.address in (None, here, "::" if ":" in here else ANY4)
        for port in range(opening.ports[0], opening.ports[1] + 1)
    }  # fmt: skip


EXPECTED: Final[dict[str, set[Door]]] = {
    "outside": set(),
    "browser": {PORTAL},
    "pc": {PORTAL, ("tcp", 22)},
    "phone": {*SIP, *MEDIA, ("tcp", 8088)},
    "branch": {*SIP, *MEDIA, ("tcp", 8088)},
    "edge": {("tcp", 8194), ("udp", 8194)},
    "provider": set(),
}
WSS: Final = ("tcp", 8089)
ONLY4: Final[dict[str, set[Door]]] = {
    "browser": {WSS}, "phone": {WSS}, "branch": {WSS}, "provider": {("udp", 5080), *MEDIA}
}  # fmt: skip


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("who", EXPECTED)
def test_every_port_scanned_from_each_zone(ground: Ground, who: str, version: int) -> None:
    """All ports of UDP and TCP. On a busy machine the wire itself may lose some: where something should have come in it knocks again."""
    host, source, target, interface = ground.way(who, version)
    expected = TUNNELS | EXPECTED[who] | (ONLY4.get(who, set()) if version == 4 else set())
    knock(host, source, target)
    for _protocol, port in sorted(expected - ground.arrivals.of(source)):
        knock(host, source, target, range(port, port + 1))
    found = ground.arrivals.of(source)
    assert found == expected
    assert found == doors(ground, source, target, interface)


MARTIANS: Final = (
    "127.0.0.1",
    "0.0.0.5",
    "224.0.0.9",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::ffff:192.0.2.11",
    "ff02::9",
)


@pytest.mark.parametrize("what", ["martians", "spoofed"])
def test_an_address_that_cannot_be_there_is_dropped(ground: Ground, what: str) -> None:
    """What is no sender at all (of IPv6 the kernel drops it before it asks us); a phone's, a branch's, an edge's, our own, and nobody's that could be answered. Not even the tunnel's
    port is reached, nor voice ports, which aren't tracked."""
    phone, pbx = ground.hosts["phone"], ground.pbx
    stolen = [phone.address, phone.address6, "10.31.0.77", "2001:db8:31::77", f"{POOL[0]}2", f"{POOL[1]}2",
              *pbx.legs["voice"], *pbx.legs["branch"], "100.64.0.9", "2001:db8:99::9"]  # fmt: skip
    ground.arrivals.forget()
    sources = MARTIANS if what == "martians" else stolen
    before = ground.counted(what)
    with ground.forger("outside") as forger:
        for source in sources:
            target = pbx.legs["branch"][":" in source]
            for port in (1194, 1170, 5060, 10000):
                forger.udp(source, target, port)
            forger.tcp(source, target, 22, SYN)
    asked = [source for source in sources if what == "spoofed" or ":" not in source]
    eventually(lambda: ground.counted(what) - before >= 5 * len(asked), "all of it was counted")
    assert not any(ground.arrivals.of(str(ipaddress.ip_address(source))) for source in sources)


@pytest.mark.parametrize("blocked", ["203.0.113.200", "2001:db8:3::b5"])
def test_a_blocked_address_reaches_the_tunnel_only(ground: Ground, blocked: str) -> None:
    before = ground.counted("blocked")
    with ground.forger("outside") as forger:
        for port in (1194, 1170, 1195, 5060, 10000):
            forger.udp(blocked, ground.pbx.legs["branch"][":" in blocked], port)
        forger.tcp(blocked, ground.pbx.legs["branch"][":" in blocked], 8443, SYN)
    eventually(lambda: ground.counted("blocked") - before >= 4, "all of it was counted")
    assert ground.arrivals.of(blocked) == TUNNELS


def test_segments_of_no_connection_are_dropped(ground: Ground) -> None:
    """FIN, none, Christmas tree, SYN and FIN, SYN and ACK, RST: what scanners send instead of SYN (nmap -sF, -sN, -sX…)."""
    _, source, target, _ = ground.way("browser", 4)
    ground.arrivals.forget()
    before = ground.counted("invalid")
    with ground.forger("browser") as forger:
        for number, flags in enumerate((0x01, 0x00, 0x29, 0x03, 0x12, 0x04)):
            forger.tcp(source, target, 8443, flags, 50_000 + number)
    eventually(lambda: ground.counted("invalid") - before >= 6, "they were counted")
    assert ground.arrivals.of(source) == set()


def test_voice_tunnels_and_the_sip_of_phones_are_not_tracked_and_the_rest_is(ground: Ground) -> None:
    """With their answers."""
    doors = {("phone", 10500): False, ("phone", 5060): False, ("branch", 10500): False, ("branch", 5060): False,
             ("outside", 1194): False, ("provider", 10500): False, ("provider", 5080): True}  # fmt: skip
    for version in (4, 6):
        for (who, port), tracked in doors.items():
            if who == "provider" and version == 6:
                continue
            host, source, target, _ = ground.way(who, version)
            family = socket.AF_INET6 if version == 6 else socket.AF_INET
            with host.socket(family) as asking, ground.pbx.socket(family) as answering:
                asking.bind((source, 0))
                answering.bind((target, port))
                for each in (asking, answering):
                    each.settimeout(5)
                asking.sendto(b"OPTIONS sip:x SIP/2.0\r\n\r\n", (target, port))
                answering.sendto(b"SIP/2.0 200 OK\r\n\r\n", answering.recvfrom(100)[1])
                assert asking.recv(100)
                own = asking.getsockname()[1]
            flows = ground.pbx.run(["cat", "/proc/net/nf_conntrack"]).stdout
            assert (f"sport={own} dport={port}" in flows) is tracked, (who, port, flows)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("method", [*METHODS, "MESSAGE"])
def test_sip_of_one_phone_is_limited_by_method_and_its_neighbour_is_let_in(
    ground: Ground, method: str, version: int
) -> None:
    """Not a packet more than the limit says of the time that it took."""
    rate, burst = METHODS.get(method, SIP_PACKETS)
    host, source, target, _ = ground.way("phone", version)
    before, flooded = ground.counted("sip"), ground.counted("sip-flood")
    began = time.monotonic()
    with host.socket(socket.AF_INET6 if version == 6 else socket.AF_INET) as flood:
        flood.bind((source, 0))
        for number in range(2 * burst + 50):
            flood.sendto(f"{method} sip:{number} SIP/2.0\r\n\r\n".encode(), (target, 5060))
    eventually(
        lambda: ground.counted("sip") + ground.counted("sip-flood") >= before + flooded + 2 * burst + 50, "all came"
    )
    assert ground.counted("sip") - before <= burst + rate * (time.monotonic() - began) + 1
    ground.arrivals.forget()
    neighbour, other, _, _ = ground.way("branch", version)
    knock(neighbour, other, ground.way("branch", version)[2], range(5060, 5061))
    assert ("udp", 5060) in ground.arrivals.of(other)


def test_a_provider_may_send_more(ground: Ground) -> None:
    host, source, target, _ = ground.way("provider", 4)
    before = ground.counted("sip")
    with host.socket() as busy:
        busy.bind((source, 0))
        for number in range(300):
            busy.sendto(f"INVITE sip:{number} SIP/2.0\r\n\r\n".encode(), (target, 5080))
    eventually(lambda: ground.counted("sip") - before == 300, "every call comes in")


@pytest.mark.parametrize(("who", "port", "name"), [("browser", 8443, "portal"), ("phone", 5060, "sip")])
def test_new_connections_of_one_source_are_limited(ground: Ground, who: str, port: int, name: str) -> None:
    """Also those of phones: their SIP over TCP is limited by connection."""
    rate, burst = CONNECTS
    _, source, target, _ = ground.way(who, 6)
    before, flooded, began = ground.counted(name), ground.counted("connection-flood"), time.monotonic()
    with ground.forger(who) as forger:
        for number in range(2 * burst):
            forger.tcp(source, target, port, SYN, 20_000 + number)
    eventually(
        lambda: ground.counted(name) + ground.counted("connection-flood") >= before + flooded + 2 * burst, "all came"
    )
    assert ground.counted(name) - before <= burst + rate * (time.monotonic() - began) + 1
    assert ground.counted("connection-flood") > flooded


def test_nobody_holds_more_connections_than_many_browsers_behind_one_address(ground: Ground) -> None:
    """However slowly they are made; and whoever wants more is told at once."""
    pc, target = ground.hosts["pc"], ground.pbx.address
    held: list[socket.socket] = []

    def refused() -> bool:
        one = pc.socket(kind=socket.SOCK_STREAM)
        one.settimeout(0.1)
        held.append(one)
        try:
            one.connect((target, 22))
        except TimeoutError:  # as fast as new ones may come
            held.pop().close()
        except ConnectionRefusedError:
            return True
        return False

    with ground.pbx.socket(kind=socket.SOCK_STREAM) as ssh:
        ssh.bind((target, 22))
        ssh.listen(2 * CONNECTIONS)
        try:
            eventually(refused, "one more is refused", 60, every_s=0)
            assert CONNECTIONS // 2 < len(held) <= CONNECTIONS + 1
        finally:
            for each in held:
                each.close()


def test_a_flood_of_connections_of_invented_senders_keeps_nobody_out(ground: Ground) -> None:
    """The queue of half-open connections is full; cookies (RFC 4987) let those in that answer."""
    target = ground.pbx.address
    crowd = [str(each) for each in ipaddress.ip_network(CROWD).hosts()]
    with ground.pbx.socket(kind=socket.SOCK_STREAM) as portal, ground.forger("browser") as forger:
        portal.bind((target, 8443))
        portal.listen(8)
        before = ground.counted("portal")
        for number in range(40):
            for source in crowd:
                forger.tcp(source, target, 8443, SYN, 1024 + number)
        assert ground.counted("portal") - before > 1000
        portal.settimeout(5)
        with ground.hosts["browser"].connect(target, 8443, 5) as one, portal.accept()[0] as other:
            one.send(b"hello")
            assert other.recv(10) == b"hello"


def test_pings_are_answered_and_a_flood_of_them_is_cut_off(ground: Ground) -> None:
    """All of one program, as ``ping -f`` sends them."""
    before, target = ground.counted("ping-flood"), ground.pbx.address_on("branch")
    with ground.hosts["outside"].socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinging:
        pinging.settimeout(5)
        for number in range(4 * PINGS[1]):
            body = b"\x08\0" + (0xFFFF - 0x0800 - number).to_bytes(2, "big") + b"\0\0" + number.to_bytes(2, "big")
            pinging.sendto(body, (target, 0))
        assert pinging.recv(100)[20] == 0  # an answer
    eventually(lambda: ground.counted("ping-flood") > before, "the flood is cut off")


FORWARDED: Final = {
    ("phone", "branch"): True, ("branch", "phone"): True,
    ("phone", "outside"): False, ("outside", "phone"): False, ("outside", "branch"): False, ("branch", "outside"): False,
    ("branch", "pc"): False, ("pc", "branch"): False, ("provider", "branch"): False, ("edge", "phone"): False,
}  # fmt: skip


@pytest.mark.parametrize("version", [4, 6])
def test_branches_and_phones_reach_each_other_and_nobody_else_anybody(ground: Ground, version: int) -> None:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    for who, host in ground.hosts.items():
        host.run(["ip", f"-{version}", "route", "add", "default", "via", ground.way(who, version)[2]])
    for (one, other), passes in FORWARDED.items():
        (source, own, _, _), (target, there, _, _) = ground.way(one, version), ground.way(other, version)
        before = ground.counted("not-forwarded")
        with source.socket(family) as sender, target.socket(family) as inbox:
            inbox.bind((there, 15_000))
            sender.bind((own, 15_000))
            sender.sendto(b"neighbour", (there, 15_000))
            if passes:
                inbox.settimeout(5)
                assert inbox.recvfrom(100)[1][0] == own, (one, other)
            else:
                eventually(lambda known=before: ground.counted("not-forwarded") > known, f"{one} to {other} is counted")
                inbox.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    inbox.recv(16)


def test_a_script_that_the_kernel_refuses_leaves_the_rules_that_stand(ground: Ground) -> None:
    good = script(ground.promised)
    for broken in (good.replace("policy drop", "policy maybe"), good.replace("udp dport 5060", "udp dport 99999", 1)):
        assert broken != good
        with pytest.raises(ApplyError, match="refuses the firewall's rules"):
            ground.kernel.check(broken)
        with pytest.raises(ApplyError, match="refuses the firewall's rules"):
            ground.kernel.load(broken)
    assert ground.kernel.digest() == digest_in(good)
    ground.kernel.load(good)
    assert ground.kernel.digest() == digest_in(good)
