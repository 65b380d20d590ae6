"""The firewall in the kernel: each zone reaches what the document promises it, port by port, and nothing else."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from appliance.core.document import Document
from appliance.core.errors import ApplyError
from appliance.firewall.kernel import Kernel
from appliance.firewall.promise import Machine, Promise, promise
from appliance.firewall.rules import digest_in, script
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.agents.process import eventually
from tests.hil.agents.scanner import Arrivals, Door, knock
from tests.hil.system import objects

MEDIA: Final = frozenset(("udp", port) for port in range(10000, 20000))
TUNNEL: Final = ("udp", 1194)
SIP: Final = frozenset({("udp", 5060), ("tcp", 5060)})
ANY4: Final = "0.0.0.0"  # noqa: S104 (what a listener says)


@dataclass
class Ground:
    """The appliance among everybody: ``phone`` and ``pc`` on the voice LAN, a provider, and somebody outside."""

    pbx: Host
    phone: Host
    pc: Host
    provider: Host
    outside: Host
    arrivals: Arrivals
    kernel: Kernel
    promised: Promise

    def scanned(self, host: Host, lan: str, version: int, expected: set[Door]) -> set[Door]:
        """What came in of a knock at every port; on a busy machine the wire itself may lose some: there it knocks once more."""
        source, target = host.legs[lan][version == 6], self.pbx.legs[lan][version == 6]
        knock(host, source, target)
        for _protocol, port in sorted(expected - self.arrivals.of(source)):
            knock(host, source, target, range(port, port + 1))
        return self.arrivals.of(source)


def document(pbx: Host, phone: Host, pc: Host, provider: Host) -> Document:
    """Phones have a network, one PC is an administrator's, everybody may use the portal."""
    voice, outer = pbx.legs["voice"], pbx.legs["provider"]
    rows: list[tuple[str, dict[str, Any]]] = [
        ("company", {"id": "demo", "name": "Demo Srl"}),
        ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["10.3.0.0/24"]}),
        ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": "vpn.example.com"}]}),
        ("branch", {"id": "torino", "site": "torino", "number": 1}),
        ("listener", {"id": "udp", "name": "U", "transport": "udp", "address": ANY4, "media_address": voice[0]}),
        ("listener", {"id": "tcp", "name": "T", "transport": "tcp", "address": ANY4, "media_address": voice[0]}),
        ("listener", {"id": "udp6", "name": "U", "transport": "udp", "address": "::", "media_address": voice[1]}),
        ("listener", {"id": "tcp6", "name": "T", "transport": "tcp", "address": "::", "media_address": voice[1]}),
        ("listener", {"id": "wss", "name": "W", "transport": "wss", "address": ANY4, "port": 8089, "zone": "web", "certificate": "a"}),
        ("listener", {"id": "lines", "name": "L", "transport": "udp", "address": outer[0], "port": 5080, "zone": "trunks"}),
        ("provider", {"id": "telco", "name": "Telco", "media_networks": ["198.51.100.128/25"]}),
        ("trunk", {"id": "line", "name": "Line", "provider": "telco", "host": provider.address, "auth": {"type": "address"}}),
        ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": [f"{phone.address}/32", f"{phone.address6}/128"]}),
        ("network", {"id": "office", "name": "Office", "zone": "management", "networks": [f"{pc.address}/32", f"{pc.address6}/128"]}),
        ("network", {"id": "world", "name": "World", "zone": "clients", "networks": ["0.0.0.0/0", "::/0"]}),
        ("address_list", {"id": "bad", "name": "Bad", "action": "block", "networks": ["203.0.113.128/25"]}),
    ]  # fmt: skip
    return Document.of(objects(rows))


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    require_root()
    with Network() as net:
        pbx = net.host("pbx").join("provider").join("branch")
        phone, pc = net.host("phone"), net.host("pc")
        provider, outside = net.host("provider", "provider"), net.host("outside", "branch")
        promised = promise(document(pbx, phone, pc, provider), Machine())
        kernel = Kernel(pbx.namespace)
        kernel.load(script(promised))
        yield Ground(pbx, phone, pc, provider, outside, Arrivals(pbx), kernel, promised)


def promised(ground: Ground, source: str, lan: str) -> set[Door]:
    """What the promise lets a source in by, reckoned beside the rules."""
    here = ground.pbx.legs[lan][":" in source]
    address = ipaddress.ip_address(source)
    return {
        (opening.protocol, port)
        for opening in ground.promised.openings
        if opening.sources.interface is None
        and not opening.at_times
        and (not opening.sources.networks or any(address in ipaddress.ip_network(net) for net in opening.sources.networks))
        and opening.address in (None, here, "::" if ":" in here else ANY4)
        for port in range(opening.ports[0], opening.ports[1] + 1)
    }  # fmt: skip


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("who", ["phone", "pc", "provider", "outside"])
def test_every_port_scanned_from_each_zone(ground: Ground, who: str, version: int) -> None:
    lan = {"provider": "provider", "outside": "branch"}.get(who, "voice")
    host: Host = getattr(ground, who)
    everybody = {TUNNEL, ("tcp", 8443)} | ({("tcp", 8089)} if version == 4 else set())
    expected = (
        everybody
        | {
            "outside": set(),
            "pc": {("tcp", 22)},
            "phone": {*SIP, *MEDIA},
            "provider": {("udp", 5080), *MEDIA} if version == 4 else set(),
        }[who]
    )
    found = ground.scanned(host, lan, version, expected)
    assert found == expected
    assert found == promised(ground, host.legs[lan][version == 6], lan)


@pytest.mark.parametrize("owner", ["a phone", "nobody that could be answered"])
def test_an_address_that_cannot_be_there_is_dropped(ground: Ground, owner: str) -> None:
    """Whoever sits outside and sends as a phone gets nothing in: not even its voice ports, which aren't tracked."""
    ground.arrivals.forget()
    before = counted(ground, "spoofed")
    stolen = ground.phone.address if owner == "a phone" else "100.64.0.9"
    ground.outside.run(["ip", "address", "add", f"{stolen}/32", "dev", "lo"])
    try:
        knock(ground.outside, stolen, ground.pbx.address_on("branch"), range(5055, 5065))
        knock(ground.outside, stolen, ground.pbx.address_on("branch"), range(10000, 10010))
    finally:
        ground.outside.run(["ip", "address", "del", f"{stolen}/32", "dev", "lo"])
    eventually(lambda: counted(ground, "spoofed") - before >= 40, "all of it was counted")
    assert ground.arrivals.of(stolen) == set()


def test_a_blocked_address_reaches_the_tunnel_only(ground: Ground) -> None:
    blocked = "203.0.113.200"
    ground.outside.run(["ip", "address", "add", f"{blocked}/24", "dev", "eth0"])
    knock(ground.outside, blocked, ground.pbx.address_on("branch"), range(1190, 1200))
    knock(ground.outside, blocked, ground.pbx.address_on("branch"), range(8440, 8450))
    eventually(lambda: counted(ground, "blocked") >= 38, "all of it was counted")
    assert ground.arrivals.of(blocked) == {TUNNEL}


def test_a_flood_of_one_phone_is_cut_off_and_its_neighbour_is_not(ground: Ground) -> None:
    ground.arrivals.forget()
    before = counted(ground, "sip")
    with ground.phone.socket() as flood:
        for number in range(3000):
            flood.sendto(f"REGISTER sip:{number} SIP/2.0\r\n\r\n".encode(), (ground.pbx.address, 5060))
    eventually(lambda: counted(ground, "sip-flood") >= 2000, "the flood was cut off")
    assert counted(ground, "sip") - before <= 1000
    with ground.phone.socket(socket.AF_INET6) as other:
        other.sendto(b"INVITE sip:201@pbx SIP/2.0\r\n\r\n", (ground.pbx.address6, 5060))
    eventually(lambda: ("udp", 5060) in ground.arrivals.of(ground.phone.address6), "another source gets in")


def test_nothing_is_forwarded_between_networks(ground: Ground) -> None:
    ground.pbx.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
    ground.outside.run(["ip", "route", "add", "192.0.2.0/24", "via", ground.pbx.address_on("branch")])
    ground.phone.run(["ip", "route", "add", "203.0.113.0/24", "via", ground.pbx.address])
    with ground.phone.socket() as inbox, ground.outside.socket() as sender:
        inbox.bind((ground.phone.address, 4000))
        sender.sendto(b"hello", (ground.phone.address, 4000))
        eventually(lambda: counted(ground, "not-forwarded") >= 1, "it was counted")
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


def counted(ground: Ground, name: str) -> int:
    """Packets of a named counter."""
    return next(counter.packets for counter in ground.kernel.counters() if counter.name == name)
