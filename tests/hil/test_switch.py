"""A branch whose calls go by one line at a time (``copies: never``): another takes over within a second, and somebody can say why."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.failover.relay.best import HOLD_S
from tests.hil.agents.process import eventually
from tests.hil.agents.relay import Protected

GAP_S = 1.0


@pytest.fixture
def world() -> Iterator[Protected]:
    """One of its own for each: a line that failed a moment ago is held back for twice as long."""
    with Protected("never") as made:
        eventually(lambda: by(made) == [0, 0] and known(made), "voice goes by the primary", 30)
        yield made


def ends(world: Protected) -> list[dict[str, Any]]:
    """What the edge's relay tells, and what the centre's does of it."""
    return [world.standing("edge"), world.standing("centre")["sites"]["bari"]]


def by(world: Protected) -> list[int | None]:
    """Path by which each end sends; nothing yet: empty."""
    try:
        return [each["best"] for each in ends(world)]
    except KeyError:
        return []


def known(world: Protected) -> bool:
    """Whether each end has word from the other of all lines."""
    return all(path["out"] for each in ends(world) for path in each["paths"])


def last(world: Protected) -> list[str]:
    """Why each end took the line that it has."""
    return [each["decisions"][-1]["why"] for each in ends(world)]


def carried(world: Protected, path: int) -> list[int]:
    """Packets that each end has sent by a path."""
    return [each["paths"][path]["out"]["packets"] for each in ends(world)]


@pytest.mark.parametrize("towards", [("centre", "edge"), ("centre",), ("edge",)], ids=["both", "up", "down"])
def test_the_line_dies_and_voice_is_back_within_a_second(world: Protected, towards: tuple[str, ...]) -> None:
    before = carried(world, 1)
    expected = [int("centre" in towards), int("edge" in towards)]
    with world.stream() as stream:
        time.sleep(3)
        assert all(now - then < 60 for now, then in zip(carried(world, 1), before, strict=True)), "nothing is copied"
        with contextlib.ExitStack() as harm:
            for each in towards:
                harm.enter_context(world.dropping("primary", each))
            time.sleep(3)
            assert by(world) == expected, "each way by itself"
        if len(towards) == 2:  # it takes its time
            eventually(lambda: by(world) == [0, 0], "it is come back to", 3 * HOLD_S)
            time.sleep(1)
    up, down = stream.missing()
    assert stream.gap_s() < GAP_S
    assert [bool(up), bool(down)] == expected, "and what was well goes on"
    assert len(towards) < 2 or last(world) == ["back", "back"]


def test_a_line_that_loses_is_left_within_five_seconds_and_it_is_told_why(world: Protected) -> None:
    some = "numgen random mod 100 < 3"
    with world.stream() as stream:
        time.sleep(1)
        with world.dropping("primary", "centre", some), world.dropping("primary", "edge", some):
            eventually(lambda: by(world) == [1, 1], "it is left", 6)  # each tells once a second
            assert last(world) == ["loss", "loss"]
            for each in ends(world):
                left, taken = each["decisions"][-1]["seen"]
                assert (left["path"], taken["path"]) == (0, 1)
                assert left["loss"] > 0.01
            sent = stream.sent[0]
            time.sleep(4)
        assert by(world) == [1, 1], "and stays so"
    up, down = stream.missing()
    assert not [number for number in up + down if number > sent], "nothing more is lost"


def test_a_relay_that_is_killed_goes_on_by_the_same_line(world: Protected) -> None:
    with world.stream() as stream:
        for end in ("edge", "centre"):
            time.sleep(1)
            world.kill_relay(end)
        time.sleep(2)
        assert by(world) == [0, 0]
    assert all(len(each) <= 8 for each in stream.missing()), "what a relay had in its hand"
