"""What can happen to a protected branch besides a bad line: processes that die or stop, addresses that change, and hostile hosts. People talk meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.engine.processes import NICE, noted
from appliance.engine.revival import GOOD_LIFE_S
from lab.calls import Talk
from lab.ear import Heard
from lab.plan import LINES
from lab.topology import Lab
from tests.hil.agents.network import Host
from tests.hil.agents.process import eventually

FIBRE = LINES[0]
RELAY_PORT = 1170
ETH_P_IP = 0x0800
BACK_S = 5.0
IN_HAND = 4
"""Packets that a relay may have taken and not yet given on when it is killed while one line is dead."""
DISK = 64 << 20
"""Octets of each disk."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(disk=DISK) as made:
        yield made


@pytest.fixture(scope="module")
def talk(lab: Lab) -> Iterator[Talk]:
    """One call, for as long as the tests last."""
    with Talk(lab, [("310", "330")], lasts_s=3600) as made:
        eventually(lambda: made.conversations[0].state == "talking", "they talk", 30)
        time.sleep(1)
        yield made


@pytest.fixture(autouse=True)
def calm(lab: Lab, talk: Talk) -> Iterator[None]:
    """Every test begins well, and the call that was there at the beginning is there at the end."""
    lab.all_up()
    since = talk.conversations[0].since
    yield
    assert (talk.conversations[0].state, talk.conversations[0].since) == ("talking", since), "the call was kept up"


def heard(talk: Talk) -> tuple[Heard, Heard]:
    """What both have heard."""
    found = []
    for number in ("310", "330"):
        got = talk.heard(number)
        assert got is not None
        found.append(got)
    return found[0], found[1]


@contextlib.contextmanager
def nothing_lost(talk: Talk, *, but: int = 0) -> Iterator[None]:
    before = [each.lost for each in heard(talk)]
    yield
    time.sleep(0.5)
    assert all(0 <= now.lost - then <= but for now, then in zip(heard(talk), before, strict=True)), (
        heard(talk),
        before,
    )


def silent_s(talk: Talk, harm: Callable[[], None]) -> float:
    """From the harm until both hear voice again; what is on its way is over after 200 ms."""
    before = [each.packets for each in heard(talk)]
    began = time.monotonic()
    harm()
    time.sleep(0.2)
    at = [each.packets for each in heard(talk)]
    eventually(
        lambda: all(now.packets > then + 1 for now, then in zip(heard(talk), at, strict=True)), "voice again", 60
    )
    assert all(then >= first for then, first in zip(at, before, strict=True))
    return time.monotonic() - began


def begun_anew(lab: Lab, talk: Talk) -> None:
    """A branch whose processes have all been started: both hear each other, and its lines have been measured for a while."""
    silent_s(talk, lab.all_up)
    time.sleep(3)


def kill(file: Path, number: int = signal.SIGKILL) -> int:
    """Signal whoever a PID file tells of; its number."""
    pid = noted(file)
    assert pid is not None
    os.kill(pid, number)
    return pid


def lives_s(file: Path) -> float:
    """For how long whoever a PID file tells of has run."""
    began = int(
        Path(f"/proc/{noted(file)}/stat").read_text().rpartition(")")[2].split()[19]
    )  # starttime (proc_pid_stat(5))
    return float(Path("/proc/uptime").read_text().split()[0]) - began / os.sysconf("SC_CLK_TCK")


def another(file: Path, former: int) -> None:
    eventually(lambda: noted(file) not in (None, former), f"{file.name} is another's", 15)


def server(lab: Lab) -> Path:
    return lab.system.paths.vpn.run / "voice-0.pid"


@contextlib.contextmanager
def full(*disks: Path) -> Iterator[None]:
    """To the last octet."""
    fillers = [disk / "filler" for disk in disks]
    try:
        for file in fillers:
            with file.open("wb", buffering=0) as stream:
                for size in (1 << 20, 4096, 1):
                    with contextlib.suppress(OSError):
                        while True:
                            stream.write(bytes(size))
        yield
    finally:
        for file in fillers:
            file.unlink(missing_ok=True)


def test_what_carries_voice_goes_first(lab: Lab) -> None:
    edge, vpn = lab.edges["torino"].paths.run, lab.system.paths.vpn.run
    carriers = [server(lab), edge / "openvpn.pid"]
    carriers += [run / f"{name}.pid" for run in (edge / "relay", vpn / "relays" / "0") for name in ("holder", "relay")]
    found = {file: os.getpriority(os.PRIO_PROCESS, noted(file) or -1) for file in carriers}
    assert lab.system.engine is not None
    found |= {Path("engine"): os.getpriority(os.PRIO_PROCESS, lab.system.engine.pid)}
    assert set(found.values()) == {NICE}, found
    agent = lab.edges["torino"].agent
    assert agent is not None
    assert os.getpriority(os.PRIO_PROCESS, agent.process.pid) == 0


def test_all_disks_are_full(lab: Lab, talk: Talk) -> None:
    edge, vpn = lab.edges["torino"], lab.system.paths.vpn
    assert edge.agent is not None
    with full(lab.system.paths.state, edge.paths.top):
        with pytest.raises(OSError, match="No space left"):
            (edge.paths.top / "one more").write_text("octet")
        with nothing_lost(talk):
            lab.impair("torino-fibre", "blackhole")
            time.sleep(2)
        for run in (edge.paths.run / "relay", vpn.run / "relays" / "0"):
            with nothing_lost(talk, but=IN_HAND):
                another(run / "relay.pid", kill(run / "relay.pid"))
        with nothing_lost(talk):
            edge.agent.signal(signal.SIGKILL)
            edge.agent.wait()
            edge.start()
            eventually(lambda: edge.status().get("centre_reached"), "its successor is in", 15)
            lab.impair("torino-fibre", "well")
        for file in (server(lab), edge.paths.run / "openvpn.pid"):
            former = noted(file)
            assert former is not None
            assert silent_s(talk, lambda file=file: kill(file)) < BACK_S  # type: ignore[misc]
            another(file, former)
        for run in (edge.paths.run / "relay", vpn.run / "relays" / "0"):  # with all that they had in memory
            assert silent_s(talk, lambda run=run: [kill(run / f"{name}.pid") for name in ("holder", "relay")]) < BACK_S  # type: ignore[misc]
    eventually(lambda: not edge.status().get("faults"), "nothing is left of it", 20)
    eventually(lambda: not (lab.told() or {"faults": ["?"]})["faults"], "nor at the centre", 20)


def test_the_edges_clock_jumps(lab: Lab, talk: Talk) -> None:
    (preload,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    edge, off = lab.edges["torino"], lab.work / "off"
    off.write_text("+0")
    fake = {
        "LD_PRELOAD": str(preload), "FAKETIME_TIMESTAMP_FILE": str(off), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    edge.stop()
    edge.start(**fake)
    try:
        begun_anew(lab, talk)
        began = time.time()
        with nothing_lost(talk):
            for hours in ("+2h", "-2h", "+0"):
                off.write_text(hours)
                time.sleep(3)
        ahead = {time.strftime("\n%Y-%m-%d %H", time.localtime(at + 7200)) for at in (began, time.time())}
        said = (edge.paths.log / "openvpn.log").read_text()
        assert any(hour in said for hour in ahead), "it was two hours ahead"
        off.write_text("+20y")  # no certificate is good then
        time.sleep(3)
        # OpenVPN may go on sending in a session that is over: the relay sees that (decision 61).
        assert silent_s(talk, lambda: off.write_text("+0") and None) < BACK_S  # type: ignore[func-returns-value]
    finally:
        edge.stop()
        edge.start()
        begun_anew(lab, talk)


def test_the_edges_agent_is_killed(lab: Lab, talk: Talk) -> None:
    edge = lab.edges["torino"]
    assert edge.agent is not None
    with nothing_lost(talk):
        edge.agent.signal(signal.SIGKILL)
        edge.agent.wait()
        lab.impair("torino-fibre", "blackhole")
        time.sleep(3)
        lab.impair("torino-fibre", "well")
        time.sleep(2)
        edge.start()
        eventually(lambda: edge.status().get("centre_reached"), "its successor is in", 15)


@pytest.mark.parametrize("end", ["edge", "centre"])
def test_a_relay_is_killed(lab: Lab, talk: Talk, end: str) -> None:
    file = {
        "edge": lab.edges["torino"].paths.run / "relay" / "relay.pid",
        "centre": lab.system.paths.vpn.run / "relays" / "0" / "relay.pid",
    }[end]
    with nothing_lost(talk):
        another(file, kill(file))
        time.sleep(1)


def test_openvpns_client_is_killed(lab: Lab, talk: Talk) -> None:
    file, former = lab.edges["torino"].paths.run / "openvpn.pid", list[int]()
    took = silent_s(talk, lambda: former.append(kill(file)))
    another(file, former[0])
    assert took < BACK_S


@pytest.mark.parametrize(("end", "seconds"), [("edge", 2), ("centre", 2), ("centre", 12)])
def test_openvpn_stops_for_a_while(lab: Lab, talk: Talk, end: str, seconds: int) -> None:
    """The relay misses a server that says nothing for ten seconds, and has the client begin anew."""
    log = lab.edges["torino"].paths.log / "openvpn.log"
    anew = log.read_text().count("SIGUSR1")
    file = lab.edges["torino"].paths.run / "openvpn.pid" if end == "edge" else server(lab)

    def stopped() -> None:
        pid = kill(file, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    assert silent_s(talk, stopped) < seconds + BACK_S
    assert (log.read_text().count("SIGUSR1") > anew) is (seconds > 10)


def test_a_line_gets_another_address(lab: Lab, talk: Talk) -> None:
    host, former = lab.edges["torino"].host, lab.edges["torino"].address(FIBRE)
    fresh = former.rpartition(".")[0] + ".77"

    def moved(to: str, away: str) -> None:
        host.run(["sysctl", "-q", "-w", "net.ipv4.conf.eth0.promote_secondaries=1"])
        host.run(["ip", "address", "add", f"{to}/24", "dev", "eth0"])
        host.run(["ip", "address", "del", f"{away}/24", "dev", "eth0"])
        eventually(lambda: fibre_at(lab).startswith(f"{to} "), f"the centre knows {to}", 10)

    with nothing_lost(talk):
        moved(fresh, former)
        time.sleep(1)
        moved(former, fresh)


def fibre_at(lab: Lab) -> str:
    """Where the centre sees Torino's first line; empty: it is down."""
    line = lab.branch("torino")["lines"][0]
    return str(line["address"]) if line["up"] else ""


def translated_to(lab: Lab, address: str) -> None:
    """The first provider's router has NAT: Torino's line has that address on the Internet from now on, and no other."""
    router, inside = lab.routers["isp-one"], lab.edges["torino"].address(FIBRE)
    router.run(["ip", "address", "replace", f"{address}/24", "dev", "eth1"])
    rules = f"""
        table ip nat
        delete table ip nat
        table ip nat {{
            chain before {{ type filter hook prerouting priority raw; notrack; iifname "eth1" ip daddr {address} ip daddr set {inside}; }}
            chain after {{ type filter hook postrouting priority 100; oifname "eth1" ip saddr {inside} ip saddr set {address}; }}
        }}"""
    router.run(["nft", rules])


def test_a_router_with_nat_binds_anew_in_a_call(lab: Lab, talk: Talk) -> None:
    try:
        with nothing_lost(talk):
            translated_to(lab, "198.51.100.77")
            eventually(lambda: fibre_at(lab).startswith("198.51.100.77 "), "it comes from there", 10)
        for line in LINES[1:]:  # now it is the only one
            lab.impair(f"torino-{line.id}", "blackhole")
        time.sleep(1)
        assert silent_s(talk, lambda: translated_to(lab, "198.51.100.78")) < 1.0 + 0.5, (
            "the new address is proven within a second"
        )
        eventually(lambda: fibre_at(lab).startswith("198.51.100.78 "), "it comes from there", 10)
    finally:
        for line in LINES[1:]:
            lab.impair(f"torino-{line.id}", "well")
        lab.routers["isp-one"].run(["nft", "delete table ip nat"], check=False)
    eventually(lambda: fibre_at(lab).startswith(lab.edges["torino"].address(FIBRE)), "without NAT again", 15)


def overheard(router: Host, seconds: float) -> list[bytes]:
    """What edges sent to the centre's relay, as one who listens on the way has it."""
    found = []
    with router.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as ear:
        ear.settimeout(0.2)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                packet = ear.recv(4096)
                start = 4 * (packet[0] & 15)
                if packet[9] == socket.IPPROTO_UDP and struct.unpack_from("!H", packet, start + 2)[0] == RELAY_PORT:
                    found.append(packet[start + 8 :])
    return found


def test_a_hostile_host_repeats_forges_and_cuts_short(lab: Lab, talk: Talk) -> None:
    mallory = lab.net.host("mallory", "provider")
    centre = lab.centre.address_on("provider"), RELAY_PORT
    known = [line["address"] for line in lab.branch("torino")["lines"]]
    with nothing_lost(talk), mallory.socket() as end:
        end.settimeout(0.5)
        end.bind((mallory.address, 0))
        packets = overheard(lab.routers["isp-one"], 1.5)
        assert len(packets) > 50
        sent = 0
        for packet in packets:
            forged = bytes(each ^ 1 if at == len(packet) // 2 else each for at, each in enumerate(packet))
            for said in (packet, forged, packet[: len(packet) // 2], packet[:1], os.urandom(len(packet))):
                sent += end.sendto(said, centre)
        back = 0
        with contextlib.suppress(TimeoutError):
            while True:
                back += len(end.recv(4096))
        assert back <= 3 * sent
        time.sleep(2)
    assert [line["address"] for line in lab.branch("torino")["lines"]] == known, "nothing goes elsewhere"
    assert (lab.told() or {})["faults"] == []


def test_nobody_is_flooded_by_what_is_said_in_their_name(lab: Lab, talk: Talk) -> None:
    """Captured hellos, sent with a victim's address as if they came from there."""
    mallory, victim = lab.net.hosts["mallory"], lab.names
    centre = lab.centre.address_on("provider")
    known = [line["address"] for line in lab.branch("torino")["lines"]]
    packets = overheard(lab.routers["isp-one"], 1.0)
    with (
        nothing_lost(talk),
        mallory.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
        victim.socket() as ear,
    ):
        ear.bind((victim.address, 40000))
        ear.settimeout(0.5)
        sent = 0
        for packet in packets:
            raw.sendto(spoofed(victim.address, centre, packet), (centre, 0))
            sent += len(packet)
        got = 0
        with contextlib.suppress(TimeoutError):
            while True:
                got += len(ear.recv(4096))
        assert got <= 3 * sent
        assert got < 20_000, "a challenge for a path at most, again and again"
    assert [line["address"] for line in lab.branch("torino")["lines"]] == known


def spoofed(source: str, target: str, payload: bytes) -> bytes:
    """A packet of IP and UDP with any source (no UDP checksum: RFC 768 allows it)."""
    udp = struct.pack("!HHHH", 40000, RELAY_PORT, 8 + len(payload), 0) + payload
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0, socket.inet_aton(source), socket.inet_aton(target)
    )  # fmt: skip
    return head + udp


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_openvpns_server_ends(lab: Lab, talk: Talk, number: int) -> None:
    if number == signal.SIGKILL:  # died again sooner than that, it would be waited for longer each time
        eventually(lambda: lives_s(server(lab)) > GOOD_LIFE_S, "it has had a good life since the disks were full", 70)
    former: list[int] = []
    took = silent_s(talk, lambda: former.append(kill(server(lab), number)))
    another(server(lab), former[0])
    assert took < BACK_S
