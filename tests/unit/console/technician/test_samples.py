"""How lines were, and the drawing of it."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.console.technician.graphs import HEIGHT, WIDTH, graph
from appliance.console.technician.samples import EVERY_S, KEPT, Sample, Samples, best_ways
from appliance.core.errors import UnavailableError


def way(mos: float) -> dict[str, Any]:
    return {"loss": 0.01, "late_ms": 1.0, "jitter_ms": 1.0, "mos": mos}


def line(
    number: int, *, up: bool = True, best: bool = False, cut: bool = False, mos: float = 4.4, centre: str = ""
) -> dict[str, Any]:
    return {
        "line": number, "up": up, "best": best, "cut": cut, "centre": centre, "rtt_ms": 10.0 if up else None,
        "to_centre": way(mos) if up else None, "from_centre": way(mos - 0.2) if up else None,
    }  # fmt: skip


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[dict[str, Any]] | None = []
        self.samples = Samples(self.status, lambda: self.now)

    def status(self) -> dict[str, Any]:
        if self.lines is None:
            raise UnavailableError("no edge runs here", "", error_id="edge_not_running")
        return {"lines": self.lines}

    def after(self, *lines: dict[str, Any]) -> None:
        self.now += EVERY_S
        self.lines = list(lines)
        self.samples.look()


def test_of_several_addresses_the_one_that_works_counts() -> None:
    found = best_ways({"lines": [line(2), line(1, up=False), line(1, centre="second"), line(1, up=False)]})
    assert list(found) == [1, 2]
    assert found[1]["centre"] == "second"


def test_samples_are_kept_for_ten_minutes_and_a_line_that_is_gone_is_forgotten() -> None:
    world = World()
    for number in range(KEPT + 5):
        world.after(line(1, mos=4.0), line(2, up=number % 2 == 0))
    assert len(world.samples.of(1)) == KEPT
    assert world.samples.of(1)[0].at == 6 * EVERY_S
    assert {each.up for each in world.samples.of(2)} == {True, False}
    assert all(each.to is None for each in world.samples.of(2) if not each.up)
    world.after(line(2))
    assert world.samples.of(1) == []


def test_an_edge_that_doesnt_answer_leaves_a_gap() -> None:
    world = World()
    world.after(line(1))
    world.lines = None
    for _ in range(10):
        world.now += EVERY_S
        world.samples.look()
    world.after(line(1))
    world.after(line(1))
    drawn = graph(world.samples.of(1), world.now)
    assert drawn.to.count("M") == 2, "nothing is drawn across it"
    assert drawn.to.count("L") == 1
    assert drawn.downs == ()


def test_what_is_drawn() -> None:
    samples = [Sample(at, True, 4.5, 1.0, 0.0, 1.0) for at in (0.0, 2.0)]
    samples += [Sample(at, False, None, None, None, None) for at in (4.0, 6.0)]
    samples += [Sample(8.0, True, 4.4, 4.2, 0.0, 1.0)]
    drawn = graph(samples, 8.0)
    end = [float(each) for each in drawn.to.rpartition("M")[2].split()]
    assert end[0] == WIDTH, "now is at the right"
    assert drawn.to.split()[1] == "0.0", "the best is at the top"
    assert drawn.back.split()[1] == f"{HEIGHT:.1f}", "the worst at the bottom"
    ((x, width),) = drawn.downs
    step = WIDTH / KEPT
    assert (x, width) == (pytest.approx(WIDTH - 2 * step, abs=0.1), pytest.approx(2 * step, abs=0.1))
    assert (drawn.lowest, drawn.last) == (1.0, 4.2)
    assert 0 < drawn.good < drawn.fair < HEIGHT
    assert drawn.to.count("M") == 2


def test_nothing_is_drawn_of_nothing() -> None:
    drawn = graph([], 0.0)
    assert (drawn.to, drawn.back, drawn.downs, drawn.lowest, drawn.last) == ("", "", (), None, None)
