"""Both ends of a pair that copies nothing: one line at a time, and another within a second."""

from __future__ import annotations

import pytest

from appliance.failover.relay.best import HOLD_S, Decision, Why
from appliance.failover.relay.wire import AROUND, Copying, Role
from tests.unit.failover.relay_world import SITE, Line, World

BY = {"both ways": ("up", "down"), "up": ("up",), "down": ("down",)}


def world_of(*lines: Line) -> World:
    world = World(dict(enumerate(lines)), Copying.NEVER)
    world.run(1.0)
    world.talk(10.0)
    world.run(0.1)
    assert world.lost() == (0, 0)
    return world


def decisions(world: World) -> tuple[list[Decision], list[Decision]]:
    """What the edge and the centre decided."""
    return list(world.edge.best.decisions), list(world.centre.sessions[SITE].chooser.best.decisions)


def test_voice_goes_by_one_line_and_keys_by_both() -> None:
    world = world_of(Line(), Line(Role.BACKUP, delay=0.05))
    assert {path for path, datagram, _up in world.seen if len(datagram) == 200 + AROUND} == {0}
    sent = len(world.seen)
    world.edge.client(bytes((4 << 3,)).ljust(100, b"k"), 0, world.now)
    for path, datagram, _tos in world.edge.client(bytes((4 << 3,)).ljust(100, b"k"), 0, world.now):
        world.seen.append((path, datagram, True))
    assert {path for path, _datagram, _up in world.seen[sent:]} == {0, 1}


@pytest.mark.parametrize("delay", [0.02, 0.035, 0.055])
@pytest.mark.parametrize("dies", BY)
def test_the_line_dies_and_within_seven_tenths_of_a_second_voice_is_back(dies: str, delay: float) -> None:
    world = world_of(Line(), Line(Role.BACKUP, delay=delay))
    for way in BY[dies]:
        setattr(world.lines[0], way, False)
    world.talk(10.0)
    world.run(1.0)
    lost = world.lost()
    assert max(lost) <= 35, "of fifty a second"
    assert (lost[0] > 0, lost[1] > 0) == ("up" in BY[dies], "down" in BY[dies]), "what arrives goes on as it did"
    for way in BY[dies]:
        setattr(world.lines[0], way, True)
    world.talk(3 * HOLD_S)
    world.run(1.0)
    assert world.lost() == lost, "to come back costs nothing"
    for made, way in zip(decisions(world), ("up", "down"), strict=True):
        assert [each.why for each in made] == [Why.FIRST, *([Why.SILENT, Why.BACK] if way in BY[dies] else [])]


@pytest.mark.parametrize("harm", ["loss", "jitter"])
def test_a_line_that_is_bad_is_left_within_five_seconds_and_come_back_to_after_its_hold(harm: str) -> None:
    for seed in range(8):
        world = World({0: Line(), 1: Line(Role.BACKUP, delay=0.02)}, Copying.NEVER, seed)
        world.talk(10.0)
        setattr(world.lines[0], harm, 0.03 if harm == "loss" else 0.12)
        began = world.now
        world.talk(30.0)
        well_at = world.now
        setattr(world.lines[0], harm, 0.0)
        world.talk(40.0)
        for made in decisions(world):
            whys = [each.why for each in made]
            assert whys[0] == Why.FIRST
            assert whys[1] in ((Why.LOSS,) if harm == "loss" else (Why.LOSS, Why.LATE)), (
                seed,
                made,
            )  # what comes after a later one isn't there yet
            assert made[1].at - began < 5, (seed, made)
            assert whys[2:] == [Why.BACK], (seed, made)
            assert made[2].at - well_at >= HOLD_S - 4, "the last that it lost may have been lost some seconds before"


def test_a_line_that_flaps_for_five_minutes_is_come_back_to_at_most_once() -> None:
    world = world_of(Line(), Line(Role.BACKUP, delay=0.02))
    for _flap in range(30):
        world.lines[0].up = world.lines[0].down = False
        world.talk(5.0)
        world.lines[0].up = world.lines[0].down = True
        world.talk(5.0)
    for made in decisions(world):
        assert len(made) - 1 <= 3
    assert max(world.lost()) <= 2 * 35


def test_a_relay_that_was_started_anew_goes_on_by_the_line_that_it_was_on() -> None:
    world = world_of(Line(), Line(Role.BACKUP, delay=0.02))
    state, epoch = world.edge.state(), world.edge.epoch
    world.edge = world.new_edge(epoch)
    world.edge.resume(state, world.now)
    sent = len(world.seen)
    world.talk(5.0)
    world.run(1.0)
    assert max(world.lost()) == 0
    assert {path for path, datagram, _up in world.seen[sent:] if len(datagram) == 200 + AROUND} == {0}
    assert [each.why for each in decisions(world)[1]] == [Why.FIRST]
    assert {each.taken for each in decisions(world)[0]} == {0}
