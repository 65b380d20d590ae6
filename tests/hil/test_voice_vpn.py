"""A branch on the voice VPN, by real OpenVPN: phones at both ends talk, and nothing of it is seen on the way."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.firewall.kernel import Kernel
from appliance.firewall.promise import Machine, promise
from appliance.firewall.rules import script
from appliance.paths import VpnPaths
from appliance.vpn.model import Concentrator, PublicAddress
from appliance.vpn.pki import Authority, server_lines
from appliance.vpn.plan import MTU, NO_DCO, Daemon, Installation, branch_lines, daemons
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


def test_the_tunnel_is_of_the_newest_tls_and_of_ciphers_that_authenticate(ground: Ground) -> None:
    server = (ground.work / "server.log").read_text()
    assert "tls-version-min 1.2" in ground.daemon.config.splitlines()
    assert re.search(r"Control Channel: TLSv1\.3, .*384 bits? ECsecp384r1", server), server[-2000:]
    assert "Data Channel: cipher 'AES-256-GCM'" in server


@contextlib.contextmanager
def path_of(ground: Ground, mtu: int) -> Iterator[None]:
    """The edge's line takes packets of so many octets, and the centre has been told so, as a router before the line tells it by ICMP."""
    line = ["ip", "link", "set", "eth0", "mtu"]
    told = [ground.edge.address_on("provider"), "dev", "eth1", "mtu", str(mtu)]
    ground.edge.run([*line, str(mtu)])
    ground.centre.run(["ip", "route", "replace", *told])
    try:
        yield
    finally:
        ground.centre.run(["ip", "route", "del", *told])
        ground.edge.run([*line, "1500"])


@pytest.mark.parametrize("mtu", [1500, 1492, 1280])
@pytest.mark.parametrize("version", [4, 6])
def test_whatever_the_line_takes_the_largest_datagrams_and_segments_get_through(
    ground: Ground, version: int, mtu: int
) -> None:
    """1,492 as PPPoE has it, 1,280 as the least that IPv6 allows. The tunnel's own packets are cut where they don't fit (RFC 791)."""
    family, head = (socket.AF_INET, 20) if version == 4 else (socket.AF_INET6, 40)
    ours, theirs = (each.legs[lan][version == 6] for each, lan in ((ground.centre, "voice"), (ground.phone, "branch")))
    room = MTU - head - 8
    with path_of(ground, mtu), ground.centre.socket(family) as one, ground.phone.socket(family) as other:
        one.bind((ours, 15400))
        other.bind((theirs, 15400))
        for source, inbox, target in ((one, other, theirs), (other, one, ours)):
            inbox.settimeout(5)
            source.sendto(b"x" * room, (target, 15400))
            assert len(inbox.recv(2000)) == room
    with (
        path_of(ground, mtu),
        ground.phone.socket(family, socket.SOCK_STREAM) as listening,
        ground.centre.socket(family, socket.SOCK_STREAM) as calling,
    ):
        listening.bind((theirs, 0))
        listening.listen()
        calling.settimeout(5)
        calling.bind((ours, 0))
        calling.connect(listening.getsockname()[:2])
        answering, _ = listening.accept()
        with answering:
            for end in (calling, answering):
                end.settimeout(5)
                assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) in range(1200, MTU - head - 20 + 1)
            for source, inbox in ((calling, answering), (answering, calling)):
                sending = threading.Thread(target=source.sendall, args=(b"x" * 200_000,))
                sending.start()
                left = 200_000
                while left:
                    left -= len(inbox.recv(left))
                sending.join()


def test_nothing_but_our_own_word_keeps_the_kernel_from_taking_over_the_tunnel(ground: Ground) -> None:
    """OpenVPN looks at every option before it looks for the kernel's module (DCO), and says which one stands against it."""
    ends = {"centre": ground.daemon.config, "branch": (ground.work / "edge.conf").read_text()}
    for end, text in ends.items():
        assert NO_DCO in text.splitlines(), end
        ready = [line for line in text.splitlines() if line != NO_DCO]
        assert against_offload(ground, f"{end}-ready", ready) <= {"Kernel support for ovpn-dco missing"}, end
        assert against_offload(ground, f"{end}-not", [*ready, "fragment 1300"]) == {"--fragment"}, end


def against_offload(ground: Ground, name: str, lines: list[str]) -> set[str]:
    """What OpenVPN says against it as it reads these lines."""
    config = ground.work / f"{name}.conf"
    config.touch(0o600)
    lines = [
        re.sub("^remote .*", "remote 127.0.0.1 9 udp", line) for line in lines
    ]  # else it would come in in the branch's place
    config.write_text("\n".join([*lines, "dev offload", "ifconfig-noexec", "route-noexec", "verb 4"]) + "\n")
    child = ground.outside.start(["openvpn", "--config", str(config)], config.with_suffix(".log"))
    try:
        eventually(lambda: "DCO version" in child.text(), f"{name} has read its options")
    finally:
        child.stop()
    return set(re.findall(r"(?m)Note: (.*?),? ?(?:disables|disabling) data channel offload", child.text()))


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


def test_the_centre_may_be_behind_somebody_elses_nat(ground: Ground) -> None:
    """Branches know the address and port of the router before it alone. (The last test here: the branch moves to another line.)"""
    ground.tunnel.stop()
    nat = ground.centre.net.host("nat", "isp-two").join("voice")
    far = ground.centre.net.host("far", "isp-two")
    nat.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
    rule = f'iifname "eth0" udp dport 5000 dnat to {ground.centre.address}:1194'
    chain = f"table ip nat {{\nchain in {{\ntype nat hook prerouting priority dstnat;\n{rule}\n}}\n}}\n"
    nat.run(["nft", chain])
    ground.centre.run(["ip", "route", "add", "198.18.0.0/24", "via", nat.address_on("voice")])
    with ground.system.store() as store:
        document = store.document()
    (one,) = document.all(Concentrator).values()
    moved = one.model_copy(update={"addresses": (PublicAddress(host=nat.address, port=5000),)})
    known = branch_lines(document.with_changes([moved]), "branch", 1)
    kept = [
        line
        for line in (ground.work / "edge.conf").read_text().splitlines(keepends=True)
        if not line.startswith("remote ")
    ]
    assert [line for line in known if line.startswith("remote ")] == [f"remote {nat.address} 5000 udp"]
    text = "".join([f"remote {nat.address} 5000 udp\n", *kept])
    started(far, ground.work / "far.conf", text)
    at_home = "203.0.113.77"  # of the branch's network
    far.run(["ip", "address", "add", f"{at_home}/32", "dev", "lo"])
    with far.socket() as sender, ground.centre.socket() as inbox:
        inbox.bind((ground.centre.address, 15300))
        inbox.settimeout(5)
        sender.bind((at_home, 0))
        sender.sendto(b"through", (ground.centre.address, 15300))
        found, where = inbox.recvfrom(100)
        assert (found, where[0]) == (b"through", at_home)  # within the tunnel nothing is translated
        inbox.sendto(b"and back", where)
        sender.settimeout(5)
        assert sender.recvfrom(100)[0] == b"and back"
