"""Interfaces of an edge's lines, set up in a real kernel, with real DHCP: what is there, what goes by which line, and what is put right."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import SECOND, Moment, system_clock
from appliance.core.errors import CentralinoError
from appliance.edge.links.keeping import Links
from appliance.edge.links.leases import Leases
from appliance.edge.lookups import Lookups
from appliance.edge.paths import EdgePaths
from appliance.engine.processes import end, noted
from appliance.vpn.slices.model import Link
from tests.hil.agents.network import Host, Network, in_namespace, require_root
from tests.hil.agents.process import Child, eventually

FIRST, SECOND_LINE = "isp-one", "isp-two"
ONE_NET, TWO_NET = "198.18.1.", "198.18.0."


@dataclass
class Machine:
    """Uptime that a test can set forward."""

    skew: int = 0

    def __call__(self) -> Moment:
        now = system_clock()
        return Moment(now.wall, now.uptime + self.skew, now.boot)


@dataclass
class Ground:
    """An edge with two cables, each to a provider's router."""

    edge: Host
    routers: dict[str, Host]
    work: Path
    machine: Machine = field(default_factory=Machine)
    servers: dict[str, Child] = field(default_factory=dict)
    links: Links = field(init=False)
    former: list[Links] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths = EdgePaths(self.work / "edge")
        self.another()

    def another(self) -> None:
        """The agent's successor."""
        if hasattr(self, "links"):
            self.links.close()
            self.former.append(self.links)
        self.links = Links(self.paths, self.machine)

    def tend(self, *wanted: Link) -> str:
        """One round; what it complains of."""

        def inside() -> str:
            try:
                self.links.tend(wanted)
            except CentralinoError as error:
                return error.message
            return ""

        return in_namespace(self.edge.namespace, inside)

    def until(self, fits: Callable[[], object], what: str, *wanted: Link, deadline_s: float = 15) -> None:
        """Rounds, until it is so."""

        def turn() -> object:
            self.tend(*wanted)
            return fits()

        eventually(turn, what, deadline_s)

    def ip(self, *words: str) -> str:
        return self.edge.run(["ip", *words]).stdout

    def ours(self) -> list[str]:
        """All that has our number, and where our addresses are."""
        rules = [
            line for version in ("-4", "-6") for line in self.ip(version, "rule").splitlines() if "proto 199" in line
        ]
        routes = [
            line
            for version in ("-4", "-6")
            for line in self.ip(version, "route", "show", "table", "all", "proto", "199").splitlines()
        ]
        addresses = [
            line.split()[3]
            for line in self.ip("-o", "address").splitlines()
            if "proto 0xc7" in line or "proto 199" in line
        ]
        return sorted(rules) + sorted(routes) + sorted(addresses)

    def line(self, number: int) -> dict[str, Any]:
        return next(each for each in self.links.told() if each["line"] == number)

    def serves(self, lan: str, first: int, last: int, lease: str = "2m", **more: str) -> None:
        """The router of that provider gives addresses."""
        host = self.routers[lan]
        net = {FIRST: ONE_NET, SECOND_LINE: TWO_NET}[lan]
        if lan in self.servers:
            self.servers.pop(lan).stop()
        options = [f"--{name.replace('_', '-')}{value and f'={value}'}" for name, value in more.items()]
        self.servers[lan] = host.start(
            [
                "dnsmasq", "--keep-in-foreground", "--port=0", "--user=root", "--conf-file=/dev/null", "--interface=eth0",
                f"--dhcp-range={net}{first},{net}{last},255.255.255.0,{lease}", "--dhcp-authoritative", "--log-dhcp",
                f"--dhcp-leasefile={self.work}/{lan}-{first}.leases", "--log-facility=-", *options,
            ], self.work / f"{lan}.log",
        )  # fmt: skip

    def address(self, device: str) -> list[str]:
        return [line.split()[3] for line in self.ip("-4", "-o", "address", "show", "dev", device).splitlines()]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    require_root()
    with Network() as net:
        edge = net.host("edge", FIRST).join(SECOND_LINE).join("torino")
        for device in ("eth0", "eth1"):
            edge.run(["ip", "address", "flush", "dev", device])
            edge.run(["ip", "link", "set", device, "down"])
        routers = {lan: net.host(lan, lan, 1) for lan in (FIRST, SECOND_LINE)}
        made = Ground(edge, routers, tmp_path)
        try:
            yield made
        finally:
            made.links.close()
            for each in made.servers.values():
                each.stop()
            leases = Leases(made.paths.run / "leases", made.paths.log)
            in_namespace(edge.namespace, lambda: leases.tend(frozenset(), frozenset()))
            for links in (*made.former, made.links):
                for child in links._leases._children.values():
                    child.wait(5)


def static(number: int, device: str, *addresses: str, gateways: tuple[str, ...]) -> Link:
    return Link.model_validate(
        {"number": number, "device": device, "access": {"type": "static", "addresses": addresses, "gateways": gateways}}
    )


def dhcp(number: int, device: str) -> Link:
    return Link.model_validate({"number": number, "device": device, "access": {"type": "dhcp"}})


ONE = static(1, "eth0", "198.18.1.7/24", "2001:db8:5::7/64", gateways=("198.18.1.1", "2001:db8:5::1"))
TWO = static(2, "eth1", "198.18.0.7/24", gateways=("198.18.0.1",))


def way(ground: Ground, to: str, *more: str) -> str:
    """By which interface it would go, or that it wouldn't."""
    done = ground.edge.run(["ip", "route", "get", to, *more], check=False)
    words = done.stdout.split()
    return words[words.index("dev") + 1] if "dev" in words and done.returncode == 0 else "nowhere"


def test_each_line_has_a_table_and_what_is_sent_by_it_never_leaves_by_another(ground: Ground) -> None:
    assert ground.tend(ONE, TWO) == ""
    assert (ground.address("eth0"), ground.address("eth1")) == (["198.18.1.7/24"], ["198.18.0.7/24"])
    far, far6 = "203.0.113.9", "2001:db8:99::1"
    assert way(ground, far) == "eth0", "the first line is preferred by what names none"
    for number, device, source in ((1, "eth0", "198.18.1.7"), (2, "eth1", "198.18.0.7")):
        assert way(ground, far, "mark", hex(number << 24)) == device
        assert way(ground, far, "oif", device) == device
        assert way(ground, far, "from", source) == device
    assert way(ground, far6, "mark", hex(1 << 24)) == way(ground, far6) == "eth0"
    assert way(ground, far6, "mark", hex(2 << 24)) == "nowhere", "the second line has no IPv6"
    assert way(ground, "10.31.0.9", "mark", hex(2 << 24)) == "eth2", "the site's own network is known more closely"
    before = ground.ours()
    assert len(before) > 15
    # Again, and by a successor: nothing is another.
    assert ground.tend(ONE, TWO) == ""
    ground.another()
    assert ground.tend(ONE, TWO) == ""
    assert ground.ours() == before
    assert [each["put_back"] for each in ground.links.told()] == [0, 0]
    # Other settings, then none.
    moved = static(2, "eth1", "198.18.0.8/24", gateways=("198.18.0.2",))
    assert ground.tend(ONE, moved) == ""
    assert ground.address("eth1") == ["198.18.0.8/24"]
    assert "via 198.18.0.2" in ground.ip("route", "show", "table", "5302")
    assert ground.tend() == ""
    assert ground.ours() == []
    assert ground.address("eth2") == ["10.31.0.11/24"], "what isn't ours stays"


@pytest.mark.parametrize(
    "harm",
    [
        "address del 198.18.1.7/24 dev eth0",
        "address flush dev eth0",
        "route del default table 5301",
        "route flush table 5302",
        "rule del priority 5311",
        "-6 rule del priority 5310",
        "route del default dev eth0 table main",
        "link set eth0 down",
        "route replace default via 198.18.1.99 dev eth0 table 5301 metric 1",
    ],
)
def test_what_somebody_takes_away_is_put_back_and_told(ground: Ground, harm: str) -> None:
    assert ground.tend(ONE, TWO) == ""
    before = ground.ours()
    ground.ip(*harm.split())
    assert ground.ours() != before
    ground.until(lambda: ground.ours() == before, "it is put back", ONE, TWO)
    assert sum(each["put_back"] for each in ground.links.told()) >= 1
    assert any(each["last"] for each in ground.links.told())


def test_what_others_have_made_is_left_alone(ground: Ground) -> None:
    ground.edge.run(["sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=1"])  # as systemd does
    assert ground.tend(ONE) == ""
    for made in (
        "rule add priority 100 from 10.99.0.0/24 table 77", "route add 10.99.0.0/24 dev eth2",
        "address add 198.18.1.200/24 dev eth0", "route add default via 198.18.1.1 dev eth0 metric 9000",
    ):  # fmt: skip
        ground.ip(*made.split())
    assert ground.tend(ONE) == ground.tend(ONE, TWO) == ground.tend() == ""
    assert "10.99.0.0/24 lookup 77" in ground.ip("rule")
    routes = ground.ip("route")
    assert "10.99.0.0/24 dev eth2" in routes
    assert "default via 198.18.1.1 dev eth0 metric 9000" in routes
    assert ground.address("eth0") == ["198.18.1.200/24"]


def test_an_interface_that_comes_and_goes(ground: Ground) -> None:
    gone = static(2, "usb0", "198.18.2.7/24", gateways=("198.18.2.1",))
    assert "there is no interface usb0" in ground.tend(ONE, gone)
    assert ground.address("eth0") == ["198.18.1.7/24"], "the other line works"
    assert not ground.line(2)["there"]
    ground.ip("link", "add", "usb0", "type", "veth", "peer", "name", "usb1")
    ground.ip("link", "set", "usb1", "up")
    ground.until(
        lambda: ground.line(2)["carrier"] and ground.address("usb0") == ["198.18.2.7/24"], "it is set up", ONE, gone
    )
    assert ground.tend(ONE, gone) == ""
    ground.ip("link", "del", "usb0")
    ground.until(lambda: not ground.line(2)["there"], "it is gone", ONE, gone)
    assert "there is no interface usb0" in ground.tend(ONE, gone)
    with ground.edge.unplugged(FIRST):
        ground.until(lambda: not ground.line(1)["carrier"], "the cable is out", ONE)
        assert "no cable at eth0" in ground.tend(ONE)
    ground.until(lambda: ground.tend(ONE) == "", "and in again", ONE)


def test_an_address_by_dhcp_outlives_the_agent_and_is_renewed_without_it(ground: Ground) -> None:
    ground.serves(FIRST, 100, 110, lease="2m", dhcp_option="option:dns-server,198.18.1.53")
    ground.until(lambda: ground.address("eth0"), "it has an address", dhcp(1, "eth0"), TWO)
    ground.until(lambda: way(ground, "203.0.113.9") == "eth0", "and a way", dhcp(1, "eth0"), TWO)
    told = ground.line(1)
    assert told["addresses"] == ground.address("eth0")
    assert (told["gateways"], told["server"], told["name_servers"]) == (["198.18.1.1"], "198.18.1.1", ["198.18.1.53"])
    before, pid = ground.ours(), noted(ground.paths.run / "leases/eth0.pid")
    ground.another()
    assert ground.tend(dhcp(1, "eth0"), TWO) == ""
    assert ground.ours() == before
    assert noted(ground.paths.run / "leases/eth0.pid") == pid is not None
    assert sum(each["put_back"] for each in ground.links.told()) == 0
    # udhcpc itself is killed: another one, and the address stays meanwhile.
    os.kill(pid, signal.SIGKILL)
    ground.until(
        lambda: noted(ground.paths.run / "leases/eth0.pid") not in (None, pid), "another one asks", dhcp(1, "eth0"), TWO
    )
    assert ground.ours() == before
    # The line is static now: nobody asks any more.
    assert ground.tend(ONE, TWO) == ""
    assert ground.address("eth0") == ["198.18.1.7/24"]
    assert not list((ground.paths.run / "leases").iterdir())


def test_a_lease_that_is_over_takes_its_address_with_it_and_another_one_comes(ground: Ground) -> None:
    ground.serves(FIRST, 100, 100)
    lines = dhcp(1, "eth0"), TWO
    ground.until(lambda: ground.address("eth0"), "it has an address", *lines)
    assert way(ground, "203.0.113.9") == "eth0"
    ground.servers.pop(FIRST).stop()
    ground.machine.skew += 130 * SECOND  # by udhcpc's own clock it is still good
    ground.until(lambda: not ground.address("eth0"), "its time is over", *lines)
    assert way(ground, "203.0.113.9") == "eth1", "what names no line goes by the other one"
    assert way(ground, "203.0.113.9", "mark", hex(1 << 24)) == "nowhere"
    ground.machine.skew += 20 * SECOND
    ground.until(lambda: "no DHCP server answers at eth0" in ground.line(1)["trouble"], "it is told", *lines)
    # Another router, in another part of the network; the cable was out meanwhile.
    ground.machine.skew = 0
    (ground.paths.run / "leases/eth0.lease").unlink()
    ground.serves(FIRST, 200, 200)
    with ground.edge.unplugged(FIRST):
        ground.until(lambda: not ground.line(1)["carrier"], "the cable is out", *lines)
    ground.until(lambda: ground.address("eth0") == ["198.18.1.200/24"], "another address", *lines, deadline_s=30)
    ground.until(lambda: ground.line(1)["trouble"] == "", "all is well", *lines)
    # Gone again, and the address is entered by hand: nobody misses a server then.
    ground.servers.pop(FIRST).stop()
    ground.machine.skew += 150 * SECOND
    ground.until(lambda: not ground.address("eth0"), "its time is over", *lines)
    ground.machine.skew += 20 * SECOND
    ground.until(lambda: ground.line(1)["trouble"], "it is told", *lines)
    assert ground.tend(ONE, TWO) == ""
    assert ground.line(1)["trouble"] == ""


def test_a_server_that_says_nonsense_gives_nothing_and_is_told(ground: Ground) -> None:
    ground.serves(FIRST, 100, 110, dhcp_option="option:router,198.18.77.1")
    ground.until(lambda: ground.address("eth0"), "it has an address", dhcp(1, "eth0"))
    assert ground.line(1)["gateways"] == [], "a router that is no neighbour is none"
    assert way(ground, "203.0.113.9") == "nowhere"
    for garbage in (
        b"\xff\xfe",
        b"at=1\nip=224.0.0.1\nmask=255.255.255.0\n",
        b"at=1\nip=198.18.1.5\nmask=garbage\n",
        b"at=x\nip=198.18.1.5",
    ):
        (ground.paths.run / "leases/eth0.lease").write_bytes(garbage)
        assert "the DHCP server at eth0 says what can't be" in ground.tend(dhcp(1, "eth0"))
        assert ground.address("eth0") == []


def test_a_router_that_advertises_itself_is_used_on_a_line_with_dhcp(ground: Ground) -> None:
    ground.edge.run(["sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2"])
    ground.serves(
        FIRST, 100, 110, dhcp_range="2001:db8:5::,ra-only", enable_ra="", ra_param="eth0,10",
    )  # fmt: skip
    ground.until(
        lambda: way(ground, "2001:db8:99::1", "mark", hex(1 << 24)) == "eth0",
        "by IPv6 too",
        dhcp(1, "eth0"),
        deadline_s=30,
    )
    assert any(each.startswith("fe80::") for each in ground.line(1)["gateways"])


def test_packets_really_go_by_the_line_that_they_are_sent_by(ground: Ground) -> None:
    """And answers come back to it, though the other line is preferred."""
    assert ground.tend(ONE, TWO) == ""
    for lan in (FIRST, SECOND_LINE):  # somewhere in the internet, at both
        ground.routers[lan].run(["ip", "address", "add", "203.0.113.9/32", "dev", "lo"])
    with contextlib.ExitStack() as stack:
        asked = {}
        for lan, host in ground.routers.items():
            asked[lan] = stack.enter_context(host.socket())
            asked[lan].bind(("203.0.113.9", 7))
            asked[lan].settimeout(3)
        for lan, device, source in ((FIRST, "eth0", "198.18.1.7"), (SECOND_LINE, "eth1", "198.18.0.7")):
            said = stack.enter_context(ground.edge.socket())
            said.setsockopt(socket.SOL_SOCKET, 25, device.encode() + b"\0")  # SO_BINDTODEVICE
            said.settimeout(3)
            said.sendto(b"ask", ("203.0.113.9", 7))
            heard, sender = asked[lan].recvfrom(16)
            assert (heard, sender[0]) == (b"ask", source)
            asked[lan].sendto(b"answer", sender)
            assert said.recv(16) == b"answer"


def test_names_are_asked_of_each_lines_own_servers_and_one_that_is_dead_takes_no_other_with_it(ground: Ground) -> None:
    two = TWO.model_copy(update={"access": TWO.access.model_copy(update={"name_servers": ("198.18.0.1",)})})
    ground.serves(FIRST, 100, 110, dhcp_option="option:dns-server,198.18.1.1")  # it answers no questions
    ground.until(lambda: ground.address("eth0"), "it has an address", dhcp(1, "eth0"), two)
    assert ground.links.name_servers() == [("198.18.1.1", "eth0"), ("198.18.0.1", "eth1")]
    words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--user=root",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--address=/vpn.example.com/203.0.113.7",
    ]
    with ground.routers[SECOND_LINE].start(words, ground.work / "names.log"):

        def asked() -> str | None:
            lookups = Lookups(ground.paths.names, ground.links.name_servers)
            lookups.address("vpn.example.com")
            for thread in lookups._asking.values():
                thread.join(10)
            return lookups.address("vpn.example.com")

        eventually(
            lambda: in_namespace(ground.edge.namespace, asked) == "203.0.113.7", "the second line's server says it", 20
        )


def test_a_udhcpc_that_is_not_ours_is_left_alone(ground: Ground) -> None:
    """A PID file that was left behind, of a number that somebody else has now."""
    other = ground.edge.start(["sleep", "60"], ground.work / "sleep.log")
    try:
        assert ground.tend(TWO) == ""
        folder = ground.paths.run / "leases"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "eth0.pid").write_text(f"{other.process.pid} 1\n")
        assert ground.tend(TWO) == ""
        assert other.running
        assert not list(folder.iterdir())
    finally:
        end(other.process.pid, 2)
        other.stop()
