"""A relay that goes on from what was written down: its numbers are beyond all that were used, also where the disk has been full since."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.failover.relay.channel import SPARE
from appliance.failover.relay.process import BUSIEST, Process
from tests.unit.failover.relay_world import Line, Role, World


class Idle(Process):
    """One that only writes down."""

    def configure(self, config: dict[str, Any], now: float) -> None: ...
    def came(self, name: str, datagrams: list[Any], now: float) -> None: ...
    def tick(self, now: float) -> None: ...
    def standing(self, now: float) -> dict[str, Any]:  # noqa: ARG002 (asked for by name)
        return {}

    def state(self) -> dict[str, Any]:
        return {"one": 1}


def test_what_was_just_written_skips_what_can_have_been_used_meanwhile(tmp_path: Path) -> None:
    Idle(tmp_path).write_state()
    again = Idle(tmp_path)
    assert again.former()["one"] == 1
    assert SPARE <= again.spare < SPARE + 5 * BUSIEST


@pytest.mark.parametrize("clock", ["wall", "monotonic"])
def test_an_old_state_skips_as_much_as_may_have_been_used_since(tmp_path: Path, clock: str) -> None:
    """By whichever clock tells: the machine has been started anew, or its clock set back."""
    Idle(tmp_path).write_state()
    file = tmp_path / "state.json"
    if clock == "wall":
        before = json.loads(file.read_text())
        file.write_text(json.dumps({**before, "at": time.monotonic() + 1e6}))
        os.utime(file, (time.time() - 600,) * 2)
    else:
        before = json.loads(file.read_text())
        file.write_text(json.dumps({**before, "at": time.monotonic() - 600}))
        os.utime(file, (time.time() + 1e6,) * 2)
    again = Idle(tmp_path)
    assert again.former()["one"] == 1
    assert again.spare == pytest.approx(SPARE + 600 * BUSIEST, abs=5 * BUSIEST)


@pytest.mark.parametrize("garbage", ["", "{", "[]", "7", '{"at": "x"}', '{"one": 1}', "[" * 100_000])
def test_garbage_is_nothing_to_go_on_from(tmp_path: Path, garbage: str) -> None:
    (tmp_path / "state.json").write_text(garbage)
    again = Idle(tmp_path)
    assert again.former() == {}
    assert again.spare == SPARE


def missing(world: World) -> tuple[int, int]:
    """Up and down. A copy that comes after a restart is handed on too: OpenVPN drops it."""
    return world.sent_up - len(set(world.got_up)), world.sent_down - len(set(world.got_down))


def test_an_edge_that_goes_on_twice_from_one_old_state_is_heard() -> None:
    world = World({0: Line(), 1: Line(Role.BACKUP, delay=0.03)})
    world.run(1.0)
    world.talk(1.0)
    old, written = json.loads(json.dumps(world.edge.state())), world.now
    world.talk(1.0)
    for _ in range(2):
        edge = world.new_edge(1)
        edge.resume(old, world.now, SPARE + int(BUSIEST * (world.now - written)))
        world.edge = edge
        world.talk(2.0)
    world.run(1.0)
    assert missing(world) == (0, 0)


def test_without_that_it_would_be_taken_for_somebody_who_repeats() -> None:
    world = World({0: Line(), 1: Line(Role.BACKUP, delay=0.03)})
    world.run(1.0)
    old = json.loads(json.dumps(world.edge.state()))
    for _ in range(2):
        edge = world.new_edge(1)
        edge.resume(old, world.now)
        world.edge = edge
        world.talk(2.0)
    world.run(1.0)
    assert missing(world)[0] > 50
