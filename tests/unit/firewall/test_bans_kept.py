"""Bans over a restart: what stands, for how long, whatever clocks and disks do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text, update

from appliance.clock import Moment
from appliance.core.errors import CorruptError, UnavailableError
from appliance.firewall.bans import keys
from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.keeper import Keeper, Kept
from appliance.firewall.bans.model import Action, Ban
from appliance.firewall.bans.timeline import Timeline
from appliance.store import bans as tables
from appliance.store.bans import open_bans
from appliance.store.database import Database, Patience
from tests.unit.firewall.attempts import DAY, HOUR, MINUTE, SECOND, WALL, attempt, ban_of, networks, scan, tool

YEARS = 3650 * DAY


@dataclass
class Machine:
    """One whose clock and starts are the test's."""

    path: Path
    moment: Moment = field(default_factory=lambda: Moment(WALL, 5 * MINUTE, "boot-1"))

    def pass_(self, ms: int) -> None:
        self.moment = replace(self.moment, wall=self.moment.wall + ms, uptime=self.moment.uptime + ms)

    def set_clock(self, by: int) -> None:
        self.moment = replace(self.moment, wall=self.moment.wall + by)

    def reboot(self, off: int = MINUTE) -> None:
        number = int(self.moment.boot[5:]) + 1
        self.moment = Moment(self.moment.wall + off, 10 * SECOND, f"boot-{number}")

    def open(self) -> Database:
        return open_bans(f"sqlite:///{self.path}")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "bans.db")


@pytest.fixture
def database(machine: Machine) -> Iterator[Database]:
    found = machine.open()
    yield found
    found.close()


@pytest.fixture
def keeper(database: Database) -> Keeper:
    return Keeper(database)


def kept_ban(machine: Machine, keeper: Keeper) -> tuple[Ban, Timeline]:
    """Somebody is banned for the second time, which lasts an hour; and it is kept."""
    timeline = keeper.load(machine.moment).timeline
    judge = Judge()
    decisions = judge.take(scan(timeline.at(machine.moment)))
    machine.pass_(11 * MINUTE)
    decisions += judge.take(scan(timeline.at(machine.moment)))
    machine.pass_(SECOND)
    keeper.keep(decisions, machine.moment, timeline)
    return decisions[-1].ban, timeline


def left(machine: Machine, kept: Kept) -> list[int]:
    """What is left of each ban, in minutes."""
    return [round(ban.left(kept.timeline.at(machine.moment)) / MINUTE) for ban in kept.bans]


def test_everything_of_a_ban_is_kept(machine: Machine, keeper: Keeper) -> None:
    ban, _ = kept_ban(machine, keeper)
    kept = keeper.load(machine.moment)
    assert kept.bans == (ban,)
    assert (ban.strike, len(ban.evidence)) == (2, 8)
    [(network, strikes)] = kept.strikes
    assert (network, strikes.count, strikes.until) == (ban.network, 2, ban.until)


@pytest.mark.parametrize("clock", [0, YEARS, -YEARS])
@pytest.mark.parametrize("reboot", [False, True])
def test_the_same_bans_stand_after_a_restart_with_the_time_they_have_left(
    machine: Machine, keeper: Keeper, clock: int, reboot: bool
) -> None:
    _, timeline = kept_ban(machine, keeper)
    machine.pass_(20 * MINUTE)
    keeper.keep([], machine.moment, timeline)  # as once a minute
    machine.set_clock(clock)
    if reboot:
        machine.reboot()
    kept = keeper.load(machine.moment)
    assert left(machine, kept) == [40]
    judge = Judge()
    assert judge.restore(kept.bans, kept.strikes, kept.timeline.at(machine.moment)) == []
    assert judge.take(scan(kept.timeline.at(machine.moment), accounts=50)) == []
    machine.pass_(41 * MINUTE)
    assert judge.wanted(kept.timeline.at(machine.moment)).bans == ()
    assert ban_of(judge, kept.timeline.at(machine.moment)).strike == 3


def test_a_machine_that_is_started_again_and_again_bans_nobody_for_ever(machine: Machine, keeper: Keeper) -> None:
    kept_ban(machine, keeper)
    for expected in (50, 40, 30, 20, 10):
        machine.reboot(off=DAY)
        timeline = keeper.load(machine.moment).timeline
        machine.pass_(10 * MINUTE - 10 * SECOND)
        machine.set_clock(-YEARS)
        keeper.keep([], machine.moment, timeline)
        assert left(machine, keeper.load(machine.moment)) == [expected]
    machine.pass_(10 * MINUTE)
    keeper.keep([], machine.moment, timeline)
    assert keeper.load(machine.moment).bans == ()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["pass", "clock", "reboot", "keep"]), st.integers(0, 40 * DAY), st.booleans()),
        max_size=30,
    )
)
def test_running_time_never_goes_back_nor_faster_than_time(orders: list[tuple[str, int, bool]]) -> None:
    machine = Machine(Path("unused"))
    timeline = Timeline.begun(machine.moment, 1000)
    before, passed = timeline.at(machine.moment), 0
    for order, ms, back in orders:
        if order == "pass":
            machine.pass_(ms)
            passed += ms
        elif order == "clock":
            machine.set_clock(-ms if back else ms)
        else:
            timeline = Timeline(machine.moment.boot, machine.moment.uptime, timeline.at(machine.moment))  # kept
            if order == "reboot":
                machine.reboot(ms)
                passed += machine.moment.uptime
        now = timeline.at(machine.moment)
        assert before <= now <= 1000 + passed
        before = now


def test_nothing_that_stands_in_the_database_lasts_for_ever(
    machine: Machine, keeper: Keeper, database: Database
) -> None:
    ban, timeline = kept_ban(machine, keeper)
    with database.write() as connection:
        connection.execute(update(tables.ban).values(until=10**17))
        connection.execute(update(tables.strikes).values(until=10**17, since=-(10**17)))
    judge = Judge()
    now = timeline.at(machine.moment)
    kept = keeper.load(machine.moment)
    judge.restore(kept.bans, kept.strikes, now)
    assert [one.until for one in judge.standing] == [now + 7 * DAY]
    assert judge.standing.strikes.get(keys.of(ban.network)).until == now + 7 * DAY  # type: ignore[union-attr]


def test_without_the_time_that_was_kept_bans_have_their_whole_length(
    machine: Machine, keeper: Keeper, database: Database
) -> None:
    kept_ban(machine, keeper)
    with database.write() as connection:
        connection.execute(tables.running.delete())
    machine.reboot()
    assert left(machine, keeper.load(machine.moment)) == [60]


def test_time_that_was_kept_wrongly_makes_no_ban_longer(machine: Machine, keeper: Keeper, database: Database) -> None:
    kept_ban(machine, keeper)
    with database.write() as connection:
        connection.execute(update(tables.running).values(running=-(10**12)))
    assert left(machine, keeper.load(machine.moment)) == [60]


@pytest.mark.parametrize("bad", ["'nonsense'", "9e999", "x'00ff'"])
def test_time_that_is_garbage_costs_nobody_a_ban(
    machine: Machine, keeper: Keeper, database: Database, bad: str
) -> None:
    ban, _ = kept_ban(machine, keeper)
    with database.write() as connection:
        connection.execute(text(f"UPDATE running SET running = {bad}, uptime = {bad}"))  # noqa: S608
        connection.execute(text(f"UPDATE strikes SET until = {bad}"))  # noqa: S608
    kept = keeper.load(machine.moment)
    assert (kept.bans, left(machine, kept), kept.unreadable) == ((ban,), [60], 2)


def test_a_row_that_cannot_be_read_costs_itself_alone(machine: Machine, keeper: Keeper, database: Database) -> None:
    judge, timeline = Judge(), keeper.load(machine.moment).timeline
    decisions = [one for n in range(6) for one in judge.take(scan(n * SECOND, f"198.51.{n}.1"))]
    keeper.keep(decisions, machine.moment, timeline)
    with database.write() as connection:
        for n, (column, bad) in enumerate(
            [
                ("evidence", "[[1]]"),
                ("evidence", "{"),
                ("reason", "?"),
                ("network", "198.51.3.0/25"),
                ("network", "nobody"),
            ]
        ):
            connection.execute(
                text(f"UPDATE ban SET {column} = :bad WHERE network = :network"),  # noqa: S608
                {"bad": bad, "network": f"198.51.{n}.1/32"},
            )
        connection.execute(text("UPDATE strikes SET network = 'x' WHERE network = '198.51.0.1/32'"))
    kept = keeper.load(machine.moment)
    assert [str(ban.network) for ban in kept.bans] == ["198.51.5.1/32"]
    assert (len(kept.strikes), kept.unreadable) == (5, 6)


def test_lifted_and_ended_bans_are_gone_and_old_strikes_too(
    machine: Machine, keeper: Keeper, database: Database
) -> None:
    judge, timeline = Judge(), keeper.load(machine.moment).timeline
    decisions = judge.take([*scan(0, "198.51.100.1"), *scan(0, "198.51.100.2"), tool(0, "198.51.100.3")])
    keeper.keep(decisions, machine.moment, timeline)
    assert len(keeper.load(machine.moment).bans) == 3
    assert len(keeper.load(machine.moment).strikes) == 2
    [network] = networks("198.51.100.1")
    keeper.keep(judge.lift(network, 2000), machine.moment, timeline)
    keeper.forgive(network)
    kept = keeper.load(machine.moment)
    assert sorted(str(ban.network) for ban in kept.bans) == ["198.51.100.2/32", "198.51.100.3/32"]
    assert [str(found) for found, _ in kept.strikes] == ["198.51.100.2/32"]
    machine.pass_(20 * MINUTE)
    keeper.keep([], machine.moment, timeline)
    kept = keeper.load(machine.moment)
    assert (kept.bans, len(kept.strikes)) == ((), 1)
    machine.pass_(31 * DAY)
    keeper.keep([], machine.moment, timeline)
    assert keeper.load(machine.moment).strikes == ()


def test_spared_ones_are_not_kept(machine: Machine, keeper: Keeper) -> None:
    decisions = Judge().take(scan(0, "127.0.0.1"))
    assert [one.action for one in decisions] == [Action.SPARE]
    keeper.keep(decisions, machine.moment, Timeline.begun(machine.moment))
    assert keeper.load(machine.moment).bans == ()


def test_a_full_disk_leaves_what_was_kept_and_the_whole_is_kept_later(
    machine: Machine, keeper: Keeper, database: Database
) -> None:
    ban, timeline = kept_ban(machine, keeper)
    with database.read() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    full = machine.open()
    event.listen(full.engine, "connect", limit)
    full.engine.dispose()
    judge = Judge()
    judge.restore([ban], [], timeline.at(machine.moment))
    many = [one for n in range(200) for one in judge.take(scan(ban.until - HOUR + n, f"198.{n // 100}.{n % 100}.1"))]
    with pytest.raises(UnavailableError) as caught:
        Keeper(full).keep(many, machine.moment, timeline)
    assert caught.value.error_id == "disk_full"
    full.close()
    assert keeper.load(machine.moment).bans == (ban,)
    strikes = [(keys.network(key), found) for key, found in judge.standing.strikes.items()]
    keeper.keep_all(judge.standing, strikes, machine.moment, timeline)
    kept = keeper.load(machine.moment)
    assert (len(kept.bans), len(kept.strikes)) == (201, 200)


def test_a_damaged_file_is_said_to_be_one(machine: Machine, tmp_path: Path) -> None:
    machine.open().close()
    machine.path.write_bytes(b"garbage" * 1000)
    with pytest.raises(CorruptError):
        machine.open()


def test_the_migrations_make_the_tables_that_the_code_has(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": tables.VERSION_TABLE})
        assert context.get_current_revision() == tables.TABLES_VERSION
        assert compare_metadata(context, tables.metadata) == []


def test_who_only_reads_makes_no_tables(machine: Machine) -> None:
    with pytest.raises(UnavailableError) as caught:
        open_bans(f"sqlite:///{machine.path}", upgrade=False)
    assert caught.value.error_id == "database_missing"


def test_a_locked_database_is_waited_for_briefly(machine: Machine, keeper: Keeper, database: Database) -> None:
    ban, timeline = kept_ban(machine, keeper)
    other = open_bans(f"sqlite:///{machine.path}", patience=Patience(turn=0.05))
    with database.write(), pytest.raises(UnavailableError) as caught:
        Keeper(other).keep([], machine.moment, timeline)
    other.close()
    assert caught.value.error_id == "database_busy"
    assert keeper.load(machine.moment).bans == (ban,)


def test_nobody_else_may_read_who_is_kept_out(database: Database, machine: Machine) -> None:
    assert machine.path.stat().st_mode & 0o007 == 0


def test_an_attempt_in_the_past_of_this_timeline_counts_now(machine: Machine) -> None:
    judge = Judge()
    judge.take([attempt(HOUR)])
    assert ban_of(judge, 0, "198.51.100.1").since == HOUR
