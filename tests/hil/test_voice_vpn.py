"""A branch on the voice VPN, by real OpenVPN: phones at both ends talk, and nothing of it is seen on the way."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.firewall.kernel import Kernel
from appliance.firewall.promise import Machine, promise
from appliance.firewall.rules import script
from appliance.paths import VpnPaths
from appliance.vpn.pki import Authority, server_lines
from appliance.vpn.plan import MTU, Daemon, Installation, branch_lines, daemons
from tests.hil.agents.network import Host, Network, command, require_root
from tests.hil.agents.openvpn import UP, Edge
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.tap import Tap
from tests.hil.office import rows, talk
from tests.hil.system import System

EF = 0xB8
"""TOS octet of Expedited Forwarding (RFC 3246): DSCP 46."""


IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14  # ip(7); Python has no names for them


@dataclass
class Ground:
    """The centre with its engine and firewall, a branch behind its edge router, and the internet between them."""

    system: System
    centre: Host
    edge: Host
    phone: Host
    desk: Host
    outside: Host
    work: Path
    daemon: Daemon
    tunnel: Child

    def soft_phone(self, host: Host, device: str, tone_hz: int) -> SoftPhone:
        password = self.system.passwords[device]
        return SoftPhone(host, self.work / device, device, password, self.centre.address, tone_hz=tone_hz)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    require_root()
    work = tmp_path_factory.mktemp("vpn")
    with Network() as net:
        centre, desk = net.host("centre", number=10).join("provider", 10), net.host("desk")
        edge = net.host("edge", "provider").join("branch", 1)
        outside, phone = net.host("outside", "provider"), net.host("phone", "branch")
        edge.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        for family, router in zip(("-4", "-6"), edge.legs["branch"], strict=True):
            phone.run(["ip", family, "route", "add", "default", "via", router])
        document_rows = rows(
            centre.address,
            [
                ("site", {"id": "branch", "name": "Branch", "company": "demo", "class_of_service": "standard",
                          "emergency_number": "+390200000200", "networks": ["203.0.113.0/24", "2001:db8:3::/64"]}),
                ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": centre.address_on("provider")}],
                                  "pool6": "fd00:1:2:3::/64"}),
                ("branch", {"id": "branch", "site": "branch", "number": 1}),
                ("listener", {"id": "udp6", "name": "Phones", "transport": "udp", "address": centre.address6}),
                ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": ["192.0.2.0/24", "2001:db8:1::/64"]}),
            ],
        )  # fmt: skip
        with System(centre, work, document_rows) as system:
            with system.store() as store:
                document = store.document()
            Kernel(centre.namespace).load(script(promise(document, Machine())))
            authority = Authority(VpnPaths(work / "pki"))
            authority.create()
            (daemon,) = daemons(document, Installation(1, server_lines(authority.paths), {0: local(work)}))
            lines = [*branch_lines(document, "branch", 1), *keys(authority, work, daemon)]
            server = started(centre, work / "server.conf", daemon.config)
            tunnel = started(edge, work / "edge.conf", "\n".join(["dev voice-0", *lines]) + "\n")
            yield Ground(system, centre, edge, phone, desk, outside, work, daemon, tunnel)
            assert server.running
            assert not system.log()


def local(work: Path) -> list[str]:
    (work / "clients").mkdir()
    (work / "tmp").mkdir(mode=0o777)
    return [f"client-config-dir {work / 'clients'}", f"tmp-dir {work / 'tmp'}"]


def keys(authority: Authority, work: Path, daemon: Daemon) -> list[str]:
    """The branch enrols: its key stays with it."""
    edge = Edge()
    granted = authority.enrol("branch", edge.csr)
    (work / "clients" / granted.issued.name).write_text(daemon.clients["branch"])
    return edge.lines(granted)


def started(host: Host, config: Path, text: str) -> Child:
    config.touch(0o600)
    config.write_text(text)
    child = host.start(["openvpn", "--config", str(config)], config.with_suffix(".log"))
    eventually(lambda: UP in child.text() or not child.running, f"{config.name} is up")
    assert UP in child.text(), child.text()[-3000:]
    return child


def test_phones_at_both_ends_talk_and_nothing_of_it_is_in_clear_on_the_way(ground: Ground) -> None:
    with (
        Tap(ground.edge, ground.work / "wan.pcap", bpf="ip or ip6") as wan,
        ground.soft_phone(ground.phone, "301-1", 440) as branch,
        ground.soft_phone(ground.desk, "201-1", 660) as head,
    ):
        branch.register()
        head.register()
        talk(branch, head, branch.call("201"))
        talk(head, branch, head.call("301"))
        assert wan.streams() == []
        assert wan.clear_text(b"sip:") == 0
        wan.read()
    seen = packets(ground.work / "wan.pcap")
    assert len(seen) > 200
    assert {(protocol, port) for protocol, port, _ in seen} == {("UDP", 1194)}
    # What carries voice is marked as voice: two calls of some seconds, fifty packets a second each way.
    assert sum(tos == EF for _, _, tos in seen) > 100


def packets(file: Path) -> list[tuple[str, int, int]]:
    """Protocol, the tunnel's port and TOS octet of every packet between edge and centre."""

    text = command(["tcpdump", "-r", str(file), "-n", "-v", "host 198.51.100.10 and not arp"]).stdout
    found = re.findall(r"tos 0x([0-9a-f]+).*proto (\w+).*\n\s+\S+\.(\d+) > \S+\.(\d+):", text)
    return [(protocol, min(int(one), int(other)), int(tos, 16)) for tos, protocol, one, other in found]


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_is_translated(ground: Ground, version: int) -> None:
    """The centre sees the phone's own address, and answers to it."""
    ours, theirs = (each.legs[lan][version == 6] for each, lan in ((ground.centre, "voice"), (ground.phone, "branch")))
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with ground.centre.socket(family) as inbox, ground.phone.socket(family) as sender:
        inbox.bind((ours, 15000))
        inbox.settimeout(5)
        sender.bind((theirs, 15002))
        sender.settimeout(5)
        sender.sendto(b"voice", (ours, 15000))
        data, source = inbox.recvfrom(100)
        assert (data, source[:2]) == (b"voice", (theirs, 15002))
        inbox.sendto(b"answer", source)
        assert sender.recvfrom(100)[0] == b"answer"


@pytest.mark.parametrize(("marking", "name"), [(EF, "voice"), (0x60, "signalling")])
def test_marks_are_carried_to_the_outside_in_both_directions(ground: Ground, marking: int, name: str) -> None:
    file = ground.work / f"marks-{name}.pcap"
    ends = (ground.phone, ground.phone.address), (ground.centre, ground.centre.address)
    with Tap(ground.edge, file, bpf="udp port 1194"):
        for (host, source), (_, target) in (ends, ends[::-1]):
            with host.socket() as sender:
                sender.bind((source, 15100))
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, marking)
                for _ in range(20):
                    sender.sendto(b"x" * 160, (target, 15100))
        eventually(
            lambda: sum(tos == marking for _, _, tos in packets(file)) >= 40, "forty packets with that mark outside", 5
        )


def test_a_packet_as_large_as_the_tunnel_takes_passes_in_one_piece_and_larger_ones_are_told(ground: Ground) -> None:
    room = MTU - 20 - 8
    with ground.centre.socket() as inbox, ground.phone.socket() as sender:
        inbox.bind((ground.centre.address, 15300))
        inbox.settimeout(5)
        sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        sender.connect((ground.centre.address, 15300))
        sender.send(b"x" * room)
        assert len(inbox.recv(2000)) == room
        assert sender.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1500  # the phone's own network
        sender.send(b"x" * (room + 1))
        eventually(lambda: sender.getsockopt(socket.IPPROTO_IP, IP_MTU) == MTU, "the router tells what fits", 5)


def test_whoever_takes_a_phone_s_address_outside_the_tunnel_reaches_nothing(ground: Ground) -> None:
    ground.outside.run(["ip", "address", "add", f"{ground.phone.address}/32", "dev", "lo"])
    ground.outside.run(["ip", "route", "add", "192.0.2.0/24", "via", ground.centre.address_on("provider")])
    with ground.centre.socket() as inbox, ground.outside.socket() as sender:
        inbox.bind((ground.centre.address, 15200))
        sender.bind((ground.phone.address, 15200))
        sender.sendto(b"stolen", (ground.centre.address, 15200))
        with ground.phone.socket() as honest:
            honest.sendto(b"honest", (ground.centre.address, 15200))
        inbox.settimeout(5)
        assert inbox.recvfrom(100)[0] == b"honest"
        inbox.settimeout(0.05)
        with pytest.raises(TimeoutError):
            inbox.recvfrom(100)
