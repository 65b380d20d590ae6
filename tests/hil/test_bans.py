"""The judge of bans at work: real tools for attacks against the real engine, from outside and from inside, while people telephone."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.commands.bans import judge
from appliance.core.errors import CentralinoError
from appliance.edge.bans import EdgeBans
from appliance.firewall.bans import asking
from appliance.firewall.bans.kernel import Kernel as BansKernel
from appliance.firewall.bans.reporting import Reporter
from appliance.firewall.kernel import Kernel
from appliance.firewall.promise import Machine, promise
from appliance.firewall.rules import script
from appliance.vpn.slices import Slice
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.agents.peer import SipPeer
from tests.hil.agents.process import AgentError, Child, eventually
from tests.hil.agents.scanner import Arrivals, knock
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.tap import Tap
from tests.hil.command import As, Command
from tests.hil.office import rows
from tests.hil.system import System

SOON_S = 3.0
"""Between the first packet and the ban, at most."""
TUNNEL = ("udp", 1194)


@dataclass
class Ground:
    """The office behind its firewall, phones and other hosts in its network, and somebody outside."""

    net: Network
    system: System
    pbx: Host
    outside: Host
    work: Path
    judge: Child

    def told(self, search: str = "") -> asking.Told:
        return asking.told(self.system.paths, search)

    def ban(self, address: str) -> asking.Standing:
        """The ban of an address, which must come."""
        found = eventually(lambda: self.told(f"{address}/32").bans, f"{address} is banned", 8)
        assert len(found) == 1
        return found[0]

    def counted(self, name: str) -> int:
        return next((each.packets for each in self.told().counters if each.name == name), 0)

    def tool(self, host: Host, *argv: str) -> Child:
        """One of SIPVicious's tools, which keeps its sessions in its home."""
        home = self.work / f"{host.name}-{argv[0]}-{secrets.token_hex(3)}"
        home.mkdir()
        return host.start(list(argv), home / "out.log", env={**os.environ, "HOME": str(home)}, cwd=home)

    def start_judge(self) -> Child:
        self.judge = self.system._start_python("appliance.firewall.bans")
        eventually(self._judges, "the judge judges")
        return self.judge

    def _judges(self) -> bool:
        assert self.judge.running, self.judge.text()
        with contextlib.suppress(CentralinoError):
            asking.lift(self.system.paths, "198.51.100.250")
            return not self.told().troubles
        return False


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    require_root()
    work = tmp_path_factory.mktemp("bans")
    with Network() as net:
        pbx = net.host("pbx", number=10).join("provider", 10)
        outside = net.host("outside", "provider")
        more: list[tuple[str, dict[str, Any]]] = [
            ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": ["192.0.2.0/24", "2001:db8:1::/64"]}),
            ("listener", {"id": "tcp", "name": "Phones", "transport": "tcp", "address": pbx.address}),
            ("network", {"id": "pc", "name": "PC", "zone": "management", "networks": ["198.51.100.200/32"]}),
            ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["203.0.113.0/24"],
                      "class_of_service": "standard", "emergency_number": "+390200000200"}),
            ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": "198.51.100.10"}]}),
            ("branch", {"id": "torino", "site": "torino", "number": 1}),
        ]  # fmt: skip
        with System(pbx, work, rows(pbx.address, more)) as system:
            with system.store() as store:
                Kernel(pbx.namespace).load(script(promise(store.document(), Machine(cores=os.cpu_count() or 1))))
            made = Ground(net, system, pbx, outside, work, None)  # type: ignore[arg-type]
            made.start_judge()
            try:
                yield made
            finally:
                made.judge.stop()


@pytest.fixture(autouse=True)
def nobody_banned(ground: Ground) -> None:
    asking.lift(ground.system.paths, "0.0.0.0/0")


@contextlib.contextmanager
def conversation(ground: Ground) -> Iterator[None]:
    """Two people who telephone meanwhile, and lose nothing by it: what each sends, the other hears."""
    hosts = [ground.net.host(f"caller-{secrets.token_hex(2)}") for _ in range(2)]
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(
                SoftPhone(
                    host, ground.work / f"{host.name}", device, ground.system.passwords[device], ground.pbx.address,
                    tone_hz=tone,
                )
            ).register()
            for host, device, tone in zip(hosts, ("201-1", "203-1"), (440, 660), strict=True)
        )  # fmt: skip
        tap = stack.enter_context(
            Tap(ground.pbx, ground.work / f"{hosts[0].name}.pcap", bpf="udp portrange 10000-65535")
        )
        call = one.call("203").ringing()
        other.incoming().answer()
        call.established()
        began = time.monotonic()
        yield
        assert call.up
        lasted = time.monotonic() - began
        call.hangup()
        tap.stop()
        assert tap.dropped() == 0
        for host, peer in (hosts, hosts[::-1]):
            [sent] = [each for each in tap.streams(source=host.address) if each.count > 20]
            [heard] = [each for each in tap.streams(to=peer.address) if each.count > 20]
            assert (sent.lost, heard.lost) == (0, 0)
            assert sent.count > 45 * lasted
            assert abs(sent.count - heard.count) < 10  # under way, and before the other had answered


def test_a_scanner_outside_hears_nothing_and_is_banned_and_the_tunnels_port_stays(ground: Ground) -> None:
    target, address = ground.pbx.address_on("provider"), ground.outside.address_on("provider")
    arrivals = Arrivals(ground.pbx)
    scan = ground.tool(ground.outside, "svmap", "-p", "5060-5070", target)
    ban = ground.ban(address)
    assert (ban.reason, ban.quarantine, ban.brief) == ("attack_tool", False, True)
    assert "friendly-scanner" in ban.evidence[0].detail
    assert ban.since - ban.evidence[0].wall < 1000 * SOON_S
    before = ground.counted("banned")
    tools = [
        ground.tool(ground.outside, "svwar", "-e", "200-210", "--force", target),
        ground.tool(ground.outside, "svcrack", "-u", "201", "-r", "1-100", target),
    ]
    eventually(lambda: ground.counted("banned") > before, "what they send is dropped")
    eventually(lambda: not scan.running, "the scanner is through", 20)
    assert "5060" not in scan.text(), scan.text()
    for each in tools:
        each.stop()
        assert "201 " not in each.text(), each.text()
    arrivals.forget()
    knock(ground.outside, address, target, range(1190, 1200))
    eventually(lambda: TUNNEL in arrivals.of(address), "the tunnel's port is open to the banned")
    assert arrivals.of(address) == {TUNNEL}


def test_tools_inside_learn_nothing_and_their_hosts_are_quarantined_while_people_telephone(ground: Ground) -> None:
    worms = [ground.net.host(f"worm{number}") for number in range(3)]
    target, right = ground.pbx.address, ground.system.passwords["202-1"]
    passwords = ground.work / "passwords"
    passwords.write_text("".join(f"wrong{number}\n" for number in range(160)) + f"{right}\n")
    with conversation(ground):
        tools = [
            ground.tool(worms[0], "svmap", target),
            ground.tool(worms[1], "svwar", "--force", "-e", "200-299", target),
            ground.tool(worms[2], "svcrack", "-u", "202-1", "-d", str(passwords), target),
        ]
        for worm in worms:
            ban = ground.ban(worm.address)
            assert (ban.reason, ban.quarantine) == ("attack_tool", True)
            assert ban.since - ban.evidence[0].wall < 1000 * SOON_S
        before = ground.counted("quarantined")
        eventually(lambda: ground.counted("quarantined") > before, "what they send on is dropped")
        for tool in tools:
            tool.signal(signal.SIGINT)  # they tell what they have found
            tool.wait(10)
            assert right not in tool.text(), tool.text()
            assert not any(f"| {number} " in tool.text() for number in range(201, 207)), tool.text()
        assert {each.network for each in ground.told().bans} == {f"{worm.address}/32" for worm in worms}


def test_a_scan_that_names_no_tool_is_known_by_what_it_tries(ground: Ground) -> None:
    """Unknown extensions one after the other; then passwords at one that there is. Help can be called all the same."""
    names, guesses = ground.net.host("names"), ground.net.host("guesses")
    with SipPeer(names, ground.pbx.address) as peer, conversation(ground):
        with contextlib.suppress(AgentError):
            for number in range(400, 430):
                assert peer.ask(peer.request("REGISTER", str(number)), deadline_s=0.5).code == 401
        ban = ground.ban(names.address)
        assert (ban.reason, ban.quarantine, ban.brief) == ("many_accounts", True, True)
        assert ban.since - ban.evidence[0].wall < 1000 * SOON_S
        with pytest.raises(AgentError):
            peer.ask(peer.request("INVITE", "201-1", "203"), deadline_s=0.3)
        for number in (
            "112",
            "0112",
            "+39112",
        ):  # the call for help itself comes through; this office has no line for it
            call = peer.request("INVITE", "204-1", number)
            assert peer.ask(call, "204-1", ground.system.passwords["204-1"], deadline_s=5).code == 503
        with contextlib.suppress(AgentError, OSError), SipPeer(guesses, ground.pbx.address, transport="tcp") as other:
            for number in range(60):
                other.ask(other.request("REGISTER", "202-1"), "202-1", f"guess{number}", deadline_s=0.5)
        ban = ground.ban(guesses.address)
        assert (ban.reason, ban.quarantine, ban.brief) == ("guessing", True, False)
        assert ban.evidence[-1].account == "202-1"
    assert len(ground.told().bans) == 2


def test_five_mistyped_passwords_ban_nobody(ground: Ground) -> None:
    phone = ground.net.host("typos")
    report = Reporter(ground.system.paths.attempts_socket)
    try:
        with SipPeer(phone, ground.pbx.address) as peer:
            for number in range(5):
                wrong = peer.ask(peer.request("REGISTER", "204-1"), "204-1", f"typo{number}")
                assert wrong.code == 401
                report("portal", "203.0.113.9", "failed", "ada", "wrong password")
            right = peer.ask(peer.request("REGISTER", "204-1"), "204-1", ground.system.passwords["204-1"])
            assert right.code == 200
        for number in range(12):  # this one is banned, so the judge has seen the others
            report("portal", "198.51.100.99", "failed", f"user{number}", "wrong password")
        ban = ground.ban("198.51.100.99")
        assert (ban.reason, ban.brief, ban.evidence[-1].service) == ("many_accounts", False, "portal")
        assert [each.network for each in ground.told().bans] == ["198.51.100.99/32"]
        for number in range(12):
            report("portal", "198.51.100.200", "failed", f"user{number}", "wrong password")
        eventually(lambda: ground.told().spared, "a management network is spared, and told of")
        assert [each.network for each in ground.told().bans] == ["198.51.100.99/32"]
    finally:
        report.close()


def test_bans_survive_the_judge_and_are_lifted_by_hand(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    address = ground.outside.address_on("provider")
    report = Reporter(ground.system.paths.attempts_socket)
    for number in range(12):
        report("api", address, "failed", f"key{number}")
    first = ground.ban(address)
    ground.judge.stop()
    assert _in_kernel(ground, address)
    for number in range(12):  # nobody hears it, and nobody waits for it
        report("api", "198.51.100.98", "failed", f"key{number}")
    ground.start_judge()
    again = ground.ban(address)
    assert (again.since, again.reason, again.evidence) == (first.since, first.reason, first.evidence)
    assert again.left <= first.left
    for number in range(12):
        report("api", "198.51.100.97", "failed", f"key{number}")
    ground.ban("198.51.100.97")
    report.close()
    assert [each.grade for each in judge(ground.system.paths)] == []  # the firewall isn't ours
    monkeypatch.setenv("CENTRALINO_FIREWALL", "on")
    assert [each.grade for each in judge(ground.system.paths) if each.message == "2 bans stand"] == ["ok"]
    with Command(ground.pbx, ground.system.environment, ground.work) as server:
        command = As(server)
        listed = command("bans", "list")
        assert address in listed
        assert "tried many accounts" in listed
        assert address in command("bans", "lift", address)
        assert address not in command("bans", "list")
        assert "ban lifted" in command("access", "audit")
        assert "bans/network" in command.refused("bans", "lift", "everybody")
    assert not _in_kernel(ground, address)


def test_an_edge_keeps_out_whom_the_centre_keeps_out(ground: Ground) -> None:
    """By what the real judge shares; how it comes to an edge is in tests/unit/vpn/test_inside.py."""
    stranger, other = ground.outside, ground.net.host("other", "provider")
    edge = ground.net.host("edge", "provider")
    address, target = stranger.address_on("provider"), edge.address_on("provider")
    report = Reporter(ground.system.paths.attempts_socket)
    for number in range(12):
        report("api", address, "failed", f"key{number}")
    report.close()
    ground.ban(address)
    slice = Slice.model_validate({
        "revision": 1, "site": "torino", "remotes": [{"host": ground.pbx.address_on("provider"), "port": 1194}], "openvpn": [],
        "networks": ["203.0.113.0/24"], "inside": ["172.29.0.1"], "inside_port": 8194,
    })  # fmt: skip
    bans, door = EdgeBans(BansKernel(network_namespace=edge.namespace)), ("udp", 5060)
    arrivals = Arrivals(edge)
    bans.put(asking.shared(ground.system.paths), slice, int(1000 * time.time()))
    assert bans.count == 1
    for host in (stranger, other):
        knock(host, host.address_on("provider"), target, range(5060, 5061))
    eventually(lambda: door in arrivals.of(other.address_on("provider")), "others get in")
    assert not arrivals.of(address)
    asking.lift(ground.system.paths, address)
    bans.put(asking.shared(ground.system.paths), slice, int(1000 * time.time()))
    knock(stranger, address, target, range(5060, 5061))
    eventually(lambda: door in arrivals.of(address), "who was let in again gets in")


def _in_kernel(ground: Ground, address: str) -> bool:
    listed = ground.pbx.run(["nft", "list", "set", "inet", "centralino-bans", "banned4"]).stdout
    return f"{address} " in listed
