"""A clock that can't be right signs nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from appliance.core.errors import RefusedError
from appliance.vpn.pki.lifetimes import YEAR
from appliance.vpn.pki.timekeeping import AHEAD, BEHIND, RELEASED, Timekeeper
from tests.unit.vpn.ground import DAY, START, Ground, SetClock, csr
from tests.unit.vpn.test_pki_authority import refused


@pytest.mark.parametrize("now", [datetime.fromtimestamp(0, START.tzinfo), RELEASED - 2 * DAY, RELEASED + 11 * YEAR])
def test_no_authority_is_made_by_a_clock_that_was_never_set(tmp_path: Path, now: datetime) -> None:
    ground = Ground(tmp_path, made=False)
    ground.clock.now = now
    with refused(RefusedError, "clock_wrong"):
        ground.authority.create()
    assert not ground.authority.exists


@pytest.mark.parametrize(
    ("step", "good"),
    [
        (-BEHIND, True), (-BEHIND - timedelta(seconds=1), False), (-10 * YEAR, False), (AHEAD, True),
        (AHEAD + timedelta(seconds=1), False), (10 * YEAR, False),
    ],
)  # fmt: skip
def test_how_far_a_clock_may_jump(ground: Ground, step: timedelta, good: bool) -> None:
    ground.clock.pass_(step)
    if good:
        ground.authority.enrol("milan", csr())
        return
    with refused(RefusedError, "clock_wrong"):
        ground.authority.enrol("milan", csr())
    assert ground.authority.issued("milan") == []
    assert "clock_wrong" in ground.alarms()


def test_the_floor_survives_and_rises(ground: Ground) -> None:
    ground.clock.pass_(100 * DAY)
    ground.authority.upkeep()
    ground.again()
    ground.clock.pass_(-3 * DAY)
    with refused(RefusedError, "clock_wrong"):
        ground.authority.enrol("milan", csr())


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"seen": "soon"}', b'{"seen": 1e999}', b"[]"])
def test_a_damaged_note_leaves_the_floors_that_are_known(ground: Ground, damage: bytes) -> None:
    (ground.paths.ca / "clock.json").write_bytes(damage)
    ground.clock.pass_(-2 * DAY)
    with refused(RefusedError, "clock_wrong"):
        ground.authority.enrol("milan", csr())
    ground.clock.pass_(2 * DAY)
    ground.authority.enrol("milan", csr())


def test_people_have_the_last_word_within_reason(ground: Ground) -> None:
    ground.clock.pass_(300 * DAY)
    ground.authority.upkeep()  # believed, and wrong
    ground.clock.now = START + DAY
    with refused(RefusedError, "clock_wrong"):
        ground.authority.enrol("milan", csr())
    assert ground.authority.trust_clock() == START + DAY
    ground.authority.enrol("milan", csr())
    for wrong in (RELEASED - 10 * DAY, RELEASED + 40 * YEAR):
        ground.clock.now = wrong
        with refused(RefusedError, "clock_wrong"):
            ground.authority.trust_clock()


def test_a_wrong_time_is_never_noted(tmp_path: Path) -> None:
    clock = SetClock(RELEASED + 20 * YEAR)
    keeper = Timekeeper(tmp_path / "clock.json", clock)
    keeper.note()
    assert keeper.floor() == RELEASED
    clock.now = RELEASED + DAY
    keeper.note()
    assert keeper.floor() == RELEASED + DAY
    assert keeper.best() == clock.now
