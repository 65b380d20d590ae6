"""Which way is the best: over thousands of simulated hours, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.failover.relay.best import (
    BETTER_MOS,
    HOLD_MAX_S,
    HOLD_S,
    LEFT_LATE_MS,
    LEFT_LOSS,
    SETTLED_S,
    Best,
    Decision,
    Why,
    pace,
    worth,
)
from appliance.failover.relay.channel import Way
from appliance.failover.relay.wire import Role

STATES = {
    # share lost, late (ms), round trip (ms); None: dead
    "good": (0.0, 2.0, 20.0),
    "slower": (0.0, 5.0, 90.0),
    "uneven": (0.004, 25.0, 30.0),
    "lossy": (0.03, 3.0, 20.0),
    "lossier": (0.2, 3.0, 20.0),
    "late": (0.0, 60.0, 40.0),
    "far": (0.0, 5.0, 1500.0),
    "dead": None,
}


def is_now(way: Way, state: str, now: float, *, capped: bool = False) -> None:
    """What the other end says of it."""
    seen, found = way.outlook, STATES[state]
    way.capped = capped
    if found is None:
        if seen.silent_ms < 1000:
            seen.silent_ms = 60_000
        return
    seen.loss, seen.late_ms, seen.rtt_ms = found
    seen.lost, seen.silent_ms, seen.at = round(100 * found[0]), 10, now


def silent(way: Way) -> bool:
    return way.outlook.silent_ms > 1000


def times(length: float) -> Iterator[float]:
    """Four looks a second for a while, and then fewer: nothing changes but what waits for its time."""
    at = 0.0
    while at < length:
        yield at
        at += 0.25 if at < 10 else 15.0


LIVES = st.lists(
    st.tuples(
        st.sampled_from([0.5, 3.0, 6.0, 30.0, 400.0, 3 * 3600.0]),
        st.tuples(*(st.tuples(st.sampled_from(sorted(STATES)), st.booleans()) for _ in range(3))),
    ),
    min_size=4,
    max_size=40,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LIVES, st.permutations(list(Role)), st.booleans())
def test_it_never_sits_on_a_dead_line_leaves_none_for_a_worse_one_and_doesnt_go_to_and_fro(
    lives: list[tuple[float, tuple[tuple[str, bool], ...]]], roles: list[Role], idle: bool
) -> None:
    ways, best, now = [Way(path, role) for path, role in enumerate(roles)], Best(), 1000.0
    made: list[Decision] = []
    for length, states in lives:
        for after in times(length):
            for way, (state, capped) in zip(ways, states, strict=True):
                is_now(way, state, now + after, capped=capped and way.role is Role.METERED)
            before = best.way
            way = best.choose(ways, now + after, idle=idle)
            assert way is not None
            assert not silent(way) or all(map(silent, ways))
            if way is not before:
                made.append(best.decisions[-1])
                explained(made[-1], before, way, now + after)
        now += length
    assert len(made) >= 1
    back = [each for each in made if each.why is Why.BACK]
    for one, other in pairwise(back):
        assert other.at - one.at >= other.held_s >= HOLD_S
    for one, other in pairwise(made):
        assert other.at - one.at >= SETTLED_S or other.why in (Why.SILENT, Why.BACK)


def explained(made: Decision, before: Way | None, way: Way, now: float) -> None:
    """What is said of a change is what was so."""
    assert (made.at, made.left, made.taken) == (now, None if before is None else before.path, way.path)
    if before is None:
        assert made.why is Why.FIRST
        return
    left, taken = made.seen
    assert (left["path"], taken["path"]) == (before.path, way.path)
    match made.why:
        case Why.SILENT:
            assert silent(before)
        case Why.LOSS:
            assert left["loss"] > LEFT_LOSS
        case Why.LATE:
            assert left["late_ms"] > LEFT_LATE_MS
        case Why.QUALITY:
            assert left["mos"] < 3.6
        case Why.CAPPED:
            assert before.capped
        case Why.BACK:
            assert (way.role, way.path) < (before.role, before.path) or before.capped
        case _:
            pytest.fail(f"nobody went away: {made}")
    fine = taken["mos"] >= 3.6 and taken["loss"] <= LEFT_LOSS and taken["late_ms"] <= LEFT_LATE_MS and not way.capped
    assert fine or silent(before) or before.capped or taken["mos"] >= left["mos"] + BETTER_MOS - 0.01


def test_a_line_that_flaps_is_come_back_to_later_and_later_but_within_bounds() -> None:
    ways, best, now = [Way(0), Way(1, Role.BACKUP)], Best(), 0.0
    waits = []
    for _flap in range(12):
        since = None
        while best.way is not ways[0]:
            now += 0.25
            since = now if since is None else since
            for way in ways:
                is_now(way, "good", now)
            best.choose(ways, now, idle=False)
        waits.append(0.0 if since is None else now - since)
        for _step in range(40):
            now += 0.25
            is_now(ways[0], "dead", now)
            is_now(ways[1], "good", now)
            best.choose(ways, now, idle=False)
        assert best.way is ways[1]
    assert waits[1:4] == [HOLD_S, 2 * HOLD_S, 4 * HOLD_S]
    assert waits[-1] == HOLD_MAX_S
    # An hour of quiet: it begins anew.
    for _step in range(4 * 3600):
        now += 0.25
        for way in ways:
            is_now(way, "good", now)
        best.choose(ways, now, idle=False)
    is_now(ways[0], "dead", now + 1)
    is_now(ways[1], "good", now + 1)
    best.choose(ways, now + 1, idle=False)
    assert best.decisions[-1].held_s == HOLD_S


def test_a_single_packet_that_is_lost_is_no_reason() -> None:
    ways, best = [Way(0), Way(1, Role.BACKUP)], Best()
    for now in range(10):
        for way in ways:
            is_now(way, "good", now)
        if now > 5:
            ways[0].outlook.loss, ways[0].outlook.lost = 0.5, 1
        assert best.choose(ways, now, idle=True) is ways[0]


def test_a_packet_without_word_of_it_is_silence_long_before_a_report_says_so() -> None:
    ways, best = [Way(0), Way(1, Role.BACKUP)], Best()
    for now in (0.0, 1.0):
        for way in ways:
            is_now(way, "good", now)
        best.choose(ways, now, idle=False)
    assert best.way is ways[0]
    ways[0].sends(1.0)
    assert best.choose(ways, 1.0 + pace(Role.PRIMARY, idle=False), idle=False) is ways[0]
    for way in ways:
        is_now(way, "good", 1.55)
    assert best.choose(ways, 1.55, idle=False) is ways[1]
    assert best.decisions[-1].why is Why.SILENT
    told = best.decisions[-1].told(2.05)
    assert (told["ago_s"], told["left"], told["taken"], told["why"]) == (0.5, 0, 1, "silent")
    assert [each["mos"] for each in told["seen"]] == [round(worth(way), 2) for way in ways]
