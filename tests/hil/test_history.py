"""Call history against SIPp's own books, on the product's engine and configuration, with the real daemon."""

from __future__ import annotations

import contextlib
import json
import signal
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from appliance.access.access import Access
from appliance.engine.ami import AmiClient
from appliance.history.ingest import Ingest
from appliance.history.model import Call, Direction, LegResult, Outcome
from appliance.history.service import CallFilter, History
from appliance.history.spool import Spool
from appliance.store import history as table
from appliance.store.history import open_history
from tests.hil.agents.network import Network, command, require_root
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.sipp import BookEntry, Sipp, User
from tests.hil.agents.softphone import SoftPhone
from tests.hil.console import Console, console
from tests.hil.outside_world import MAIN, Exchange, rows
from tests.hil.postgres import postgres
from tests.hil.system import Rows, System, office
from tests.unit.history.events import Engine as Lines
from tests.unit.history.events import answered_call, caller, unanswered_call

ADDRESS = "192.0.2.10"
CALLERS = [f"{number}-1" for number in range(201, 241)]
ANSWERS, BUSY, AWAY, TRANSFERRED, SILENT = "241", "242", "243", "244", "245"
PLAN = {ANSWERS: 1000, BUSY: 300, AWAY: 200, TRANSFERRED: 300, SILENT: 200}
"""Calls per number called; those to TRANSFERRED call ANSWERS first and transfer it there."""

CALLING_S = 50
"""All calls of the plan begin within this time, evenly."""

TOLERANCE_S = 2.0
"""A message takes this long between SIPp and the engine on a machine busy with other tests. Calls are paired by order."""


def demo(extensions: int = 45) -> Rows:
    """An office without lines to the outside."""
    made: Rows = []
    for kind, row in office(ADDRESS, extensions=extensions, devices=2):
        plain = {name: value for name, value in row.items() if name not in ("emergency_number", "caller_number")}
        made.append((kind, {**plain, "ring_seconds": 5} if row.get("number") == SILENT else plain))
    return made


def at_a_branch(rows: Rows, number: str) -> Rows:
    """The office with one extension at another site."""
    made: Rows = []
    for kind, row in rows:
        made.append((kind, row | ({"site": "branch"} if row.get("number") == number else {})))
        if kind == "site":
            made.append((kind, row | {"id": "branch", "name": "Branch"}))
    return made


@pytest.fixture
def net() -> Iterator[Network]:
    require_root()
    with Network() as net:
        yield net


@contextlib.contextmanager
def history_of(system: System) -> Iterator[History]:
    database = open_history(f"sqlite:///{system.paths.history_db}")
    try:
        yield History(database)
    finally:
        database.close()


def all_calls(history: History) -> list[Call]:
    """Every call, oldest first."""
    calls: list[Call] = []
    after = None
    while True:
        page = history.calls(limit=1000, after=after)
        calls += [stored.call for stored in page.calls]
        after = page.next
        if after is None:
            return calls[::-1]


def count(system: System) -> int:
    with history_of(system) as history:
        return len(all_calls(history))


class Office:
    """Everybody's phones, played by SIPp."""

    def __init__(self, net: Network, work: Path, system: System) -> None:
        self.host, self.work, self.system = net.host("phones"), work, system

    def user(self, device: str, target: str = "") -> User:
        return User(device, self.system.passwords[device], target)

    def callee(self, *devices: str) -> Sipp:
        agent = Sipp(self.host, self.work / devices[0], ADDRESS)
        return agent.register([self.user(device) for device in devices])

    def caller(self, name: str, devices: list[str], target: str, calls: int, rate: float, **more: object) -> Sipp:
        agent = Sipp(self.host, self.work / name, ADDRESS)
        users = [self.user(device, target) for device in devices]
        return agent.calls(users, calls, rate=rate, trace=False, **more)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def at_their_desks(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.callee(f"{ANSWERS}-1", f"{TRANSFERRED}-1").answering(ring_ms=200, trace=False))
            stack.enter_context(self.callee(f"{ANSWERS}-2", f"{SILENT}-1").ringing())
            stack.enter_context(self.callee(f"{BUSY}-1", f"{BUSY}-2").refusing("486 Busy Here"))
            yield

    def call_all(self, plan: dict[str, int]) -> dict[str, Sipp]:
        """Start all calls of the plan; each number called has its own eight callers."""
        runs = {}
        for index, (number, calls) in enumerate(plan.items()):
            devices = CALLERS[8 * index : 8 * index + 8]
            more = {"refer_to": TRANSFERRED} if number == TRANSFERRED else {}
            target = ANSWERS if number == TRANSFERRED else number
            runs[number] = self.caller(f"to-{number}", devices, target, calls, calls / CALLING_S, talk_ms=400, **more)
        return runs


def kill_in_the_middle(system: System, daemon: Child) -> None:
    """kill -9 of the history writer; the next one takes over."""
    daemon.signal(signal.SIGKILL)
    daemon.wait()


def expected(number: str, entry: BookEntry) -> Outcome:
    if entry.refused is None:
        return Outcome.ANSWERED
    return {BUSY: Outcome.BUSY, AWAY: Outcome.FAILED, SILENT: Outcome.NO_ANSWER}[number]


def compare(number: str, books: list[BookEntry], calls: list[Call]) -> None:
    """One caller's calls to one number, in order: SIPp's books and ours, one by one."""
    assert len(books) == len(calls)
    for entry, call in zip(books, calls, strict=True):
        assert call.outcome is expected(number, entry), (entry, call)
        assert not call.incomplete
        assert abs(call.started / 1000 - entry.start) < TOLERANCE_S, (entry, call)
        if entry.answer is None:
            assert call.answered is None
        else:
            assert call.answered is not None
            assert abs(call.answered / 1000 - entry.answer) < TOLERANCE_S, (entry, call)
        if number != TRANSFERRED and entry.end is not None:
            assert abs(call.ended / 1000 - entry.end) < TOLERANCE_S, (entry, call)
        check_legs(number, call)


def check_legs(number: str, call: Call) -> None:
    results = {(leg.device, leg.result) for leg in call.legs if not leg.caller}
    if number == ANSWERS:
        assert results == {(f"{ANSWERS}-1", LegResult.ANSWERED), (f"{ANSWERS}-2", LegResult.ELSEWHERE)}
        assert call.reached_device == f"{ANSWERS}-1"
    elif number == BUSY:
        assert results == {(f"{BUSY}-1", LegResult.BUSY), (f"{BUSY}-2", LegResult.BUSY)}
    elif number == SILENT:
        assert results == {(f"{SILENT}-1", LegResult.NO_ANSWER)}
    elif number == TRANSFERRED:
        transfers = [(transfer.kind, transfer.by, transfer.of, transfer.to) for transfer in call.transfers]
        assert transfers == [("blind", call.from_extension, ANSWERS, TRANSFERRED)]
        assert (f"{TRANSFERRED}-1", LegResult.ANSWERED) in results


@pytest.mark.slow
def test_the_history_equals_sipps_books_for_2000_calls(net: Network, tmp_path: Path) -> None:
    """The writer is dead during the first calls, and is killed twice later."""
    with System(net.host("pbx", number=10), tmp_path, demo()) as system:
        phones = Office(net, tmp_path / "sipp", system)
        with phones.at_their_desks():
            runs = phones.call_all(PLAN)
            eventually(lambda: runs[ANSWERS].statistics().get("total", 0) > 200, "the first calls", 120, 0.2)
            for _ in range(2):
                before = count(system) if system.paths.history_db.exists() else 0
                with system.start_history() as daemon:
                    eventually(lambda before=before: count(system) > before, "some calls in the history", 30)  # type: ignore[misc]
                    kill_in_the_middle(system, daemon)
                system._history = None
            for number, run in runs.items():
                run.finish(240)
                assert run.statistics()["total"] == PLAN[number]
            with system.ami() as ami:
                eventually(lambda: not hang_up_all(ami), "transferred calls end", 30)
            system.start_history()
            eventually(lambda: count(system) == sum(PLAN.values()), "every call is in the history", 30)
        with history_of(system) as history:
            calls = all_calls(history)
            assert history.gaps() == []
            assert len(history.calls(CallFilter(number=BUSY), limit=1000).calls) == PLAN[BUSY]
        for number, run in runs.items():
            books = run.books()
            assert len(books) == PLAN[number]
            for caller in {entry.caller for entry in books}:
                target = ANSWERS if number == TRANSFERRED else number
                theirs = [entry for entry in books if entry.caller == caller]
                ours = [call for call in calls if call.from_device == caller and call.dialled == target]
                compare(number, theirs, ours)
        assert [line for line in system.log() if "func_" in line or "dialplan_functions" in line] == []


def hang_up_all(ami: AmiClient) -> int:
    """End every channel that is left; how many there were."""
    channels = ami.channels()
    for channel in channels:
        with contextlib.suppress(Exception):
            ami.hangup(channel["Channel"], cause=16)
    return len(channels)


def bridged(ami: AmiClient) -> int:
    """How many channels talk to another one."""
    return sum(bool(channel.get("BridgeId")) for channel in ami.channels())


def test_calls_die_with_the_engine(net: Network, tmp_path: Path) -> None:
    """Once while the writer looks on, once while it is dead and the engine is up again before it comes back."""
    with System(net.host("pbx", number=10), tmp_path, demo()) as system:
        phones = Office(net, tmp_path / "sipp", system)
        with phones.at_their_desks():
            daemon = system.start_history()
            for round in (1, 2):
                run = phones.caller(f"round-{round}", CALLERS[:8], ANSWERS, 8, 8, talk_ms=60_000)
                with system.ami() as ami:
                    eventually(lambda ami=ami: bridged(ami) == 16, "8 calls are up")  # type: ignore[misc]
                if round == 2:
                    kill_in_the_middle(system, daemon)
                    system._history = None
                assert system.engine is not None
                system.engine.kill()
                if round == 1:
                    eventually(lambda: count(system) == 8, "the writer notices by itself", 30)
                run.stop(0.1)
                system.start_engine()
                if round == 2:
                    system.start_history()
                    eventually(lambda: count(system) == 16, "the writer finds out later", 30)
        with history_of(system) as history:
            calls = all_calls(history)
    assert {call.outcome for call in calls} == {Outcome.ENGINE_FAILURE}
    assert all(call.answered and call.ended >= call.answered for call in calls)
    assert len({call.run for call in calls}) == 2


def test_a_full_disk_is_alarmed_and_leaves_a_gap(net: Network, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        cel = tmp_path / "state" / "engine" / "cel"
        cel.mkdir(parents=True)
        command(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(cel)])
        stack.callback(command, ["umount", "-l", str(cel)], check=False)
        system = stack.enter_context(System(net.host("pbx", number=10), tmp_path, demo()))
        phones = Office(net, tmp_path / "sipp", system)
        stack.enter_context(phones.at_their_desks())
        system.start_history()
        phones.caller("before", CALLERS[:4], ANSWERS, 4, 4).wait()
        eventually(lambda: count(system) == 4, "calls before")
        fill(cel)
        eventually(lambda: "spool_full" in alarms(system), "the alarm", 20)
        phones.caller("lost", CALLERS[:4], ANSWERS, 4, 4).wait()  # calls work, nobody can write them down
        (cel / "ballast").unlink()
        eventually(lambda: "spool_full" not in alarms(system), "the alarm is over", 20)
        phones.caller("after", CALLERS[:4], ANSWERS, 4, 4).wait()

        def after() -> list[Call]:
            with history_of(system) as history:
                return [call for call in all_calls(history)[4:] if not call.incomplete]

        eventually(lambda: len(after()) == 4, "calls after", 20)
        assert {call.outcome for call in after()} == {Outcome.ANSWERED}
        with history_of(system) as history:
            (gap,) = [gap for gap in history.gaps() if gap.reason == "disk_full"]
            (alarm,) = [alarm for alarm in history.alarms(cleared=True) if alarm.code == "spool_full"]
        assert gap.since <= alarm.raised <= gap.until
        assert alarm.severity == "critical"


def fill(directory: Path) -> None:
    """Leave not one byte."""
    with (directory / "ballast").open("wb", buffering=0) as handle, contextlib.suppress(OSError):
        while handle.write(b"x" * 4096) > 0:
            pass


def alarms(system: System) -> set[str]:
    with history_of(system) as history:
        return {alarm.code for alarm in history.alarms()}


def asked(served: Console, key: str, path: str) -> Any:
    """What the running portal's API answers to a program."""
    request = urllib.request.Request(f"{served.url}/api/v1{path}", headers={"Authorization": f"Bearer {key}"})  # noqa: S310
    context = ssl._create_unverified_context()  # noqa: S323 (a certificate of our own)
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def test_attended_transfer_and_a_caller_who_gives_up(net: Network, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        rows_ = [*at_a_branch(demo(3), "202"), ("person", {"id": "noc", "name": "NOC", "roles": ["auditor"]})]
        system = stack.enter_context(System(net.host("pbx", number=10), tmp_path, rows_))
        system.start_history()
        host = net.host("phones")
        phones = {}
        for n in (1, 2, 3):
            device = f"20{n}-1"
            phone = SoftPhone(host, tmp_path / device, device, system.passwords[device], ADDRESS, tone_hz=300 + 100 * n)
            phones[n] = stack.enter_context(phone)
            phones[n].register()
        call = phones[1].call("202")
        at_bob = phones[2].incoming().answer()
        call.established()
        consultation = phones[2].call("203")
        at_carol = phones[3].incoming().answer()
        consultation.established()
        at_bob.transfer_to(consultation)
        phones[1].hears(600)
        call.hangup()
        at_carol.closed()
        given_up = phones[3].call("201")
        phones[1].incoming()
        given_up.hangup()
        eventually(lambda: count(system) == 2, "both calls", 20)
        with history_of(system) as history:
            talked, cancelled = all_calls(history)
        with console(system) as served, Access.open(system.paths) as access:
            key = access.keys.make("noc", "test", ("history:view",))[1]
            listed, figures = (
                asked(served, key, path) for path in ("/history?outcome=answered", "/statistics?by=site")
            )
    assert [(call["reached_site"], len(call["legs"]), call["transfers"][0]["to"]) for call in listed["items"]] == [
        ("branch", 4, "203")
    ]
    assert {row["key"]: row["calls"] for row in figures["rows"]} == {"hq": 2, "branch": 1}
    assert talked.outcome is Outcome.ANSWERED
    assert [(t.kind, t.by, t.of, t.to) for t in talked.transfers] == [("attended", "202", "201", "203")]
    assert sorted(leg.extension for leg in talked.legs) == ["201", "202", "202", "203"]
    qualities = [leg.quality for leg in talked.legs if leg.quality is not None]
    assert len(qualities) == 4
    assert sorted((leg.extension, leg.site) for leg in talked.legs) == [
        ("201", "hq"),
        ("202", "branch"),
        ("202", "branch"),
        ("203", "hq"),
    ]
    assert (talked.from_site, talked.reached_site) == ("hq", "branch")
    assert (cancelled.from_site, cancelled.reached_site) == ("hq", "")
    assert {leg.site for leg in cancelled.legs} == {"hq"}
    assert sum(quality.received > 20 for quality in qualities) == 2  # the consultation was short
    assert cancelled.outcome is Outcome.CANCELLED
    assert cancelled.from_extension == "203"


def test_quality_of_an_encrypted_call_that_loses_a_tenth(net: Network, tmp_path: Path) -> None:
    rows_ = [(kind, row | ({"media_security": "sdes"} if kind == "device" else {})) for kind, row in demo(2)]
    with contextlib.ExitStack() as stack:
        system = stack.enter_context(System(net.host("pbx", number=10), tmp_path, rows_))
        system.start_history()
        host = net.host("phones")
        for line in (
            "add table inet lossy",
            "add chain inet lossy out { type filter hook output priority 0 ; }",
            # Voice only, which has the even ports: the reports are few, and all of them may not be lost.
            f"add rule inet lossy out ip daddr {ADDRESS} udp dport 10000-19999 udp dport & 1 == 0 "
            "numgen random mod 10 < 1 drop",
        ):
            host.run(["nft", line])
        one, two = (
            stack.enter_context(
                SoftPhone(host, tmp_path / id, id, system.passwords[id], ADDRESS, tone_hz=hz, media="srtp")
            )
            for id, hz in (("201-1", 400), ("202-1", 500))
        )
        one.register()
        two.register()
        call = one.call("202")
        at_two = two.incoming().answer()
        call.established()
        one.listen(500, 12)  # two reports of RTCP
        call.hangup()
        at_two.closed()
        eventually(lambda: count(system) == 1, "the call is in the history", 20)
        with history_of(system) as history:
            (recorded,) = all_calls(history)
    qualities = [leg.quality for leg in recorded.legs]
    assert len(qualities) == 2
    for quality in qualities:
        assert quality is not None
        assert 450 < quality.received < 640
        assert 20 < quality.lost_received < 110  # up to the last report
        assert quality.lost_sent is not None
        assert 0 < quality.jitter_received_ms < 50
        assert quality.round_trip_ms is None or quality.round_trip_ms < 1000
    assert {leg.codec for leg in recorded.legs} <= {"alaw", "g722", "opus", "ulaw"}


def test_calls_over_trunks(net: Network, tmp_path: Path) -> None:
    """In, out over the second line, and an emergency call; read from the spool of an engine without any daemon."""
    with (
        Exchange(net, tmp_path / "engine", rows()) as exchange,
        exchange.line("a") as a,
        exchange.line("b") as b,
        exchange.phone() as phone,
    ):
        phone.register()
        b.call(MAIN, "+390200000777", "198.51.100.10")
        b.hangup()
        a.does((0, "503 Service Unavailable"))
        assert phone.dial("00200000999").code == 200
        phone.hangup(phone.dialogs.pop())
        a.does((0, "200 OK"))
        assert phone.dial("112").code == 200
        phone.hangup(phone.dialogs.pop())
        database = open_history(f"sqlite:///{tmp_path}/history.db")
        try:
            ingest = Ingest(database, Spool(exchange.launcher.paths.cel))

            def read() -> bool:
                ingest.drain()
                return len(History(database).calls().calls) == 3

            eventually(read, "three calls in the history")
            inbound, outbound, emergency = all_calls(History(database))
        finally:
            database.close()
    assert [(call.from_site, call.reached_site) for call in (inbound, outbound, emergency)] == [
        ("", "hq"),
        ("hq", ""),
        ("hq", ""),
    ]
    assert (inbound.direction, inbound.from_trunk, inbound.from_number) == (Direction.INBOUND, "b", "+390200000777")
    assert (inbound.dialled, inbound.reached_extension, inbound.outcome) == (MAIN, "201", Outcome.ANSWERED)
    assert (outbound.direction, outbound.trunk, outbound.failovers) == (Direction.OUTBOUND, "b", 1)
    assert (outbound.from_extension, outbound.dialled) == ("201", "00200000999")
    assert outbound.reached_number == "+390200000999"
    assert [(leg.trunk, leg.result, leg.sip) for leg in outbound.legs if leg.trunk] == [
        ("a", LegResult.FAILED, 503),
        ("b", LegResult.ANSWERED, 200),
    ]
    assert (emergency.direction, emergency.dialled, emergency.trunk) == (Direction.EMERGENCY, "112", "a")


def test_postgresql_holds_the_same_history(tmp_path: Path) -> None:
    engine = Lines()
    engine.start()
    for n in range(200):
        answered_call(engine, losers=n % 3)
        unanswered_call(engine, 17, "BUSY", "SIP 486 Busy Here|Down|alaw|")
    caller(engine).event("ANSWER", name='x\\"; DROP TABLE call; -- 😀')
    (tmp_path / "cel").mkdir()
    data = engine.data()
    (tmp_path / "cel" / "events.csv").write_bytes(data[:70_000] + b"\x00\xff rubbish\n" + data[70_000:])
    with postgres() as server:
        contents = []
        for url in (f"sqlite:///{tmp_path}/history.db", server.database("history")):
            database = open_history(url)
            try:
                for _ in range(3):
                    Ingest(database, Spool(tmp_path / "cel", 30_000)).step()
                Ingest(database, Spool(tmp_path / "cel", 30_000)).drain()
                history = History(database)
                found = [history.calls(limit=100).calls, history.calls(CallFilter(number="102"), limit=1000).calls]
                contents.append((all_calls(history), [call.id for page in found for call in page]))
                with database.read() as connection:
                    context = MigrationContext.configure(connection, opts={"version_table": table.VERSION_TABLE})
                    assert compare_metadata(context, table.metadata) == []
            finally:
                database.close()
    assert contents[0] == contents[1]
    assert len(contents[0][0]) >= 399
