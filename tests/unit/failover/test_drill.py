"""What each line would have done by itself, month by month."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import CorruptError
from appliance.failover import drill as drill_module
from appliance.failover.drill import ENOUGH, LOOK_S, MISSED_S, MONTHS, WRITE_S, Drill, judged
from appliance.failover.relays import LineStanding


def line(id: str, up: bool | None = True, **more: Any) -> LineStanding:
    return LineStanding(1, id, id.title(), "primary", up=up, **more)


class World:
    """A drill, a clock, and lines that are as the test says."""

    def __init__(self, folder: Path, at: str = "2026-11-10") -> None:
        self.folder = folder
        self.uptime = 1000.0
        self.ahead = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() - self.uptime
        self.lines: dict[str, list[LineStanding]] = {}
        self.drill = Drill(folder, lambda: self.uptime + self.ahead, lambda: self.uptime)
        self.drill.look(lambda: self.lines)

    def passes(self, seconds: float, **lines: list[LineStanding]) -> None:
        self.lines = lines
        for _ in range(round(seconds / LOOK_S)):
            self.uptime += LOOK_S
            self.drill.look(lambda: self.lines)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "drill")


@pytest.mark.parametrize(
    ("standing", "wanted"),
    [
        (line("a", up=None), None), (line("a", up=False, rtt_ms=5), "down"), (line("a"), "good"), (line("a", rtt_ms=30.0, loss_up=0.0), "good"),
        (line("a", loss_up=0.03, loss_down=0.0), "good"), (line("a", loss_up=0.0, loss_down=0.06), "fair"), (line("a", loss_down=0.5), "poor"),
        (line("a", rtt_ms=400.0), "fair"), (line("a", rtt_ms=1400.0), "poor"),
    ],
)  # fmt: skip
def test_a_line_is_judged_as_if_it_were_the_only_one(standing: LineStanding, wanted: str | None) -> None:
    assert judged(standing) == wanted


def test_a_month_is_told_worst_line_first(world: World) -> None:
    fine, bad = line("fibre"), line("lte", loss_up=0.5)
    world.passes(900, torino=[fine, bad], roma=[line("dsl")])
    world.passes(100, torino=[line("fibre", up=False), bad], roma=[line("dsl", up=None)])
    world.passes(20, torino=[fine, bad], roma=[line("dsl")])
    world.passes(30, torino=[line("fibre", up=False), line("lte", up=False)], roma=[])
    rows = world.drill.report("2026-11")
    assert [(row.site, row.line, row.share) for row in rows] == [
        ("torino", "lte", 0.0),
        ("torino", "fibre", pytest.approx(920 / 1050)),
        ("roma", "dsl", 1.0),
    ]
    lte, fibre, dsl = rows
    assert (fibre.outages, fibre.longest_s, fibre.down_s, fibre.alone_s) == (2, 100, 130, 0)
    assert (lte.outages, lte.poor_s, lte.down_s, lte.alone_s) == (1, 1020, 30, 100)
    assert (dsl.watched_s, dsl.alone_s, dsl.name) == (920, 0, "Dsl"), (
        "an only line carries nothing for another, and who isn't known isn't counted"
    )
    assert [row.enough for row in rows] == [False, False, True]
    assert world.drill.months() == ["2026-11"]
    assert world.drill.report("2026-10") == []
    assert 0.98 < ENOUGH < 1


def test_another_process_goes_on_where_this_one_ended(world: World) -> None:
    world.passes(300, torino=[line("fibre")])
    other = World(world.folder)
    other.passes(60, torino=[line("fibre", up=False)])
    [row] = other.drill.report("2026-11")
    assert 300 - WRITE_S <= row.watched_s - 60 <= 300
    assert row.outages == 1


def test_what_nobody_watched_isnt_counted(world: World) -> None:
    world.passes(100, torino=[line("fibre")])
    world.uptime += MISSED_S + 1
    world.passes(50, torino=[line("fibre")])
    assert world.drill.report("2026-11")[0].watched_s == 150 - LOOK_S


def test_months_turn_and_the_oldest_go(tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    folder.mkdir()
    for year in (2024, 2025):
        for month in range(1, 13):
            (folder / f"{year}-{month:02d}.json").write_text("{}")
    world = World(folder, "2026-11-30T23:59:00")
    world.passes(120, torino=[line("fibre", up=False)])
    assert world.drill.months()[:2] == ["2026-12", "2026-11"]
    assert len(world.drill.months()) <= MONTHS + 1
    for month in ("2026-11", "2026-12"):
        [row] = world.drill.report(month)
        assert row.outages == 1
    assert [world.drill.report(month)[0].watched_s for month in ("2026-11", "2026-12")] == [60 - LOOK_S, 60 + LOOK_S]


def test_a_clock_that_jumps_moves_the_month_and_no_seconds(world: World) -> None:
    world.passes(100, torino=[line("fibre")])
    world.ahead -= 40 * 86400
    world.passes(100, torino=[line("fibre")])
    assert {month: world.drill.report(month)[0].watched_s for month in world.drill.months()} == {
        "2026-11": 100,
        "2026-10": 100,
    }


@pytest.mark.parametrize(
    "garbage", [b"", b"[]", b'{"torino": 1}', b'{"torino": {"fibre": {"good": 1}}}', b"\xff", b"[" * 99999]
)
def test_a_file_of_garbage_is_put_aside_and_said_once(tmp_path: Path, garbage: bytes) -> None:
    folder = tmp_path / "drill"
    folder.mkdir()
    (folder / "2026-11.json").write_bytes(garbage)
    with pytest.raises(CorruptError) as error:
        World(folder)
    assert "2026-11.broken" in error.value.hint
    assert (folder / "2026-11.broken").read_bytes() == garbage
    world = World(folder)
    world.passes(100, torino=[line("fibre")])
    assert json.loads((folder / "2026-11.json").read_text())["torino"]["fibre"]["good"] > 0


def test_with_a_full_disk_it_is_counted_on_and_written_when_it_can_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    told = 0
    with monkeypatch.context() as patch:
        patch.setattr(drill_module, "put", full)
        for _ in range(round(300 / LOOK_S)):
            try:
                world.passes(LOOK_S, torino=[line("fibre")])
            except OSError:
                told += 1
    assert told == 300 / WRITE_S
    world.passes(WRITE_S, torino=[line("fibre")])
    assert World(world.folder).drill.report("2026-11")[0].watched_s == 360


@pytest.mark.parametrize("bad", [False, True])
def test_on_the_first_of_a_month_whoever_gets_alarms_is_told_of_the_last(tmp_path: Path, bad: bool) -> None:
    world = World(tmp_path / "drill", "2026-10-31T23:50:00")
    world.passes(300, torino=[line("fibre"), line("lte", up=not bad)])
    assert world.drill.alarms() == ()
    world.passes(600, torino=[line("fibre"), line("lte")])
    [alarm] = world.drill.alarms()
    assert (alarm.error_id, alarm.severity) == ("line_report", "warning")
    assert alarm.hint == "centralino vpn drill 2026-10 tells of each"
    assert alarm.message == (
        "report of 2026-10: 1 of 2 lines wouldn't have carried calls by themselves, least of all Lte of torino: well for 49.8 % of the time"
        if bad else "report of 2026-10: each of 2 lines would have carried calls by itself"
    )  # fmt: skip
    world.passes(86400)
    assert world.drill.alarms() == ()


def test_who_has_no_lines_is_told_nothing(tmp_path: Path) -> None:
    world = World(tmp_path / "drill", "2026-10-31T23:50:00")
    world.passes(1200)
    assert world.drill.alarms() == ()
    assert world.drill.months() == []
    assert not (tmp_path / "drill").exists()
