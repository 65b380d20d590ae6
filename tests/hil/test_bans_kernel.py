"""Bans in a real kernel: what is banned doesn't arrive, and does again when its time is over."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from appliance.clock import Moment, system_clock
from appliance.core.errors import ApplyError, UnavailableError
from appliance.firewall.bans.gate import Gate
from appliance.firewall.bans.judge import Judge, Wanted
from appliance.firewall.bans.keeper import Keeper
from appliance.firewall.bans.kernel import Kernel
from appliance.firewall.bans.model import Action, Ban, Decision, Reason
from appliance.firewall.bans.policy import Policy
from appliance.firewall.bans.sets import CALL_PACKETS, SETS, Doors
from appliance.store.bans import open_bans
from tests.hil.agents.network import Host
from tests.hil.agents.network import Network as Hosts
from tests.hil.agents.process import eventually
from tests.unit.firewall.attempts import networks, policy, scan

DOORS = Doors(
    tunnels=(1194, 1195),
    sip=(("tcp", (5061, 5061)), ("udp", (5060, 5060))),
    media=((10000, 10099),),
    emergency=("112", "0+39112"),
)
MINUTE = 60_000


@pytest.fixture(scope="module")
def net() -> Iterator[Hosts]:
    with Hosts() as hosts:
        hosts.host("appliance")
        for name in ("one", "two", "three"):
            hosts.host(name)
        yield hosts


@pytest.fixture
def kernel(net: Hosts) -> Kernel:
    found = Kernel(DOORS, net.hosts["appliance"].namespace)
    found.unload()
    found.sync(wanted())
    return found


def nft(net: Hosts, script: str) -> None:
    file = net.work / "script.nft"
    file.write_text(script)
    net.hosts["appliance"].run(["nft", "-f", str(file)])


def arrived(net: Hosts, sent: list[tuple[str, str]], port: int, v6: bool) -> list[str]:
    """What the appliance hears of what hosts send it by UDP: name of the host, text."""
    appliance = net.hosts["appliance"]
    family, address = (socket.AF_INET6, appliance.address6) if v6 else (socket.AF_INET, appliance.address)
    with appliance.socket(family) as inbox:
        inbox.bind((address, port))
        inbox.settimeout(0.1)
        for name, says in sent:
            with net.hosts[name].socket(family) as outbox:
                outbox.sendto(says.encode(), (address, port))
        found = []
        try:
            while True:
                found.append(inbox.recv(100).decode())
        except TimeoutError:
            return found


def heard(net: Hosts, *names: str, port: int = 5060, v6: bool = False) -> list[str]:
    """Which of these hosts the appliance hears, when each says its name."""
    return arrived(net, [(name, name) for name in names], port, v6)


def ban(network: str, lasts: int = 10 * MINUTE, *, quarantine: bool = False) -> Ban:
    [found] = networks(network)
    return Ban(found, 0, lasts, 0, Reason.GUESSING, "guesses", quarantine=quarantine)


def decisions(*bans: Ban, action: Action = Action.BAN) -> list[Decision]:
    return [Decision(action, one) for one in bans]


def wanted(*bans: Ban) -> Wanted:
    return Wanted(0, bans)


def address(host: Host, length: int) -> str:
    return str(ipaddress.ip_network((host.address if length <= 32 else host.address6, length), strict=False))


def test_what_is_banned_does_not_arrive(net: Hosts, kernel: Kernel) -> None:
    one, two = net.hosts["one"], net.hosts["two"]
    assert heard(net, "one", "two") == ["one", "two"]
    kernel.apply(decisions(ban(f"{one.address}/32")), 0)
    assert heard(net, "one", "two") == ["two"]
    kernel.apply(decisions(ban(address(two, 24))), 0)  # around the other
    assert heard(net, "one", "two", "three") == []
    kernel.apply(decisions(ban(address(two, 24)), action=Action.LIFT), 0)
    assert heard(net, "one", "two") == ["two"]
    assert heard(net, "one", "two", v6=True) == ["one", "two"]
    kernel.apply(decisions(ban(f"{one.address}/32"), action=Action.LIFT), 0)
    kernel.apply(decisions(ban(address(one, 64))), 0)
    assert heard(net, "one", "two", v6=True) == []
    assert heard(net, "one", "two") == ["one", "two"]
    kernel.sync(wanted(ban(address(one, 56))))
    assert heard(net, "one", "two", v6=True) == []


def test_no_ban_closes_the_port_of_a_tunnel(net: Hosts, kernel: Kernel) -> None:
    kernel.sync(wanted(ban(f"{net.hosts['one'].address}/32"), ban(address(net.hosts["one"], 64))))
    for v6 in (False, True):
        for port in (1194, 1195):
            assert heard(net, "one", "two", port=port, v6=v6) == ["one", "two"]
        assert heard(net, "one", port=1196, v6=v6) == []
    assert kernel.counters() == {"banned": 2, "quarantined": 0}


def test_a_quarantined_host_can_call_for_help_and_nothing_else(net: Hosts, kernel: Kernel) -> None:
    one = net.hosts["one"]
    hosts = [ban(f"{one.address}/32", quarantine=True), ban(f"{one.address6}/128", quarantine=True)]
    kernel.apply(decisions(*hosts, action=Action.QUARANTINE), 0)
    ours = [
        "INVITE sip:112@pbx SIP/2.0",
        "INVITE sip:0+39112@pbx SIP/2.0",
        "ACK sip:112@pbx",
        "BYE sip:x",
        "CANCEL sip:112@x",
        "SIP/2.0 200 OK",
    ]
    nobodys = [
        "REGISTER sip:pbx SIP/2.0",
        "INVITE sip:201@pbx SIP/2.0",
        "INVITE sip:1120@pbx",
        "INVITE sip:0112@pbx",
        "OPTIONS sip:112@pbx",
        "INVITE",
        "",
    ]
    for v6 in (False, True):
        assert arrived(net, [("one", says) for says in (*ours, *nobodys)], 5060, v6) == ours
        assert heard(net, "one", "two", port=10000, v6=v6) == ["one", "two"]
        for port in (443, 161):
            assert arrived(net, [("one", ours[0]), ("two", "else")], port, v6) == ["else"]


@pytest.mark.parametrize("v6", [False, True])
def test_nobody_guesses_passwords_by_calling_for_help(net: Hosts, kernel: Kernel, v6: bool) -> None:
    """A call for help asks for a password: there are as many as one call takes. Another host's come through."""
    one, (rate, burst) = net.hosts["one"], CALL_PACKETS
    kernel.apply(decisions(ban(f"{one.address6}/128" if v6 else f"{one.address}/32", quarantine=True)), 0)
    began = time.monotonic()
    sent = [("one", f"INVITE sip:112@pbx {number}") for number in range(3 * burst)]
    heard = arrived(net, [*sent, ("two", "another")], 5060, v6)
    assert burst <= len(heard) - 1 <= burst + rate * (time.monotonic() - began) + 1
    assert heard[-1] == "another"


def test_a_quarantined_host_has_tcp_for_one_call_but_not_for_a_scan(net: Hosts, kernel: Kernel) -> None:
    one, appliance = net.hosts["one"], net.hosts["appliance"]
    kernel.apply(decisions(ban(f"{one.address}/32", quarantine=True), action=Action.QUARANTINE), 0)

    def connects(port: int) -> bool:
        try:
            with one.connect(appliance.address, port, 0.2):
                return True
        except TimeoutError:
            return False

    with appliance.socket(kind=socket.SOCK_STREAM) as sip, appliance.socket(kind=socket.SOCK_STREAM) as portal:
        for listener, port in ((sip, 5061), (portal, 8443)):
            listener.bind((appliance.address, port))
            listener.listen(100)
        assert not connects(8443)
        assert connects(5061)
        assert next(n for n in range(60) if not connects(5061)) > 8


def test_a_ban_runs_out_in_the_kernel(net: Hosts, kernel: Kernel) -> None:
    one = ban(f"{net.hosts['one'].address}/32", 500)
    began = time.monotonic()
    kernel.apply(decisions(one), 0)
    assert heard(net, "one", "two") == ["two"]
    eventually(lambda: heard(net, "one"), "it is heard again")
    assert 0.45 <= time.monotonic() - began < 10
    kernel.apply(decisions(one, action=Action.LIFT), 0)  # it is gone: no harm


def test_a_ban_can_be_made_longer_and_shorter(net: Hosts, kernel: Kernel) -> None:
    one = ban("198.51.100.1/32")
    [network] = networks("198.51.100.1")
    for lasts in (10, 100, 1, 7 * 24 * 60):
        kernel.apply(decisions(replace(one, until=lasts * MINUTE)), 0)
        assert lasts * 60 - 10 <= kernel.read()["banned4"][network] <= lasts * 60
    kernel.apply(decisions(one, replace(one, until=MINUTE), one, one, action=Action.BAN), 0)
    assert 590 <= kernel.read()["banned4"][network] <= 600
    kernel.apply([*decisions(one, action=Action.LIFT), *decisions(one)], 0)
    assert network in kernel.read()["banned4"]
    kernel.apply([*decisions(one), *decisions(one, action=Action.LIFT), *decisions(one, action=Action.SPARE)], 0)
    assert kernel.read()["banned4"] == {}
    kernel.apply(decisions(replace(one, until=0)), 0)
    assert kernel.read()["banned4"] == {}


def test_sync_is_the_same_whatever_was_there(net: Hosts, kernel: Kernel) -> None:
    bans = [ban("198.51.100.0/24"), ban("198.51.100.7/32"), ban("2001:db8::/64"), ban("2001:db8::/56")]
    kernel.sync(wanted(ban("192.0.2.99/32")))
    rules = net.hosts["appliance"].run(["nft", "list", "chain", "inet", "centralino-bans", "bans"]).stdout
    for _ in range(2):
        kernel.sync(wanted(*bans))
        assert kernel.intact()
        held = kernel.read()
        assert {name: set(found) for name, found in held.items() if found} == {
            "banned4": set(networks("198.51.100.7")),
            "banned4_wide": set(networks("198.51.100.0/24")),
            "banned6": set(networks("2001:db8::/64")),
            "banned6_wide": set(networks("2001:db8::/56")),
        }
    assert held["banned4"][networks("198.51.100.7")[0]] >= 590
    assert net.hosts["appliance"].run(["nft", "list", "chain", "inet", "centralino-bans", "bans"]).stdout == rules


def test_a_table_of_another_release_is_replaced(net: Hosts, kernel: Kernel) -> None:
    kernel.unload()
    nft(net, "table inet centralino-bans { set banned4 { type ipv4_addr; flags interval; }; chain old { }; }")
    kernel.sync(wanted(ban(f"{net.hosts['one'].address}/32")))
    assert kernel.intact()
    assert heard(net, "one", "two") == ["two"]


@pytest.mark.parametrize("name", [one.name for one in SETS])
def test_an_emptied_set_is_noticed(net: Hosts, kernel: Kernel, name: str) -> None:
    assert kernel.intact()
    nft(net, f"flush set inet centralino-bans {name}")
    assert not kernel.intact()
    assert not kernel.intact()  # looking mends nothing


def test_without_a_table_it_says_so(net: Hosts, kernel: Kernel) -> None:
    for script in ("delete table inet centralino-bans", "add table inet centralino-bans"):
        nft(net, script)
        with pytest.raises(UnavailableError) as caught:
            kernel.apply(decisions(ban("198.51.100.7/32")), 0)
        assert caught.value.error_id == "ban_sets_missing"
        assert not kernel.intact()
        assert kernel.read() == kernel.counters() == {}
    kernel.sync(wanted())
    assert kernel.intact()


def test_refused_is_refused_as_a_whole(net: Hosts, kernel: Kernel) -> None:
    kernel.unload()
    few = "\n".join(f"set {one.name} {{ type ipv{one.version}_addr; flags timeout; size 3; }}" for one in SETS)
    nft(net, f"table inet centralino-bans {{\n{few}\n}}\n")
    kernel.apply(decisions(ban("198.51.100.1/32")), 0)
    many = [ban(f"198.51.100.{n}/32") for n in range(2, 8)]
    with pytest.raises(ApplyError) as caught:
        kernel.apply([*decisions(ban("192.0.2.0/24")), *decisions(*many)], 0)
    assert caught.value.error_id == "bans_refused"
    held = kernel.read()
    assert (set(held["banned4"]), held["banned4_wide"]) == (set(networks("198.51.100.1")), {})


def test_ten_thousand_bans_at_once(net: Hosts, kernel: Kernel) -> None:
    first = int(ipaddress.ip_address("198.18.0.0"))
    many = [ban(f"{ipaddress.ip_address(first + 2 * n)}/32") for n in range(10_000)]
    kernel.apply(decisions(*many), 0)
    assert len(kernel.read()["banned4"]) == 10_000
    kernel.apply(decisions(*many), 0)
    kernel.apply(decisions(*many, action=Action.LIFT), 0)
    assert kernel.read()["banned4"] == {}


class Appliance:
    """A gate with a real kernel and database, over restarts."""

    def __init__(self, kernel: Kernel, file: Path, policy: Policy) -> None:
        self.kernel, self.file, self.policy = kernel, file, policy
        self.wall = 0
        self.start()

    def clock(self) -> Moment:
        now = system_clock()
        return replace(now, wall=now.wall + self.wall)

    def start(self) -> None:
        self.database = open_bans(f"sqlite:///{self.file}")
        self.gate = Gate(Judge(self.policy), self.kernel, Keeper(self.database), self.clock)
        self.gate.start()

    def stop(self) -> None:
        self.database.close()

    def attack(self, source: str) -> list[Decision]:
        return self.gate.take(scan(self.gate.now(), source))


@pytest.fixture
def appliance(kernel: Kernel, tmp_path: Path) -> Iterator[Appliance]:
    found = Appliance(kernel, tmp_path / "bans.db", Policy())
    yield found
    found.stop()


def test_from_attempts_to_silence_and_over_a_restart(net: Hosts, appliance: Appliance) -> None:
    source = net.hosts["one"].address
    assert [one.action for one in appliance.attack(source)] == [Action.BAN]
    assert heard(net, "one", "two") == ["two"]
    left = appliance.kernel.read()["banned4"][networks(source)[0]]
    before = appliance.gate.now()
    appliance.stop()
    appliance.kernel.unload()  # the machine was started again
    assert heard(net, "one", "two") == ["one", "two"]
    appliance.wall = 10 * 365 * 86_400_000
    appliance.start()
    assert before <= appliance.gate.now() < before + 15 * 1000  # running time goes on
    assert heard(net, "one", "two") == ["two"]
    assert left - 15 <= appliance.kernel.read()["banned4"][networks(source)[0]] <= left
    appliance.gate.lift(networks(source)[0])
    assert heard(net, "one", "two") == ["one", "two"]
    appliance.stop()
    appliance.start()
    assert heard(net, "one", "two") == ["one", "two"]
    assert appliance.gate.judge.standing.strikes.get(int(ipaddress.ip_address(source))) is None


def test_bans_come_back_after_somebody_took_them_away(net: Hosts, appliance: Appliance) -> None:
    source, other = net.hosts["one"].address, net.hosts["two"].address
    appliance.attack(source)
    nft(net, "flush ruleset")
    appliance.gate.tick()
    assert heard(net, "one", "two") == ["two"]
    nft(net, "delete table inet centralino-bans")
    assert appliance.attack(other)
    assert appliance.gate.troubles["kernel"].error_id == "ban_sets_missing"
    appliance.gate.tick()
    assert appliance.gate.troubles == {}
    assert heard(net, "one", "two", "three") == ["three"]


def test_killed_between_kernel_and_database_the_next_judge_has_both_say_the_same(
    net: Hosts, appliance: Appliance
) -> None:
    """It goes by what was kept: a ban of the last moment is lost, and who goes on is banned again at his tenth attempt."""
    appliance.attack("198.51.100.1")
    source = net.hosts["one"].address
    appliance.stop()
    child = os.fork()
    if not child:
        try:
            appliance.start()
            appliance.gate._keeper.keep = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
            appliance.attack(source)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert heard(net, "one", "two") == ["two"], "it is in the kernel already"
    appliance.start()
    kept = {str(one.network) for one in Keeper(appliance.database).load(system_clock()).bans}
    assert kept == {str(one) for one in appliance.kernel.read()["banned4"]} == {"198.51.100.1/32"}
    assert [one.action for one in appliance.attack(source)] == [Action.BAN]
    assert heard(net, "one", "two") == ["two"]


def test_while_the_database_is_away_bans_go_into_the_kernel(net: Hosts, appliance: Appliance) -> None:
    appliance.attack("198.51.100.1")
    with appliance.database.write() as connection:
        connection.execute(text("ALTER TABLE ban RENAME TO elsewhere"))
    appliance.attack(net.hosts["one"].address)
    assert heard(net, "one", "two") == ["two"]
    assert set(appliance.gate.troubles) == {"database"}
    with appliance.database.write() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO ban"))
    appliance.gate.tick()
    assert appliance.gate.troubles == {}
    kept = Keeper(appliance.database).load(system_clock())
    assert {str(one.network) for one in kept.bans} == {"198.51.100.1/32", f"{net.hosts['one'].address}/32"}


def test_what_cannot_be_read_at_the_start_is_not_written_over(net: Hosts, appliance: Appliance) -> None:
    appliance.attack("198.51.100.1")
    with appliance.database.write() as connection:
        connection.execute(text("ALTER TABLE strikes RENAME TO elsewhere"))
        connection.execute(text("UPDATE running SET running = running + 1000000000"))  # it has run for days before
        connection.execute(text("UPDATE ban SET since = since + 1000000000, until = until + 1000000000"))
    appliance.stop()
    appliance.start()
    assert set(appliance.gate.troubles) == {"database"}
    appliance.attack(net.hosts["one"].address)
    appliance.gate.tick()
    assert set(appliance.gate.troubles) == {"database"}
    assert len(appliance.kernel.read()["banned4"]) == 2  # the kernel's own are left alone meanwhile
    with appliance.database.write() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO strikes"))
    appliance.gate.tick()
    appliance.gate.tick()
    assert appliance.gate.troubles == {}
    both = {"198.51.100.1/32", f"{net.hosts['one'].address}/32"}
    assert {str(one) for one in appliance.kernel.read()["banned4"]} == both
    assert all(580 <= seconds <= 600 for seconds in appliance.kernel.read()["banned4"].values())
    assert {str(one.network) for one in Keeper(appliance.database).load(system_clock()).bans} == both


def test_another_policy_at_once(net: Hosts, appliance: Appliance) -> None:
    appliance.attack(net.hosts["one"].address)
    appliance.attack(net.hosts["two"].address)
    appliance.gate.adopt(policy(protected=net.hosts["one"].address), Doors(tunnels=(1196,)))
    assert heard(net, "one", "two", "three") == ["one", "three"]
    assert heard(net, "two", port=1196) == ["two"]
    assert heard(net, "two", port=1194) == []
