"""The judge of bans at work: real tools for attacks against the real engine, from outside and from inside, while people telephone."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.commands.bans import judge
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
from tests.hil.agents.process import AgentError, eventually
from tests.hil.agents.scanner import Arrivals, knock
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.tap import Tap
from tests.hil.command import As, Command
from tests.hil.judge import JudgeAtWork
from tests.hil.office import rows, undisturbed
from tests.hil.system import System

TUNNEL = ("udp", 1194)


@dataclass
class Ground:
    """The office behind its firewall, phones and other hosts in its network, and somebody outside."""

    net: Network
    system: System
    pbx: Host
    outside: Host
    work: Path
    judge: JudgeAtWork


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
            made = Ground(net, system, pbx, outside, work, JudgeAtWork(system, work))
            made.judge.start()
            try:
                yield made
            finally:
                made.judge.stop()


@pytest.fixture(autouse=True)
def nobody_banned(ground: Ground) -> None:
    ground.judge.lift("0.0.0.0/0")


@contextlib.contextmanager
def conversation(ground: Ground) -> Iterator[None]:
    """Two people who telephone meanwhile, and lose nothing by it."""
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(
                SoftPhone(
                    host := ground.net.host(f"caller-{secrets.token_hex(2)}"), ground.work / host.name, device,
                    ground.system.passwords[device], ground.pbx.address, tone_hz=tone,
                )
            ).register()
            for device, tone in (("201-1", 440), ("203-1", 660))
        )  # fmt: skip
        with undisturbed(one, other, ground.pbx, ground.work):
            yield


def test_scanners_outside_hear_nothing_and_are_banned_and_the_tunnels_port_stays(ground: Ground) -> None:
    target, judge = ground.pbx.address_on("provider"), ground.judge
    strangers = [ground.outside, *(ground.net.host(f"outside{number}", "provider") for number in (2, 3))]
    addresses = [each.address for each in strangers]
    arrivals = Arrivals(ground.pbx)
    with Tap(ground.pbx, ground.work / "outside.pcap", leg="eth1") as wire:
        tools = [
            judge.tool(strangers[0], "svmap", "-p", "5060-5070", target),
            judge.tool(strangers[1], "svwar", "-e", "200-210", "--force", target),
            judge.tool(strangers[2], "svcrack", "-u", "201", "-r", "1-100", target),
        ]
        for address in addresses:
            ban = judge.soon(address, wire)
            assert (ban.reason, ban.quarantine, ban.brief) == ("attack_tool", False, True)
            assert "friendly-scanner" in ban.evidence[0].detail
        before = judge.counted("banned")
        for stranger in strangers:
            knock(stranger, stranger.address, target, range(5060, 5061))
        eventually(lambda: judge.counted("banned") >= before + 6, "what they send is dropped")
        eventually(lambda: not tools[0].running, "the scanner is through", 20)
        for each in tools:
            each.stop()
            assert "5060" not in each.text(), each.text()
            assert "201 " not in each.text(), each.text()
        assert wire.clear_text(b"SIP/2.0 ") == 0, "somebody answered"
    arrivals.forget()
    knock(ground.outside, addresses[0], target, range(1190, 1200))
    eventually(lambda: TUNNEL in arrivals.of(addresses[0]), "the tunnel's port is open to the banned")
    assert arrivals.of(addresses[0]) == {TUNNEL}


def test_who_knocks_at_doors_that_are_none_is_banned(ground: Ground) -> None:
    """By what the firewall drops, without a word of SIP."""
    prober = ground.net.host("prober", "provider")
    knock(prober, prober.address, ground.pbx.address_on("provider"), range(20, 40))
    ban = ground.judge.ban(prober.address)
    assert (ban.reason, ban.quarantine, ban.brief) == ("probing", False, True)
    assert ban.evidence[-1].account.partition("/")[0] in ("tcp", "udp")


def test_a_scan_that_names_no_tool_is_known_by_what_it_tries(ground: Ground) -> None:
    """One password at one extension after the other; then many at one. Help can be called all the same (with voice:
    test_branches.py)."""
    names, guesses = ground.net.host("names"), ground.net.host("guesses")
    accounts = [f"{number}-1" for number in (201, 202, 203, 204, 205, 206, 301)] + [str(n) for n in range(400, 430)]
    with SipPeer(names, ground.pbx.address) as peer, conversation(ground):
        with Tap(names, ground.work / "names.pcap") as wire, contextlib.suppress(AgentError):
            for account in accounts:  # the same password at each, those that exist first
                tried = peer.ask(peer.request("REGISTER", account), account, "1234", deadline_s=1)
                assert tried.code == 401
        ban = ground.judge.soon(names.address, wire)
        assert (ban.reason, ban.quarantine, ban.brief) == ("many_accounts", True, True)
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
        ban = ground.judge.ban(guesses.address)
        assert (ban.reason, ban.quarantine, ban.brief) == ("guessing", True, False)
        assert ban.evidence[-1].account == "202-1"
    office = [each.network for each in ground.judge.told().bans if each.network.startswith("192.0.2.")]
    assert sorted(office) == sorted(f"{each.address}/32" for each in (names, guesses))


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
            for number in range(40):  # more than enough for a ban, but its phone has just authenticated well
                peer.ask(peer.request("REGISTER", "205-1"), "205-1", f"typo{number}")
        with SipPeer(ground.net.host("sentinel"), ground.pbx.address) as other, contextlib.suppress(AgentError):
            for number in range(400, 430):  # this one is banned, so the judge has heard of the others from the engine…
                other.ask(other.request("REGISTER", str(number)), deadline_s=0.5)
        sentinel = ground.judge.ban(ground.net.hosts["sentinel"].address).network
        for number in range(12):  # …and this one, so it has heard of the others from the portal
            report("portal", "198.51.100.99", "failed", f"user{number}", "wrong password")
        ban = ground.judge.ban("198.51.100.99")
        assert (ban.reason, ban.brief, ban.evidence[-1].service) == ("many_accounts", False, "portal")
        assert {each.network for each in ground.judge.told().bans} == {sentinel, "198.51.100.99/32"}
        for number in range(12):
            report("portal", "198.51.100.200", "failed", f"user{number}", "wrong password")
        eventually(lambda: ground.judge.told().spared, "a management network is spared, and told of")
        assert {each.network for each in ground.judge.told().bans} == {sentinel, "198.51.100.99/32"}
    finally:
        report.close()


def test_bans_survive_the_judge_and_are_lifted_by_hand(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    address = ground.outside.address_on("provider")
    report = Reporter(ground.system.paths.attempts_socket)
    for number in range(12):
        report("api", address, "failed", f"key{number}")
    first = ground.judge.ban(address)
    ground.judge.stop()
    assert _in_kernel(ground, address)
    for number in range(12):  # nobody hears it, and nobody waits for it
        report("api", "198.51.100.98", "failed", f"key{number}")
    ground.judge.start()
    again = ground.judge.ban(address)
    assert (again.since, again.reason, again.evidence) == (first.since, first.reason, first.evidence)
    assert again.left <= first.left
    for number in range(12):
        report("api", "198.51.100.97", "failed", f"key{number}")
    ground.judge.ban("198.51.100.97")
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
    ground.judge.ban(address)
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
    ground.judge.lift(address)
    bans.put(asking.shared(ground.system.paths), slice, int(1000 * time.time()))
    knock(stranger, address, target, range(5060, 5061))
    eventually(lambda: door in arrivals.of(address), "who was let in again gets in")


def _in_kernel(ground: Ground, address: str) -> bool:
    listed = ground.pbx.run(["nft", "list", "set", "inet", "centralino-bans", "banned4"]).stdout
    return f"{address} " in listed
