"""The daemon: notices a dead engine, seals files, keeps alarms."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.history.ingest import Ingest
from appliance.history.run import Alarms, Daemon, Limits
from appliance.history.service import History
from appliance.history.spool import Spool, listening
from appliance.store import history as table
from appliance.store.database import Database
from tests.unit.history.events import Engine, answered_call, caller

EAGER = Limits(watch_s=0, reconcile_s=0, low_bytes=0, settle_s=0)


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


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    """A control socket on which somebody listens."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "asterisk.ctl"))
        server.listen()
        yield tmp_path / "asterisk.ctl"


def outcomes(database: Database) -> list[str]:
    return [stored.call.outcome.value for stored in reversed(History(database).calls(limit=1000).calls)]


def test_who_listens(tmp_path: Path, control: Path) -> None:
    assert listening(control)
    assert not listening(tmp_path / "none.ctl")
    assert not listening(tmp_path / "none" / "asterisk.ctl")
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    assert not listening(deep / "asterisk.ctl")


def test_a_socket_that_nobody_listens_on_any_more(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "dead.ctl"))
        server.listen()
    assert not listening(tmp_path / "dead.ctl")


def test_calls_end_when_the_engine_is_gone(cel: Path, database: Database, tmp_path: Path, control: Path) -> None:
    engine = Engine()
    open_call = caller(engine)
    (cel / "events.csv").write_bytes(engine.data())
    daemon = Daemon(database, Spool(cel), control, lambda: {open_call.id}, EAGER)
    daemon.turn()
    assert (outcomes(database), daemon.open_calls) == ([], 1)
    control.unlink()
    daemon.turn()
    assert (outcomes(database), daemon.open_calls) == (["engine_failure"], 0)
    assert History(database).gaps() == []


def test_a_call_that_the_engine_forgot_is_ended(cel: Path, database: Database, control: Path) -> None:
    engine = Engine()
    caller(engine)
    (cel / "events.csv").write_bytes(engine.data())
    answer: list[set[str] | None] = [None]
    daemon = Daemon(database, Spool(cel), control, lambda: answer[0], EAGER)
    daemon.turn()
    assert daemon.open_calls == 1  # it couldn't be asked
    answer[0] = set()
    daemon.turn()
    assert daemon.open_calls == 1  # its last event may be on the way
    daemon.turn()
    assert daemon.open_calls == 0
    (stored,) = History(database).calls().calls
    assert stored.call.incomplete
    assert [gap.reason for gap in History(database).gaps()] == ["events_missing"]


def test_an_end_that_is_only_late_is_no_gap(cel: Path, database: Database, control: Path) -> None:
    engine = Engine()
    call = caller(engine)
    (cel / "events.csv").write_bytes(engine.data())
    daemon = Daemon(database, Spool(cel), control, set, EAGER)
    daemon.turn()
    call.hangup(16, source=call.name)
    (cel / "events.csv").write_bytes(engine.data())
    daemon.turn()
    (stored,) = History(database).calls().calls
    assert not stored.call.incomplete
    assert History(database).gaps() == []


def test_files_are_sealed_and_given_up(cel: Path, database: Database, control: Path) -> None:
    engine = Engine()
    answered_call(engine)
    (cel / "events.csv").write_bytes(engine.data())
    daemon = Daemon(
        database, Spool(cel), control, lambda: None, Limits(watch_s=0, rotate_bytes=100, keep_s=0, low_bytes=0)
    )
    daemon.turn()
    assert {path.name for path in cel.iterdir()} == {"events-000000001.csv"}
    (cel / "events.csv").write_bytes(engine.data()[:0])
    daemon.turn()
    daemon.turn()
    assert not list(cel.glob("events-*.csv"))
    assert outcomes(database) == ["answered"]


def test_an_alarm_lasts_until_it_is_over(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    alarms = Alarms(database)
    for _ in range(3):
        alarms.set("spool_full", "critical", "full", True)
    assert [alarm.code for alarm in History(database).alarms()] == ["spool_full"]
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]
    again = Alarms(database)  # the daemon was started anew
    again.set("spool_full", "critical", "full", True)
    assert len(History(database).alarms(cleared=True)) == 1
    again.set("spool_full", "critical", "", False)
    assert History(database).alarms() == []
    (alarm,) = History(database).alarms(cleared=True)
    assert alarm.cleared is not None
    assert alarm.cleared >= alarm.raised


def test_an_alarm_that_can_not_be_stored_is_stored_later(database: Database) -> None:
    """The database's own disk may be the full one."""
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TRIGGER no BEFORE INSERT ON alarm BEGIN SELECT RAISE(ABORT, 'full'); END")
    alarms = Alarms(database)
    alarms.set("spool_full", "critical", "full", True)
    assert History(database).alarms() == []
    with database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER no")
    alarms.save()
    assert [alarm.code for alarm in History(database).alarms()] == ["spool_full"]


def test_a_daemon_started_late_finds_everything(cel: Path, database: Database, control: Path) -> None:
    engine = Engine()
    for _ in range(30):
        answered_call(engine)
    (cel / "events.csv").write_bytes(engine.data())
    Daemon(database, Spool(cel, 5000), control, lambda: None, EAGER).turn()
    assert outcomes(database) == ["answered"] * 30
    assert Ingest(database, Spool(cel)).drain() == 0


def test_a_mistake_of_ours_is_an_alarm_and_the_daemon_goes_on(
    cel: Path, database: Database, control: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine()
    answered_call(engine)
    (cel / "events.csv").write_bytes(engine.data())
    stop = threading.Event()
    spool = Spool(cel)
    turns: list[list[str]] = []

    class Clumsy(Daemon):
        def turn(self) -> int:
            turns.append([alarm.code for alarm in History(database).alarms()])
            if len(turns) <= 3:
                raise ZeroDivisionError("by hand")
            stop.set()
            return super().turn()

    Clumsy(database, spool, control, lambda: None, Limits(poll_s=0, low_bytes=0)).run(stop)
    assert turns == [[], ["history_stopped"], ["history_stopped"], ["history_stopped"]]
    (alarm,) = History(database).alarms(cleared=True)
    assert alarm.message == "calls can't be recorded: ZeroDivisionError: by hand"
    assert alarm.cleared is not None
    assert outcomes(database) == ["answered"]
    assert [record.message for record in caplog.records if record.exc_info] == ["ZeroDivisionError: by hand ()"], "once"
