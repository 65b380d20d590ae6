"""An edge's clock: never below what was sure, one step per start, and garbage in it locks nobody out."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.clock import HOUR, Moment
from appliance.core.errors import RefusedError, UnavailableError
from appliance.edge.clock import EdgeClock
from appliance.vpn.pki.timekeeping import RELEASED

NOW = datetime(2027, 6, 1, tzinfo=UTC)
BEGINS, ENDS = datetime(2027, 3, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)
YEARS = timedelta(days=3652)


def ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)


@dataclass
class Machine:
    """A machine whose clock can be set, and that can be started anew."""

    wall: int
    uptime: int = 1000
    boot: str = "first"
    steps: list[int] = field(default_factory=list)

    def __call__(self) -> Moment:
        return Moment(self.wall, self.uptime, self.boot)

    def set(self, wall: int) -> None:
        self.steps.append(wall)
        self.wall = wall

    def pass_(self, time: int) -> None:
        self.wall += time
        self.uptime += time

    def restart(self, wall: datetime) -> None:
        self.boot, self.uptime, self.wall = self.boot + "'", 1000, ms(wall)


def edge(tmp_path: Path, wall: datetime) -> tuple[Machine, EdgeClock]:
    machine = Machine(ms(wall))
    return machine, EdgeClock(tmp_path / "clock.json", machine.set, machine)


def test_a_clock_without_battery_begins_when_the_certificate_did(tmp_path: Path) -> None:
    machine, clock = edge(tmp_path, datetime(1970, 1, 1, tzinfo=UTC))
    clock.start(BEGINS, ENDS)
    assert machine.steps == [ms(BEGINS)]
    machine, clock = edge(tmp_path, datetime(1970, 1, 1, tzinfo=UTC))
    clock.start(None, None)
    assert machine.steps == [ms(RELEASED)]
    machine, clock = edge(tmp_path, NOW)
    clock.start(BEGINS, ENDS)
    assert machine.steps == []


@pytest.mark.parametrize("wrong", [NOW - YEARS, NOW + YEARS])
def test_ten_years_wrong_it_is_set_once_by_the_centre(tmp_path: Path, wrong: datetime) -> None:
    machine, clock = edge(tmp_path, wrong)
    clock.start(BEGINS, ENDS)
    assert BEGINS.timestamp() * 1000 <= machine.wall < ms(ENDS)
    assert not clock.sure
    clock.told(ms(NOW), machine.uptime, machine.uptime)
    assert machine.wall == ms(NOW)
    assert clock.sure
    assert clock.floor() == ms(NOW)
    # Again, years off: once per start is enough.
    with pytest.raises(RefusedError) as told:
        clock.told(ms(NOW + YEARS), machine.uptime, machine.uptime)
    assert told.value.error_id == "time_refused"
    assert machine.wall == ms(NOW)
    again = EdgeClock(clock.file, machine.set, machine)  # killed and started: still the same start of the machine
    again.start(BEGINS, ENDS)
    assert again.sure
    with pytest.raises(RefusedError):
        again.told(ms(NOW + YEARS), machine.uptime, machine.uptime)
    machine.restart(datetime(1970, 1, 1, tzinfo=UTC))
    later = EdgeClock(clock.file, machine.set, machine)
    later.start(BEGINS, ENDS)
    assert machine.wall == ms(NOW)
    assert not later.sure
    later.told(ms(NOW + timedelta(days=90)), machine.uptime, machine.uptime)
    assert machine.wall == ms(NOW + timedelta(days=90))


def test_never_below_what_was_sure(tmp_path: Path) -> None:
    machine, clock = edge(tmp_path, NOW)
    clock.told(ms(NOW), machine.uptime, machine.uptime)
    machine.pass_(3 * HOUR)
    clock.save(often=True)
    floor = clock.floor()
    assert floor == ms(NOW) + 3 * HOUR
    machine.restart(NOW)
    other = EdgeClock(clock.file, machine.set, machine)
    other.start(BEGINS, ENDS)
    assert machine.wall == floor
    with pytest.raises(RefusedError):
        other.told(ms(NOW - YEARS), machine.uptime, machine.uptime)
    assert machine.wall == floor
    other.told(floor - 60_000, machine.uptime, machine.uptime)  # a minute behind: clocks differ
    assert machine.wall == floor


def test_what_a_garbled_clock_says_is_nobody_s_floor(tmp_path: Path) -> None:
    machine, clock = edge(tmp_path, NOW + YEARS)
    clock.save()
    machine.pass_(HOUR)
    clock.save(often=True)
    assert not clock.file.exists()
    for garbage in (
        b"",
        b"garbage",
        b"[]",
        b'{"floor": "x"}',
        b'{"floor": 1e99}',
        b'{"floor": -1}',
        b'{"floor": 99999999999999}',
    ):
        clock.file.write_bytes(garbage)
        assert clock.floor() == ms(RELEASED)
        clock.start(BEGINS, ENDS)
        assert machine.wall == ms(BEGINS)


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_a_clock_that_jumps_when_the_time_was_known_moves_no_floor(tmp_path: Path, jump: timedelta) -> None:
    """What is kept meanwhile is what the centre said, and what has passed since: else an edge whose clock was right again would
    refuse the centre's time for years. Its successor within the same start of the machine knows it too."""
    machine, clock = edge(tmp_path, NOW)
    clock.start(BEGINS, ENDS)
    clock.told(ms(NOW), machine.uptime, machine.uptime)
    machine.pass_(2 * HOUR)
    machine.wall = ms(NOW + jump)
    clock.save()
    assert clock.floor() == ms(NOW) + 2 * HOUR
    successor = EdgeClock(clock.file, machine.set, machine)
    successor.start(BEGINS, ENDS)
    machine.wall = ms(NOW + jump)
    machine.pass_(2 * HOUR)
    successor.save(often=True)
    assert successor.floor() == ms(NOW) + 4 * HOUR
    machine.wall = successor.floor()
    successor.told(machine.wall, machine.uptime, machine.uptime)
    assert machine.wall == ms(NOW) + 4 * HOUR


@pytest.mark.parametrize("told", [None, 1, [], [1], ["1", 2], [1, None], [ms(NOW + YEARS), 10**12]])
def test_a_file_that_does_not_tell_when_the_centre_spoke_moves_no_floor(tmp_path: Path, told: object) -> None:
    machine, clock = edge(tmp_path, NOW)
    clock.file.write_text(json.dumps({"floor": ms(NOW), "sure": machine.boot, "told": told}))
    clock.start(BEGINS, ENDS)
    assert clock.sure
    machine.pass_(HOUR)
    clock.save()
    assert clock.floor() == ms(NOW)


def test_that_the_time_cannot_be_kept_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A log that tells it twice a second would fill what is left of the disk."""
    machine = Machine(ms(NOW))
    clock = EdgeClock(tmp_path / "clock.json", machine.set, machine)
    clock.start(BEGINS, ENDS)
    clock.told(ms(NOW), machine().uptime, machine().uptime)
    full = OSError(28, "No space left on device")

    def put(*_: object) -> None:
        if full.errno:
            raise full

    monkeypatch.setattr("appliance.edge.clock.put", put)
    for _ in range(3):
        clock.save()
    assert caplog.text.count("the time can't be kept: No space left on device") == 1
    full.errno = 0
    clock.save()
    full.errno = 28
    clock.save()
    assert caplog.text.count("the time can't be kept") == 2


def test_who_may_not_set_the_clock_is_told(tmp_path: Path) -> None:
    machine, clock = edge(tmp_path, NOW - YEARS)

    def denied(_wall: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    clock.step = denied
    with pytest.raises(UnavailableError) as told:
        clock.start(BEGINS, ENDS)
    assert told.value.error_id == "clock_denied"
    assert machine.steps == []
    # What wasn't done isn't noted as done: whoever may, sets it within the same start of the machine.
    with pytest.raises(UnavailableError):
        clock.told(ms(NOW), machine.uptime, machine.uptime)
    assert not clock.sure
    allowed = EdgeClock(clock.file, machine.set, machine)
    allowed.start(None, None)
    assert not allowed.sure
    machine.wall = ms(NOW - YEARS)
    allowed.told(ms(NOW), machine.uptime, machine.uptime)
    assert allowed.sure
    assert machine.wall == ms(NOW)


def test_a_time_that_took_long_to_come_is_set_forward_by_half_of_it(tmp_path: Path) -> None:
    machine, clock = edge(tmp_path, NOW - YEARS)
    asked = machine.uptime
    machine.pass_(8000)
    clock.told(ms(NOW), asked, machine.uptime)
    assert machine.wall == ms(NOW) + 4000


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4_000_000_000_000), st.booleans(), st.integers(0, 10**9)), max_size=6))
def test_the_floor_never_goes_back(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, bool, int]]
) -> None:
    machine, clock = edge(tmp_path_factory.mktemp("clock"), NOW)
    floor = clock.floor()
    for wall, restart, passed in events:
        if restart:
            machine.restart(datetime.fromtimestamp(wall // 1000, UTC))
            clock = EdgeClock(clock.file, machine.set, machine)
            clock.start(BEGINS, ENDS)
        else:
            with contextlib.suppress(RefusedError):
                clock.told(wall, machine.uptime, machine.uptime)
            machine.pass_(passed)
            clock.save()
        assert clock.floor() >= floor
        floor = clock.floor()
        assert len(machine.steps) <= 2 * (1 + machine.boot.count("'"))
    if clock.file.exists():
        assert set(json.loads(clock.file.read_bytes())) <= {"floor", "sure", "stepped", "told"}
