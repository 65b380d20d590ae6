"""Killed anywhere: the reader of the spool and the sender neither lose an event nor invent one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.history import ingest as ingesting
from appliance.history.ingest import Ingest
from appliance.history.spool import Spool
from appliance.notifications.events import Names
from appliance.notifications.queue import Queue, Wants
from appliance.notifications.state import State
from tests.unit.history.events import Engine, answered_call, unanswered_call
from tests.unit.notifications.ground import Ground
from tests.unit.notifications.receiver import Handler, Receiver, authority, status

CALLS = 120


def spool(work: Path, calls: int) -> None:
    engine = Engine()
    engine.start()
    for n in range(calls):
        if n % 4:
            answered_call(engine, talk_ms=10)
        else:
            unanswered_call(engine, 17, "BUSY", "SIP 486 Busy Here|Down|alaw|")
    (work / "cel").mkdir()
    (work / "cel" / "events.csv").write_bytes(engine.data())


def test_killed_thirty_times_every_event_arrives_in_order(tmp_path: Path, receiver: Receiver) -> None:
    spool(tmp_path, CALLS)
    (tmp_path / "authority.pem").write_text(authority().pem)
    count = iter(range(10**9))

    def now_and_then_an_error(handler: Handler) -> None:
        status(503 if next(count) % 50 == 49 else 204)(handler)

    receiver.default = now_and_then_an_error
    argv = [sys.executable, "-m", "tests.unit.notifications.killed", str(tmp_path), receiver.url(), str(tmp_path / "authority.pem"), "30", str(CALLS)]  # fmt: skip
    run = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    told = json.loads(run.stdout)
    assert told == {"killed": {"reader": 10, "sender": 20}, "done": True}, run.stderr
    ids: dict[tuple[str, str], set[str]] = {}
    order: dict[str, list[str]] = {}
    for request in receiver.requests:
        key, type = request.json["data"]["call"], request.json["type"]
        ids.setdefault((key, type), set()).add(request.id)
        if type not in order.setdefault(key, []):
            order[key].append(type)
    assert all(len(each) == 1 for each in ids.values()), "an event has one id, however often it is sent"
    assert len(order) == CALLS
    answered, missed = ["call.started", "call.answered", "call.ended"], ["call.started", "call.missed", "call.ended"]
    assert sorted(map(tuple, order.values())) == sorted([tuple(answered)] * 90 + [tuple(missed)] * 30)
    assert len(receiver.requests) >= len(ids)


def test_a_transaction_that_fails_leaves_neither_calls_nor_notices(
    tmp_path: Path, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool(tmp_path, 3)
    reader = Ingest(ground.database, Spool(tmp_path / "cel"))
    real = ingesting.outbox.put

    def full(*args: object, **more: object) -> None:
        real(*args, **more)  # type: ignore[arg-type]
        raise UnavailableError("the disk is full", error_id="disk_full")

    monkeypatch.setattr(ingesting.outbox, "put", full)
    with pytest.raises(UnavailableError):
        reader.drain()
    queue = Queue(ground.database)
    assert queue.fan_out([Wants("crm")], Names({}), 0) == 0
    monkeypatch.setattr(ingesting.outbox, "put", real)
    reader.drain()
    assert queue.fan_out([Wants("crm")], Names({}), 0) == 9
    assert [d.type for d in reversed(ground.listed(state=State.WAITING))][:3] == [
        "call.started",
        "call.missed",
        "call.ended",
    ]
    assert json.loads(ground.listed()[0].body)["data"]["history_id"] == 3
