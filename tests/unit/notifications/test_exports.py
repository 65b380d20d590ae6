"""Scheduled exports by HTTPS: which calls, in which file, once each; tried until it has arrived. By SFTP: tests/hil."""

from __future__ import annotations

import asyncio
import csv
import datetime
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from appliance.core.document import parse
from appliance.history.export import BOM, COLUMNS
from appliance.history.ingest import Ingest
from appliance.history.spool import Spool
from appliance.kinds import KINDS
from appliance.notifications import exports as exporting
from appliance.notifications import runs
from appliance.notifications.config import Config
from appliance.notifications.exports import Exports
from appliance.notifications.model import CallColumn
from appliance.notifications.runs import RunState
from appliance.store import history as table
from tests.unit.history.events import Engine, answered_call, callee, caller, unanswered_call
from tests.unit.notifications.ground import KEY, SECRET, Ground
from tests.unit.notifications.receiver import Receiver, authority, silent, status


class Clock:
    """The time that exports go by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)
        monkeypatch.setattr(exporting, "_now", lambda: round(self.now.timestamp() * 1000))

    def on(self, **step: float) -> None:
        self.now += datetime.timedelta(**step)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Office:
    """A history that calls are added to, and an export of it."""

    def __init__(self, ground: Ground, work: Path, url: str, **fields: Any) -> None:
        self.ground, self.engine = ground, Engine()
        self.cel = work / "cel"
        self.cel.mkdir()
        self.reader = Ingest(ground.database, Spool(self.cel))
        target = {"type": "https", "url": url, "secret": "hook", "allow_local": True, "authority": authority().pem, **fields.pop("target", {})}  # fmt: skip
        export = parse(KINDS, "history_export", {"id": "x", "name": "X", "site": "hq", "target": target, **fields})
        self.config = Config(1, {}, {"x": export}, {"hq": ZoneInfo("Europe/Rome")})  # type: ignore[dict-item]

    def calls(self, number: int) -> None:
        for _ in range(number):
            answered_call(self.engine, talk_ms=10)
        self.taken_in()

    def taken_in(self) -> None:
        with (self.cel / "events.csv").open("ab") as file:
            file.write(self.engine.data())
        self.engine.lines.clear()
        self.reader.drain()

    def run(self, *steps: Callable[[], Any]) -> None:
        """Turn after turn; each step is taken once what the one before waits for has come to be."""

        async def work() -> None:
            exports = Exports(self.ground.database, self.ground.document)  # type: ignore[arg-type]
            try:
                for step in steps:
                    await exports.turn(self.config)

                    async def turned(step: Callable[[], Any] = step) -> bool:
                        await exports.turn(self.config)
                        return bool(step())

                    deadline = asyncio.get_running_loop().time() + 8
                    while not await turned():
                        assert asyncio.get_running_loop().time() < deadline
                        await asyncio.sleep(0.01)
            finally:
                await exports.close()

        asyncio.run(work())

    def state(self) -> str:
        newest = self.ground.deliveries.runs.newest()
        return newest["x"].state.value if newest else ""


def rows(body: bytes, separator: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode().removeprefix(BOM), newline=""), delimiter=separator))


def ids(body: bytes) -> list[int]:
    return [int(row[0]) for row in rows(body)[1:]]


def test_each_file_holds_what_was_recorded_since_the_one_before(
    ground: Ground, receiver: Receiver, tmp_path: Path, clock: Clock
) -> None:
    office = Office(ground, tmp_path, receiver.url("/in/"))
    office.calls(3)
    office.run(lambda: office.state() == "begun")
    office.calls(4)
    office.run(lambda: office.state() == "begun")
    assert receiver.requests == []
    clock.on(days=1)
    office.run(lambda: office.state() == "delivered")
    office.run(lambda: office.state() == "delivered")
    assert len(receiver.requests) == 1
    clock.on(days=1)  # nothing was recorded: a file says so
    office.run(lambda: len(receiver.requests) == 2, lambda: office.state() == "delivered")
    office.calls(2)
    clock.on(days=3)
    office.run(lambda: len(receiver.requests) == 3, lambda: office.state() == "delivered")
    assert [ids(request.body) for request in receiver.requests] == [[4, 5, 6, 7], [], [8, 9]]
    first, second, third = receiver.requests
    assert (first.method, first.path) == ("PUT", "/in/x_000001_2026-11-25T1300_2026-11-26T0230.csv")
    assert second.path == "/in/x_000002_2026-11-26T0230_2026-11-27T0230.csv"
    assert third.path == "/in/x_000003_2026-11-27T0230_2026-11-30T0230.csv"
    assert first.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert all(request.signed_by(KEY) for request in receiver.requests)
    assert rows(first.body)[0] == list(COLUMNS)
    assert [run.file for run in ground.deliveries.runs.listed("x")] == [
        Path(request.path).name for request in reversed(receiver.requests)
    ]


@pytest.mark.parametrize("jump", [-400.0, 4000.0])
def test_a_clock_that_jumps_loses_no_call_and_sends_none_twice(
    ground: Ground, receiver: Receiver, tmp_path: Path, clock: Clock, jump: float
) -> None:
    office = Office(ground, tmp_path, receiver.url("/"))
    office.run(lambda: office.state() == "begun")
    office.calls(2)
    clock.on(days=1)
    office.run(lambda: office.state() == "delivered")
    office.calls(2)
    clock.on(days=jump)
    office.run(lambda: len(receiver.requests) == 2, lambda: office.state() == "delivered")
    office.calls(2)
    clock.on(days=-jump)
    clock.on(days=2)
    office.run(lambda: len(receiver.requests) >= 3, lambda: office.state() == "delivered")
    assert [id for request in receiver.requests for id in ids(request.body)] == [1, 2, 3, 4, 5, 6]
    assert len({request.path for request in receiver.requests}) == len(receiver.requests)


def test_a_file_that_fails_is_sent_again_as_it_was(
    ground: Ground, receiver: Receiver, tmp_path: Path, clock: Clock, soon: None
) -> None:
    """While it waits calls are recorded, time passes and the export is changed: the same file comes, then the next."""
    receiver.default = status(507)
    office = Office(ground, tmp_path, receiver.url("/"))
    office.run(lambda: office.state() == "begun")
    office.calls(2)
    clock.on(days=1)
    office.run(lambda: receiver.requests, lambda: ground.deliveries.runs.newest()["x"].error)
    (waiting,) = ground.deliveries.runs.listed()
    assert (waiting.error, waiting.attempts, waiting.state) == ("HTTP 507", 1, RunState.WAITING)
    office.calls(3)
    clock.on(days=1)
    office.config.exports["x"] = office.config.exports["x"].model_copy(update={"columns": (CallColumn.ID,)})
    receiver.default = status(201)
    office.run(lambda: len(receiver.at("/x_000002_2026-11-26T0230_2026-11-27T0230.csv")) == 1, lambda: office.state() == "delivered")  # fmt: skip
    first = receiver.at("/x_000001_2026-11-25T1300_2026-11-26T0230.csv")
    assert len(first) == 2
    assert len({request.body for request in first}) == 1
    assert len({request.id for request in first}) == 1
    assert [ids(request.body) for request in receiver.requests] == [[1, 2], [1, 2], [3, 4, 5]]
    assert [len(rows(request.body)[0]) for request in receiver.requests] == [28, 28, 1]


def test_a_process_that_ends_while_it_sends_leaves_the_file_to_the_next(
    ground: Ground, receiver: Receiver, tmp_path: Path, clock: Clock
) -> None:
    receiver.default = silent
    office = Office(ground, tmp_path, receiver.url("/"))
    office.run(lambda: office.state() == "begun")
    office.calls(2)
    clock.on(days=1)
    office.run(lambda: len(receiver.requests) == 1)
    assert office.state() == "waiting"
    receiver.default = status(200)
    office.run(lambda: office.state() == "delivered")
    assert len({(request.path, request.body, request.id) for request in receiver.requests}) == 1
    assert len(receiver.requests) == 2


def test_what_the_file_looks_like(ground: Ground, receiver: Receiver, tmp_path: Path, clock: Clock) -> None:
    """Columns in their order, semicolons, a mark of the byte order; a name that would be a formula isn't one."""
    office = Office(
        ground, tmp_path, receiver.url("/take"), columns=["from_name", "started", "id"], separator="semicolon",
        byte_order_mark=True, directions=["internal"], target={"method": "post"},
    )  # fmt: skip
    office.run(lambda: office.state() == "begun")
    a = caller(office.engine)
    a.fields["name"] = "=cmd|' /C calc'!A0"
    b = callee(office.engine, a)
    b.hangup(17)
    a.hangup(17, "BUSY")
    line = office.engine.channel("trunk-line", number="0200000123", origin="+390200000123", exten="+390200001000", context="from-trunk")  # fmt: skip
    line.hangup(1)
    unanswered_call(office.engine, 17, "BUSY", "SIP 486 Busy Here|Down|alaw|")
    office.taken_in()
    clock.on(days=1)
    office.run(lambda: office.state() == "delivered")
    (request,) = receiver.requests
    assert (request.method, request.path) == ("POST", "/take")
    assert (
        request.headers["content-disposition"] == 'attachment; filename="x_000001_2026-11-25T1300_2026-11-26T0230.csv"'
    )
    assert request.body.startswith(BOM.encode())
    found = rows(request.body, ";")
    assert found[0] == ["from_name", "started", "id"]
    assert [row[2] for row in found[1:]] == ["1", "3"], "the call from outside isn't asked for"
    assert found[1][0] == "'=cmd|' /C calc'!A0"
    assert found[1][1].endswith("+01:00")
    assert request.signed_by(KEY)


def test_only_what_a_site_took_part_in(ground: Ground, receiver: Receiver, tmp_path: Path, clock: Clock) -> None:
    office = Office(ground, tmp_path, receiver.url("/"), only_site=True)
    office.run(lambda: office.state() == "begun")
    report = "SIP 200 OK||alaw||{site}|{device}|102|102|{site}"
    for site in ("hq", "shop"):
        a = caller(office.engine)
        b = callee(office.engine, a)
        b.answer()
        b.hangup(16, report=report.format(site=site, device="desk-2"))
        a.hangup(16, "ANSWER", report="Up||alaw|")
    office.taken_in()
    with ground.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(table.call)).scalar() == 2
    clock.on(days=1)
    office.run(lambda: office.state() == "delivered")
    assert ids(receiver.requests[0].body) == [1]


def test_a_long_file_goes_in_pieces(ground: Ground, receiver: Receiver, tmp_path: Path, clock: Clock) -> None:
    office = Office(ground, tmp_path, receiver.url("/"), columns=["id"])
    office.run(lambda: office.state() == "begun")
    office.calls(2_500)
    clock.on(days=1)
    office.run(lambda: office.state() == "delivered")
    assert ids(receiver.requests[0].body) == list(range(1, 2_501))


def test_an_export_that_is_late_is_told_of(
    ground: Ground, receiver: Receiver, tmp_path: Path, clock: Clock, soon: None
) -> None:
    receiver.default = status(403)
    office = Office(ground, tmp_path, receiver.url("/"))
    ground.document.handed.clear()

    async def run() -> None:
        exports = Exports(ground.database, ground.document)  # type: ignore[arg-type]
        try:
            await exports.turn(office.config)
            clock.on(days=1)

            async def failed(text: str) -> bool:
                await exports.turn(office.config)
                return exports.late.get("x", "").startswith(text)

            for text in ("its secret isn't there yet", "HTTP 403"):
                while not await failed(text):
                    clock.on(seconds=30)
                    await asyncio.sleep(0.01)
                ground.document.handed["hook"] = SECRET
            receiver.default = status(200)
            ground.deliveries.runs.retry("x", round(clock.now.timestamp() * 1000))
            while await failed("HTTP 403"):
                clock.on(seconds=30)
                await asyncio.sleep(0.01)
        finally:
            await exports.close()
        assert exports.late == {}

    asyncio.run(asyncio.wait_for(run(), 10))


def test_only_so_many_files_are_remembered(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT", 3)
    found = ground.deliveries.runs
    found.begin("x", 0)
    for n in range(6):
        found.add("x", found.newest()["x"], n, f"{n}.csv", "{}", n)
        found.arrived(found.newest()["x"].number, n)
    assert [run.file for run in found.listed("x")] == ["5.csv", "4.csv", "3.csv"]
