"""Several lines to an OpenVPN server of another maker, by ``centralino edge relay``: what its half alone can do, and what it can't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.engine.processes import noted
from tests.hil.agents.process import eventually
from tests.hil.agents.relay import LINES, PACE_S, SERVER, Alone

ON_ITS_WAY = 2
"""Packets that the server has sent by a line that dies."""
SILENT_S = 0.5
"""Until a line is left by which nothing comes any more within a call: 0.3 s, and the time until the server has floated."""


@pytest.fixture(scope="module")
def world() -> Iterator[Alone]:
    with Alone() as made:
        yield made


def status(world: Alone) -> list[dict[str, Any]]:
    """``centralino edge status``; nothing while nobody answers."""
    env = {**os.environ, "CENTRALINO_EDGE": str(world.top)}
    argv = [sys.executable, "-m", "appliance.cli", "edge", "status", "--json"]
    done = subprocess.run(argv, env=env, capture_output=True, check=False, text=True, timeout=30)
    found: list[dict[str, Any]] = json.loads(done.stdout)["foreign"] if done.returncode == 0 else []
    return found


def test_keys_are_exchanged_while_calls_go_over_both_lines(world: Alone) -> None:
    rekeys = world.rekeys()
    with world.stream() as stream:
        eventually(lambda: world.rekeys() > rekeys, "other keys", 20)
        time.sleep(2)
    assert stream.missing() == ([], [])
    assert stream.sent[0] > 100
    told = status(world)
    assert [line["device"] for line in told] == ["eth0", "eth1"]
    assert {line["host"] for line in told} == {SERVER}
    assert [line["followed"] for line in told].count(True) == 1
    assert [line["left_s"] for line in told] == [0, 0], "the end of a call is no line's death"


@pytest.mark.parametrize("line", LINES)
def test_a_line_dies(world: Alone, line: str) -> None:
    settled(world)
    with world.stream() as stream:
        time.sleep(1)
        with world.dead(line):
            time.sleep(3)
        time.sleep(1)
    up, down = stream.missing()
    assert up == []
    assert len(down) <= ON_ITS_WAY


def test_what_goes_to_the_server_dies_on_the_line_by_which_it_answers(world: Alone) -> None:
    settled(world)
    with world.stream() as stream:
        time.sleep(1)
        with world.dropping(followed(world), "centre"):
            time.sleep(3)
    assert stream.missing() == ([], [])


def test_what_comes_from_the_server_dies_on_the_line_by_which_it_answers(world: Alone) -> None:
    settled(world)
    line = followed(world)
    with world.stream() as stream, world.dropping(line, "edge"):
        time.sleep(3)
        assert followed(world) != line
        (left,) = (each for each in status(world) if each["left_s"])
        assert left["device"] == f"eth{list(LINES).index(line)}"
    up, down = stream.missing()
    assert up == []
    assert 0 < len(down) <= SILENT_S / PACE_S, "a stock server can't know: its silence is all there is to see"


def test_the_client_begins_anew_while_a_line_is_dead(world: Alone) -> None:
    for line in LINES:
        with world.dead(line):
            for _ in range(2):
                world.client.stop()
                began = time.monotonic()
                world.start_client()
                assert time.monotonic() - began < 5
            with world.stream() as stream:
                time.sleep(1)
            assert stream.missing() == ([], [])


def test_the_relay_is_killed_in_a_call_and_then_the_command(world: Alone) -> None:
    settled(world)
    relay = noted(world.relay_pid)
    with world.stream() as stream:
        time.sleep(0.5)
        world.relays["edge"].process.kill()
        eventually(lambda: not world.relays["edge"].running, "the command is dead")
        time.sleep(1)
        world.start_command()
        eventually(lambda: status(world), "it is there again")
        assert noted(world.relay_pid) == relay, "the relay has gone on"
        world.kill_relay("edge")
        time.sleep(1)
    assert all(len(each) <= 2 * ON_ITS_WAY for each in stream.missing())


def settled(world: Alone) -> None:
    """The server answers, and no line is left."""
    with world.stream():
        time.sleep(0.5)
    eventually(lambda: not any(line["left_s"] for line in world.standing("edge")["paths"]), "no line is left", 150)


def followed(world: Alone) -> str:
    """The line by which the server answers."""
    (path,) = (each["path"] for each in world.standing("edge")["paths"] if each["followed"])
    return list(LINES)[path]
