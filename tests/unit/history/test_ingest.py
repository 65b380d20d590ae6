"""The spool is read exactly once, whatever happens to reader, engine and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from appliance.core.errors import RefusedError, UnavailableError
from appliance.history.ingest import Ingest
from appliance.history.model import Outcome
from appliance.history.service import History
from appliance.history.spool import Spool
from appliance.store import history as table
from appliance.store.database import Database
from tests.unit.history.events import Engine, answered_call, callee, caller, unanswered_call


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = table.open_history(f"sqlite:///{tmp_path}/history.db")
    yield database
    database.close()


@pytest.fixture
def cel(tmp_path: Path) -> Path:
    directory = tmp_path / "cel"
    directory.mkdir()
    return directory


def append(cel: Path, data: bytes) -> None:
    with (cel / "events.csv").open("ab") as handle:
        handle.write(data)


def flush(engine: Engine) -> bytes:
    data = engine.data()
    engine.lines.clear()
    return data


def contents(database: Database) -> dict[str, list[Any]]:
    """Everything recorded, without what tells when it was."""
    with database.read() as connection:
        return {
            t.name: [tuple(row) for row in connection.execute(select(t).order_by(*t.primary_key.columns))]
            for t in (
                table.call,
                table.leg,
                table.label,
                table.label_part,
                table.call_label,
                table.call_hour,
                table.open_call,
                table.notice,
                table.outbox,
            )
        }


def outcomes(database: Database) -> list[str]:
    return [row.call.outcome.value for row in reversed(History(database).calls(limit=1000).calls)]


def reasons(database: Database) -> list[str]:
    return [gap.reason for gap in History(database).gaps()]


def test_calls_in_progress_survive_the_reader(cel: Path, database: Database) -> None:
    engine = Engine()
    engine.start()
    a = caller(engine)
    b = callee(engine, a)
    append(cel, flush(engine))
    assert Ingest(database, Spool(cel)).drain() > 0
    b.answer()
    a.answer()
    append(cel, flush(engine))
    Ingest(database, Spool(cel)).drain()
    a.hangup(16, "ANSWER")
    b.hangup()
    append(cel, flush(engine))
    ingest = Ingest(database, Spool(cel))
    assert ingest.open_calls == 1
    ingest.drain()
    assert ingest.open_calls == 0
    assert ingest.drain() == 0
    assert outcomes(database) == ["answered"]


def test_a_half_written_line_waits(cel: Path, database: Database) -> None:
    engine = Engine()
    answered_call(engine)
    data = flush(engine)
    ingest = Ingest(database, Spool(cel))
    for start in range(0, len(data), 37):
        append(cel, data[start : start + 37])
        ingest.drain()
    assert outcomes(database) == ["answered"]
    assert reasons(database) == []


def test_killed_fifty_times_every_event_counts_once(cel: Path, tmp_path: Path, database: Database) -> None:
    engine = Engine()
    engine.start()
    while len(engine.lines) < 10_000:
        answered_call(engine, losers=len(engine.lines) % 3)
        unanswered_call(engine, 17, "BUSY", "SIP 486 Busy Here|Down|alaw|")
    append(cel, engine.data())
    Ingest(database, Spool(cel)).drain()
    url = f"sqlite:///{tmp_path}/killed.db"
    table.open_history(url).close()
    argv = [sys.executable, "-m", "tests.unit.history.killed_reader", str(cel), url, "50"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
    report = json.loads(done.stdout)
    assert report["killed"] == 50
    assert report["further"] == 50
    assert report["read"] < report["size"]
    other = table.open_history(url)
    try:
        Ingest(other, Spool(cel)).drain()
        assert contents(other) == contents(database)
    finally:
        other.close()
    assert len(outcomes(database)) == 1000


def test_a_failing_transaction_leaves_no_trace(cel: Path, database: Database) -> None:
    engine = Engine()
    answered_call(engine)
    append(cel, flush(engine))
    ingest = Ingest(database, Spool(cel))
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TRIGGER no_legs BEFORE INSERT ON leg BEGIN SELECT RAISE(ABORT, 'no'); END")
    for _ in range(2):
        with pytest.raises(UnavailableError):
            ingest.drain()
    assert outcomes(database) == []
    with database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER no_legs")
    ingest.drain()
    assert outcomes(database) == ["answered"]


def test_rotation_loses_nothing(cel: Path, database: Database) -> None:
    engine = Engine()
    spool = Spool(cel)
    ingest = Ingest(database, spool)
    for turn in range(20):
        answered_call(engine)
        data = flush(engine)
        append(cel, data[:500])
        if turn % 3 == 0:
            ingest.drain()
        assert ingest.rotate(1)
        # the engine was in the middle of a write: the rest still goes to the sealed file
        sealed = max(cel.glob("events-*.csv"))
        with sealed.open("ab") as handle:
            handle.write(data[500:1000])
        if turn % 4 == 0:
            ingest.drain()
        with sealed.open("ab") as handle:
            handle.write(data[1000 : data.index(b"\n", 1000) + 1])
        append(cel, data[data.index(b"\n", 1000) + 1 :])
    ingest.drain()
    assert outcomes(database) == ["answered"] * 20
    assert reasons(database) == []
    assert len(ingest.prune(2**60)) == 20
    assert [path.name for path in cel.iterdir()] == ["events.csv"]
    answered_call(engine)
    append(cel, flush(engine))
    Ingest(database, spool).drain()
    assert len(outcomes(database)) == 21


def test_files_are_kept_until_they_are_read(cel: Path, database: Database) -> None:
    engine = Engine()
    answered_call(engine)
    append(cel, flush(engine))
    ingest = Ingest(database, Spool(cel))
    assert ingest.rotate(1)
    assert ingest.prune(2**60) == []
    ingest.drain()
    assert ingest.prune(2**60) == []  # the engine may still write to it: there is no newer file
    append(cel, b"")
    ingest.drain()
    assert ingest.prune(2**60) == [1]


def test_a_rotation_that_nobody_noted_is_found(cel: Path, database: Database) -> None:
    """Killed between the rename and everything after it."""
    engine = Engine()
    answered_call(engine)
    data = flush(engine)
    append(cel, data[: len(data) // 2])
    Ingest(database, Spool(cel)).drain()
    (cel / "events.csv").rename(cel / "events-000000001.csv")
    append(cel, data[len(data) // 2 :])
    ingest = Ingest(database, Spool(cel))
    ingest.drain()
    assert ingest.open_calls == 0 or reasons(database)  # the cut was in a line: a fault; or between lines: all is well
    assert len(outcomes(database)) >= 1


def test_a_torn_line_is_set_aside_and_the_gap_recorded(cel: Path, database: Database) -> None:
    engine = Engine()
    answered_call(engine)
    torn = flush(engine)[:-30]
    engine.wait(60_000)
    answered_call(engine)
    append(cel, torn + flush(engine))
    ingest = Ingest(database, Spool(cel))
    ingest.drain()
    assert outcomes(database) == ["answered"]
    assert reasons(database) == ["spool_damaged"]
    (gap,) = History(database).gaps()
    assert gap.until - gap.since >= 60_000
    with database.read() as connection:
        (fault,) = connection.execute(select(table.fault)).all()
    assert fault.file == 1
    assert torn[fault.offset :] == fault.content
    assert ingest.open_calls == 1  # its end was lost
    assert ingest.reconcile([], engine.clock + 1) == 1
    assert [row.call.incomplete for row in History(database).calls().calls] == [False, True]
    assert sorted(reasons(database)) == ["events_missing", "spool_damaged"]


@pytest.mark.parametrize("rubbish", [b"\x00" * 5000, b"hello\n", b"\xff\xfe" * 900 + b"\n", b"\n", b"x" * 200_000])
def test_rubbish_is_set_aside(cel: Path, database: Database, rubbish: bytes) -> None:
    engine = Engine()
    answered_call(engine)
    first = flush(engine)
    answered_call(engine)
    append(cel, first + rubbish + flush(engine))
    Ingest(database, Spool(cel, 50_000)).drain()
    assert outcomes(database) == ["answered", "answered"]
    assert set(reasons(database)) == {"spool_damaged"}


def test_a_torn_end_of_a_sealed_file_is_set_aside(cel: Path, database: Database) -> None:
    engine = Engine()
    answered_call(engine)
    append(cel, flush(engine) + b'"CHAN_START","17')
    ingest = Ingest(database, Spool(cel))
    ingest.drain()
    ingest.rotate(1)
    answered_call(engine)
    append(cel, flush(engine))
    ingest.drain()
    assert outcomes(database) == ["answered", "answered"]
    assert reasons(database) == ["spool_damaged"]


@pytest.mark.parametrize("how", ["removed", "replaced", "emptied"])
def test_a_file_taken_away_is_noticed(cel: Path, database: Database, how: str) -> None:
    engine = Engine()
    answered_call(engine)
    append(cel, flush(engine))
    Ingest(database, Spool(cel)).drain()
    live = cel / "events.csv"
    if how == "emptied":
        os.truncate(live, 0)
    else:
        live.unlink()
    if how != "removed":
        engine.wait(10_000)
        answered_call(engine)
        append(cel, flush(engine))
    ingest = Ingest(database, Spool(cel))
    ingest.drain()
    assert outcomes(database) == ["answered"] * (1 if how == "removed" else 2)
    assert reasons(database) == ["spool_removed"]
    assert ingest.drain() == 0


def test_calls_end_with_the_engine(cel: Path, database: Database) -> None:
    engine = Engine()
    engine.start()
    caller(engine)
    append(cel, flush(engine))
    ingest = Ingest(database, Spool(cel))
    ingest.drain()
    assert ingest.engine_died() == 1
    assert Ingest(database, Spool(cel)).open_calls == 0
    engine.start()
    answered_call(engine)
    append(cel, flush(engine))
    Ingest(database, Spool(cel)).drain()
    assert outcomes(database) == [Outcome.ENGINE_FAILURE, Outcome.ANSWERED]


@pytest.mark.parametrize("state", ["", "{}", "[]", '{"serial": 1}'])
def test_a_damaged_open_call_costs_that_call_only(cel: Path, database: Database, state: str) -> None:
    engine = Engine()
    damaged = caller(engine)
    append(cel, flush(engine))
    Ingest(database, Spool(cel)).drain()
    with database.write() as connection:
        connection.execute(table.open_call.update().values(state=state))
    damaged.hangup(16, source=damaged.name)
    answered_call(engine)
    append(cel, flush(engine))
    ingest = Ingest(database, Spool(cel))
    ingest.drain()
    assert outcomes(database)[1:] == ["answered"]
    assert [stored.call.incomplete for stored in History(database).calls().calls] == [False, True]
    assert ingest.open_calls == 0


def test_one_reader_at_a_time(cel: Path) -> None:
    with Spool(cel).lock(), pytest.raises(RefusedError, match="already"), Spool(cel).lock():
        pass
    with Spool(cel).lock():
        pass


def test_without_a_spool_directory(tmp_path: Path, database: Database) -> None:
    with pytest.raises(UnavailableError, match="isn't there"):
        Ingest(database, Spool(tmp_path / "none")).drain()


def test_long_and_odd_texts_fit_the_columns(cel: Path, database: Database) -> None:
    engine = Engine()
    a = engine.channel("desk-1", number="1" * 300, name="😀" * 5000, account="9" * 200, exten="2" * 999, context="x")
    a.hangup()
    append(cel, flush(engine))
    Ingest(database, Spool(cel)).drain()
    (stored,) = History(database).calls().calls
    assert len(stored.call.from_number) == 64
    assert len(stored.call.from_name) == 200


def test_the_migrations_make_these_tables(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": table.VERSION_TABLE})
        assert compare_metadata(context, table.metadata) == []
