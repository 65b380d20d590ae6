"""Three branches on two providers, with an attacker outside: they call each other, and nobody outside hears, reaches or stops it."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from bench.processes import rss_mb
from tests.hil.agents.branches import SITES, World, company
from tests.hil.agents.network import Host, command
from tests.hil.agents.openvpn import UP
from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.tap import Tap
from tests.hil.judge import JudgeAtWork
from tests.hil.office import talk, undisturbed

EF, CS3 = 0xB8, 0x60
"""TOS octets of voice and of signalling (RFC 4594)."""
GARBAGE_PER_S: Final = 10_000
TUNNEL: Final = 1194


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="centralino-company-") as folder:
        Path(folder).chmod(0o711)  # pytest's own directories are closed to OpenVPN's user
        with company(Path(folder)) as made:
            yield made


def test_phones_of_all_branches_call_each_other_and_nothing_is_in_clear_outside(world: World) -> None:
    edges = world.edges
    with contextlib.ExitStack() as stack:
        taps = {
            site: stack.enter_context(Tap(edges[site], world.work / f"{site}.pcap", bpf="ip or ip6")) for site in SITES
        }
        stack.enter_context(garbage(world, [b"sip:" * 20], 500))
        phones = {site: stack.enter_context(world.phone(site, 440 + 110 * n)) for n, site in enumerate(SITES)}
        for phone in phones.values():
            phone.register()
        torino, roma, bari = phones.values()
        talk(torino, roma, torino.call("302"))  # sites that reach each other
        talk(bari, torino, bari.call("301"))  # and sites that don't: calls go by the centre
        for tap in taps.values():
            assert tap.streams() == []
            assert tap.clear_text(b"sip:") == 0
    for site in SITES:
        seen = outside(world, site)
        assert {(protocol, port) for protocol, port, _ in seen} == {("UDP", TUNNEL)}, site
        assert sum(tos == EF for _, _, tos in seen) > 100, site
        assert sum(tos == CS3 for _, _, tos in seen) > 3, site


def outside(world: World, site: str) -> list[tuple[str, int, int]]:
    """Protocol, the tunnel's port and TOS octet of every packet between an edge and the centre."""
    file = world.work / f"{site}.pcap"
    text = command(
        [
            "tcpdump",
            "-r",
            str(file),
            "-n",
            "-v",
            f"host {world.outside(site)} and host {world.edges[site].address} and not arp",
        ]
    ).stdout
    found = re.findall(r"tos 0x([0-9a-f]+).*proto (\w+).*\n\s+\S+\.(\d+) > \S+\.(\d+):", text)
    return [(protocol, min(int(one), int(other)), int(tos, 16)) for tos, protocol, one, other in found]


@pytest.mark.parametrize(
    ("one", "other", "passes"),
    [("torino", "roma", True), ("roma", "torino", True), ("bari", "torino", False), ("roma", "bari", False)],
)
def test_sites_reach_each_other_by_choice_only(world: World, one: str, other: str, passes: bool) -> None:
    """Also voice packets, which no connection tracking knows."""
    source, target = world.phones[one], world.phones[other]
    with source.socket() as outbox, target.socket() as inbox:
        inbox.bind((target.address, 15_000))
        inbox.settimeout(2 if passes else 0.3)
        outbox.bind((source.address, 15_000))
        outbox.sendto(b"neighbour", (target.address, 15_000))
        if passes:
            assert inbox.recvfrom(100) == (b"neighbour", (source.address, 15_000))
        else:
            with pytest.raises(TimeoutError):
                inbox.recvfrom(100)


def test_ten_thousand_packets_of_garbage_a_second_stop_nothing(world: World) -> None:
    """By turns random octets, openings with a key of nobody, and a branch's own opening again; each from another address of the
    internet, so that no limit by source helps. A branch that comes in meanwhile does, and a call goes on."""
    seen = opening(world)
    data = [
        each
        for n in range(1000)
        for each in (bytes([n % 256]) * (20 + n % 900), b"\x50" + n.to_bytes(4, "big") * 80, seen)
    ]
    (pid,) = (world.keeper.pid(each) for each in world.keeper.interfaces)
    assert pid is not None
    before, stay = rss_mb(pid), {site: world.tunnels[site].text().count(UP) for site in ("torino", "bari")}
    world.tunnels["roma"].stop()
    with talking(world) as counted, garbage(world, data) as sent:
        eventually(lambda: sent[0] > 2000, "the flood is at its height")
        world.connect("roma", "roma-again")
        eventually(lambda: sent[0] > GARBAGE_PER_S and counted[0] > 50, "it goes on for a second at least")
    assert counted[0] == counted[1], "a packet of the call was lost"
    assert rss_mb(pid) < before + 20
    assert {site: world.tunnels[site].text().count(UP) for site in stay} == stay


@pytest.fixture(scope="module")
def judge(world: World) -> Iterator[JudgeAtWork]:
    made = JudgeAtWork(world.system, world.work)
    made.start()
    yield made
    made.stop()


def test_tools_inside_a_branch_learn_nothing_and_their_hosts_alone_are_quarantined_and_can_call_for_help(
    world: World, judge: JudgeAtWork
) -> None:
    """While its neighbour, in the same branch, telephones with the centre."""
    edge, target, right = world.edges["torino"], world.centre.address, world.system.passwords["202-1"]
    worms = [world.net.host(f"worm{number}", "torino") for number in range(3)]
    for worm in worms:
        worm.run(["ip", "route", "add", "default", "via", edge.address_on("torino")])
    (world.work / "passwords").write_text("".join(f"wrong{number}\n" for number in range(160)) + f"{right}\n")
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(Tap(edge, world.work / "worms.pcap", leg="eth1", bpf="udp port 5060"))
        one, other = (
            stack.enter_context(world.phone(site, tone)).register() for site, tone in (("torino", 440), ("hq", 660))
        )
        with undisturbed(one, other, world.centre, world.work, (world.keeper.interfaces[0], "eth0")):
            tools = [
                judge.tool(worms[0], "svmap", target),
                judge.tool(worms[1], "svwar", "--force", "-e", "200-310", target),
                judge.tool(worms[2], "svcrack", "-u", "202-1", "-d", str(world.work / "passwords"), target),
            ]
            for worm in worms:
                ban = judge.soon(worm.address, wire)
                assert (ban.reason, ban.quarantine) == ("attack_tool", True)
            before = judge.counted("quarantined")
            eventually(lambda: judge.counted("quarantined") > before, "what they send on is dropped")
            for tool in tools:
                tool.signal(signal.SIGINT)  # they tell what they have found
            for tool in tools:
                tool.wait(30)
                assert right not in tool.text(), tool.text()
                assert not any(f"| {number} " in tool.text() for number in (*range(201, 207), *range(301, 304))), (
                    tool.text()
                )
            call_for_help(world, worms[1])
            assert {each.network for each in judge.told().bans} == {f"{worm.address}/32" for worm in worms}


def call_for_help(world: World, host: Host) -> None:
    """From a quarantined host: heard, and hearing."""
    password = world.system.passwords["204-1"]
    with SoftPhone(host, world.work / "help", "204-1", password, world.centre.address, tone_hz=880) as phone:
        call = phone.unregistered().call("112").established(20)
        assert world.line.invited().uri.user == "112"
        heard = phone.listen(880)
        assert heard.good(), heard
        call.hangup()


def opening(world: World) -> bytes:
    """What somebody on the way would have seen: how a branch opens its session."""
    text = re.sub(r"(?m)^remote .*\n", "", (world.work / "torino.conf").read_text())
    config = world.work / "seen.conf"
    config.touch(0o600)
    config.write_text(f"remote {world.attacker.address} {TUNNEL} udp\n{text}")
    with world.attacker.socket() as inbox:
        inbox.bind((world.attacker.address, TUNNEL))
        inbox.settimeout(5)
        with world.edges["torino"].start(["openvpn", "--config", str(config)], world.work / "seen.log"):
            return inbox.recv(2000)


@contextlib.contextmanager
def talking(world: World) -> Iterator[list[int]]:
    """A call's packets from Torino's phone to the centre: how many arrived, and how many were sent."""
    counted, over, phone = [0, 0], threading.Event(), world.phones["torino"]
    with phone.socket() as outbox, world.centre.socket() as inbox:
        outbox.bind((phone.address, 15_002))
        inbox.bind((world.centre.address, 15_002))
        inbox.settimeout(0.5)

        def send() -> None:
            while not over.wait(0.02):
                outbox.sendto(b"v" * 172, (world.centre.address, 15_002))
                counted[1] += 1

        def hear() -> None:
            while not over.is_set() or counted[0] < counted[1]:
                try:
                    inbox.recv(200)
                except TimeoutError:
                    if over.is_set():
                        return
                else:
                    counted[0] += 1

        threads = [threading.Thread(target=work) for work in (send, hear)]
        for thread in threads:
            thread.start()
        try:
            yield counted
        finally:
            over.set()
            for thread in threads:
                thread.join()


@contextlib.contextmanager
def garbage(world: World, data: Sequence[bytes], rate: int = GARBAGE_PER_S) -> Iterator[list[int]]:
    """The attacker sends at the tunnel's port until the end of the with; in the list: how many packets so far."""
    sent, over = [0], threading.Event()
    frames = list(framed(world.attacker, world.centre, data))
    wire = world.attacker.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind(("eth0", 0))

    def send() -> None:
        began = time.monotonic()
        while not over.wait(0.002):
            due = int((time.monotonic() - began) * rate)
            for n in range(sent[0], min(due, sent[0] + 500)):
                wire.send(frames[n % len(frames)])
                sent[0] = n + 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()
        wire.close()


def framed(attacker: Host, centre: Host, data: Sequence[bytes]) -> Iterator[bytes]:
    """Ethernet frames of UDP packets at the tunnel's port, from 20,000 addresses; no checksum over UDP (RFC 768)."""
    head = mac(centre, "eth1") + mac(attacker, "eth0") + b"\x08\x00"
    for n in range(20_000):
        body, source = data[n % len(data)], struct.pack("!I", 0x0B00_0000 + n * 577 % 2**24)
        length, to = 28 + len(body), socket.inet_aton(centre.address_on("provider"))
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, n, 0, 64, 17, 0, source, to)
        added = sum(struct.unpack("!10H", ip))
        added = (added & 0xFFFF) + (added >> 16)
        ip = ip[:10] + struct.pack("!H", ~((added & 0xFFFF) + (added >> 16)) & 0xFFFF) + ip[12:]
        yield head + ip + struct.pack("!HHHH", 1024 + n, TUNNEL, length - 20, 0) + body


def mac(host: Host, leg: str) -> bytes:
    return bytes.fromhex(host.run(["cat", f"/sys/class/net/{leg}/address"]).stdout.strip().replace(":", ""))
