"""Ladders and charts: everything that is to be seen lies within the picture, at its place."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.console.portal.charts import LEFT, LYING, PLOT_HEIGHT, ROW, TOP, WIDTH, Series, lying, upright
from appliance.console.portal.ladder import HEAD, LEGS_MAX, Ladder, heard, ladder
from appliance.history.legs import Quality
from appliance.history.model import Call, Leg
from tests.unit.console.past import call, of_a_group, usual
from tests.unit.history.samples import calls

SAMPLES = [*usual(), *calls(60, seed=9)]


def drawn(made: Call) -> Ladder:
    def name(leg: Leg) -> tuple[str, str]:
        return leg.extension or leg.trunk, leg.device

    return ladder(made, name)


@pytest.mark.parametrize("made", SAMPLES, ids=lambda made: made.linked_id)
def test_a_ladder_has_every_leg_and_everything_that_happened_in_order(made: Call) -> None:
    picture = drawn(made)
    legs = min(len(made.legs), LEGS_MAX)
    assert len(picture.columns) == legs + 1
    assert picture.left_out == len(made.legs) - legs
    assert [column.system for column in picture.columns].count(True) == 1
    xs = [column.x for column in picture.columns]
    assert xs == sorted(set(xs))
    assert 0 < xs[0] < xs[-1] < picture.width - 70
    times = [float(rung.time[1:-2]) for rung in picture.rungs]
    assert times == sorted(times)
    ys = [rung.y for rung in picture.rungs]
    assert ys == sorted(set(ys))
    assert HEAD < ys[0] <= ys[-1] < picture.bottom < picture.height
    for rung in picture.rungs:
        assert {rung.x1, rung.x2} <= set(xs)
        assert rung.text
    if not picture.left_out:
        happened = sum(1 + (leg.answered is not None) + (leg.ended is not None) for leg in made.legs)
        assert len(picture.rungs) == happened + len(made.transfers)
    for stretch in picture.stretches:
        assert HEAD <= stretch.top < stretch.bottom <= picture.bottom
        assert stretch.x in xs


def test_arrows_point_from_who_acts() -> None:
    picture = drawn(call())
    caller, system, called = (column.x for column in picture.columns)
    assert [(rung.x1, rung.x2, rung.text) for rung in picture.rungs] == [
        (caller, system, "calls 301"),
        (system, called, "is called"),
        (called, system, "answers"),
        (system, caller, "is connected"),
        (caller, caller, "ends"),
        (called, called, "ends"),
    ]
    assert [stretch.what for stretch in picture.stretches] == ["ringing", "talking"] * 2


def test_of_a_large_group_those_are_drawn_that_tell_most() -> None:
    picture = drawn(of_a_group(0, members=200))
    titles = [column.title for column in picture.columns]
    assert {"line", "201", "301"} <= set(titles)
    assert picture.left_out == 203 - LEGS_MAX
    assert [(rung.text, rung.x1) for rung in picture.rungs if rung.what == "transfer"] == [
        ("201 passed +390200000777 to 301", picture.columns[titles.index("201")].x)
    ]


@pytest.mark.parametrize(
    ("quality", "bad"),
    [
        (Quality(1000, 1000, 0, 0, 1.0, 1.0, 20.0), False), (Quality(970, 1000, 30, 0, 1.0, 1.0, None), True),
        (Quality(1000, 1000, 0, 31, 1.0, None, None), True), (Quality(1000, 1000, 0, None, 30.0, None, None), True),
        (Quality(0, 0, 0, None, 0.0, None, None), False), (Quality(1000, 0, 0, 5, 1.0, 44.0, None), True),
    ],
)  # fmt: skip
def test_what_people_heard(quality: Quality, bad: bool) -> None:
    assert heard(quality) == bad


@given(st.lists(st.tuples(*[st.integers(0, 10**7)] * 3), min_size=1, max_size=60))
def test_bars_are_as_long_as_their_values_and_stay_in_the_picture(values: list[tuple[int, ...]]) -> None:
    labels = [f"bar {n}" for n in range(len(values))]
    series = [Series(name, name, [row[at] for row in values]) for at, name in enumerate(("a", "b", "c"))]
    standing = upright(labels, series)
    for box in standing.boxes:
        assert LEFT <= box.x < box.x + box.width <= WIDTH + 1
        assert TOP - 0.2 <= box.y <= box.y + box.height <= TOP + PLOT_HEIGHT + 0.2
    greatest = max(map(sum, values))
    flat = lying(labels, series, labels)
    assert all(box.x >= 0 and box.x + box.width <= LYING and box.y + box.height <= flat.height for box in flat.boxes)
    by_row = {y: sum(box.width for box in group) for y, group in itertools.groupby(flat.boxes, key=lambda box: box.y)}
    if greatest:
        longest = max(by_row.values())
        for at, row in enumerate(values):
            assert by_row.get(ROW * at + 18, 0) == pytest.approx(longest * sum(row) / greatest, abs=0.6)
    assert all(0 <= text.x <= LYING and 0 <= text.y <= flat.height for text in flat.texts)
    ticks = [text.text for text in standing.texts if text.anchor == "end"]
    assert [int(tick) for tick in ticks] == sorted({int(tick) for tick in ticks})
    assert int(ticks[-1]) >= greatest


def test_an_axis_of_shares_ends_at_a_hundred() -> None:
    chart = upright(["a", "b"], [Series("x", "x", [12.5, 250])], " %", 100)
    assert [text.text for text in chart.texts if text.anchor == "end"] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert max(box.height for box in chart.boxes) == PLOT_HEIGHT
    assert chart.boxes[0].told == "a: x 12.5 %"
