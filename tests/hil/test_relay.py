"""The relay pair below a real OpenVPN session: lines die, and nobody on a call hears it."""

from __future__ import annotations

import contextlib
import json
import pwd
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.engine.processes import noted
from tests.hil.agents.pcap import PcapReader
from tests.hil.agents.process import eventually
from tests.hil.agents.relay import LINES, PACE_S, PORT, RELAY_USER, Protected
from tests.hil.agents.tap import Tap

IN_HAND = 4
"""Packets that a relay may have taken from one socket and not yet given to the other at the moment in which it is killed. What comes later waits for the next one:
a relay that binds its ports anew, as any other program, loses fifteen and more."""


@pytest.fixture(scope="module")
def world() -> Iterator[Protected]:
    with Protected() as made:
        yield made


@pytest.mark.parametrize("end", ["centre", "edge"])
def test_a_relay_is_nobody_and_may_do_nothing(world: Protected, end: str) -> None:
    pid = noted(world.places[end] / "relay.pid")
    told = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert told["Uid"].split() == [str(pwd.getpwnam(RELAY_USER).pw_uid)] * 4
    assert told["Groups"].split() == []
    assert {int(told[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    assert told["NoNewPrivs"] == "1"
    assert world.standing(end)["troubles"] == {}


def test_each_line_dies_in_turn_across_rekeys(world: Protected) -> None:
    rekeys = world.rekeys()
    with world.stream() as stream:
        for line in LINES:
            with world.dead(line):
                time.sleep(5)
            time.sleep(1.5)  # the other is found again
    assert stream.missing() == ([], [])
    assert stream.sent[0] > 500
    assert world.rekeys() > rekeys


@pytest.mark.parametrize("towards", ["centre", "edge"])
def test_one_direction_of_the_primary_dies(world: Protected, towards: str) -> None:
    with world.stream() as stream:
        time.sleep(1)
        with world.dropping("primary", towards):
            time.sleep(4)
        time.sleep(0.5)
    assert stream.missing() == ([], [])


def test_a_line_loses_three_in_a_hundred(world: Protected) -> None:
    some = "numgen random mod 100 < 3"
    with world.stream() as stream, world.dropping("primary", "centre", some), world.dropping("primary", "edge", some):
        time.sleep(5)
        told = world.standing("edge")["paths"][0]
    assert stream.missing() == ([], [])
    assert told["out"]["loss"] > 0  # and it is seen


@pytest.mark.parametrize("end", ["centre", "edge"])
def test_a_relay_is_killed_in_a_call_and_then_what_keeps_its_sockets(world: Protected, end: str) -> None:
    with world.stream() as stream:
        time.sleep(0.5)
        world.kill_relay(end)
        time.sleep(1.5)
        world.kill_holder(end)
        time.sleep(0.5)
        world.start_relay(end)
        time.sleep(2)
        world.kill_relay(end)
        time.sleep(1)
    assert all(len(each) <= 2 * IN_HAND for each in stream.missing())


def test_a_line_that_has_carried_its_months_volume_is_spared_until_no_other_works(world: Protected) -> None:
    config = world.edge_config()
    carried = json.loads((world.places["edge"] / "carried.json").read_text())["lines"]["1"]
    config["lines"][1] |= {"line": 1, "cap": carried + 100_000}
    config["month"] = "2026-11"
    world.write("edge", config)

    def backup() -> dict[str, Any]:
        return dict(world.standing("edge")["paths"][1])

    with world.stream() as stream:
        eventually(lambda: backup()["capped"], "the backup has carried enough", 20)
        eventually(lambda: world.standing("centre")["sites"]["bari"]["paths"][1]["capped"], "the centre knows", 5)
        time.sleep(1.5)
        before = backup()["out"]["packets"]
        time.sleep(2)
        assert backup()["out"]["packets"] - before < 40, "measurements, and no copies of fifty packets a second"
        with world.dead("primary"):
            time.sleep(2)
        time.sleep(1)
    world.write("edge", world.edge_config() | {"month": "2026-12"})
    eventually(lambda: not backup()["capped"], "another month", 5)
    up, down = stream.missing()
    assert len(up) <= 1.5 / PACE_S, "until it is seen that no other works, a second is lost"
    assert len(down) <= 1.5 / PACE_S


def test_a_line_that_leads_elsewhere_isnt_up_until_the_centre_shows_itself_there(world: Protected) -> None:
    """What was heard at the former address proves nothing of the other; not even to the next relay."""
    config, elsewhere = world.edge_config(), json.loads(json.dumps(world.edge_config()))
    elsewhere["lines"][1]["host"] = "203.0.113.99"

    def told() -> list[Any]:
        backup = world.standing("edge")["paths"][1]
        return [backup["host"], backup["bound"]]

    with world.stream() as stream:
        for killed in (False, True):
            world.write("edge", elsewhere)
            if killed:
                world.kill_relay("edge")
            eventually(lambda: told()[0] == "203.0.113.99", "it goes there", 5, every_s=0.01)
            assert told()[1] is False
            world.write("edge", config)
            eventually(lambda: told() == [config["lines"][1]["host"], True], "it is back", 5)
    assert all(len(each) <= IN_HAND for each in stream.missing())


def test_longer_packets_go_on_when_the_longer_line_dies(world: Protected) -> None:
    long = "meta length > 1400"
    with world.dropping("backup", "centre", long), world.dropping("backup", "edge", long):
        eventually(lambda: world.standing("edge")["paths"][1]["out"]["longest"] == 1372, "the edge knows")
        eventually(
            lambda: world.standing("centre")["sites"]["bari"]["paths"][1]["out"]["longest"] == 1372, "the centre"
        )
        with world.stream(size=1370) as stream, world.dead("primary"):
            time.sleep(3)
    assert stream.missing() == ([], [])


def test_strangers_get_nothing_and_reach_nothing(world: Protected) -> None:
    """What somebody captured of the lines, sent again from elsewhere: no answer but challenges, nothing to OpenVPN, nothing moves."""
    attacker = world.net.host("attacker", "provider")
    file = world.net.work / "line.pcap"
    with Tap(world.edge, file, bpf=f"udp dst port {PORT}", afterwards=True), world.stream():
        time.sleep(2)
    captured = [packet.payload for packet in PcapReader().feed(file.read_bytes())]
    assert len(captured) > 100
    refused = world.standing("centre")["refused"]
    received = answered = 0
    with world.stream() as stream, attacker.socket() as sends:
        sends.setblocking(False)
        for _ in range(5):
            for datagram in captured:
                for spoilt in (
                    datagram,
                    datagram[:-1],
                    b"\x38" + b"x" * 100,
                ):  # the last one: a hard reset of OpenVPN's
                    with contextlib.suppress(OSError):
                        sends.sendto(spoilt, (world.centre.address_on("provider"), PORT))
            time.sleep(0.3)
            with contextlib.suppress(BlockingIOError):
                while True:
                    answered += len(sends.recv(2000))
                    received += 1
        time.sleep(1)
    assert stream.missing() == ([], [])
    assert answered == received == 0
    assert world.standing("centre")["refused"] > refused + 3 * len(captured)
    assert [path["address"][0] for path in world.standing("centre")["sites"]["bari"]["paths"]] == [
        world.edge.address_on(lan) for lan in LINES.values()
    ]


def test_the_primary_is_dead_at_the_start(world: Protected) -> None:
    with world.dead("primary"):
        world.client.stop()
        for end in ("edge", "centre"):
            world.relays[end].stop()
            (world.places[end] / "state.json").unlink()
            world.start_relay(end)
        began = time.monotonic()
        world.start_client()
        assert time.monotonic() - began < 20  # a deadline; how long it takes is bench/failover's to say
    world.both_bound()


def test_all_lines_die_and_come_back(world: Protected) -> None:
    with world.stream() as stream:
        with world.dead("primary"), world.dead("backup"):
            time.sleep(2)
        time.sleep(4)
        heard = [len(got) for got in stream.got]
        time.sleep(1)
        assert all(len(got) > before + 40 for got, before in zip(stream.got, heard, strict=True))


def test_openvpns_server_is_killed(world: Protected) -> None:
    generation = world.standing("edge")["generation"]
    with world.stream() as stream:
        child = world.server.child
        assert child is not None
        child.signal(signal.SIGKILL)
        child.stop()
        world.start_server()
        began = time.monotonic()
        eventually(lambda: world.standing("edge")["generation"] != generation, "the edge is told")
        heard = len(stream.got[0])
        eventually(lambda: len(stream.got[0]) > heard + 40, "the tunnel is back")
        assert time.monotonic() - began < 15, "its client doesn't wait until it has heard nothing for long enough"
    ports = world.standing("centre")["sites"]["bari"]["ports"]
    assert {host for host, _port in ports} == {"127.80.0.7"}
