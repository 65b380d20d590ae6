"""The daemon: alarms, a database that refuses, the command around it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.core.document import parse
from appliance.core.errors import UnavailableError
from appliance.history import notice
from appliance.history.service import History
from appliance.kinds import KINDS
from appliance.notifications import run as running
from appliance.notifications.run import Daemon
from appliance.notifications.state import State
from appliance.paths import Paths
from appliance.store import Store
from tests.unit.notifications.ground import KEY, SECRET, Ground, call, until
from tests.unit.notifications.receiver import Receiver, authority, status


def at_work(ground: Ground, what: object, seconds: float = 8.0) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        daemon = Daemon(ground.database, ground.document)  # type: ignore[arg-type]
        task = asyncio.create_task(daemon.run(stop))
        try:
            await until(what, seconds)  # type: ignore[arg-type]
        finally:
            stop.set()
            await task

    asyncio.run(run())


def alarms(ground: Ground) -> dict[str, str]:
    return {alarm.code: alarm.message for alarm in History(ground.database).alarms()}


def test_alarms_are_raised_told_and_cleared(
    ground: Ground, receiver: Receiver, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCH_S", 0.05), ("FAILING_S", 0.2), ("MANY", 3)):
        monkeypatch.setattr(running, name, value)
    receiver.behaviours = {"/bad": status(503)}
    ground.document.put("bad", receiver.url("/bad"))
    ground.document.put("noc", receiver.url("/noc"), events=("alarm.raised", "alarm.cleared"))
    ground.notice(*(call(f"c.{n}", notice.STARTED) for n in range(4)))
    at_work(ground, lambda: {"notifications_failing", "notifications_many"} <= alarms(ground).keys())
    assert alarms(ground)["notifications_failing"] == "notifications can't be delivered to bad (HTTP 503)"
    receiver.behaviours = {"/bad": status(410)}
    at_work(ground, lambda: alarms(ground).keys() == {"notifications_dead"})
    text = alarms(ground)["notifications_dead"]
    assert re.fullmatch(r"\d+ notifications were given up: centralino notifications list --state dead", text)
    receiver.behaviours = {}
    ground.deliveries.replay_dead()
    at_work(ground, lambda: not alarms(ground) and not ground.listed(state=State.WAITING, endpoint="noc"))
    at_work(ground, lambda: len(receiver.types("/noc")) >= 6)
    for code in ("notifications_failing", "notifications_many", "notifications_dead"):
        mine = [r.json["type"] for r in receiver.at("/noc") if r.json["data"]["alarm"] == code]
        assert mine[:2] == [notice.ALARM_RAISED, notice.ALARM_CLEARED], code


def test_a_database_that_refuses_is_tried_again_and_nothing_is_lost(
    ground: Ground, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running, "RETRY_S", 0.02)
    ground.document.put("crm", receiver.url("/"))
    ground.notice(call("c.1", notice.STARTED, notice.ENDED))
    failures = iter(range(12))
    for name in ("fan_out", "due", "settle"):
        real = getattr(type(ground.queue), name)

        def refusing(self: object, *args: object, real: object = real, **more: object) -> object:
            if next(failures, None) is not None:
                raise UnavailableError("history.db: the disk is full", "free some space", error_id="disk_full")
            return real(self, *args, **more)  # type: ignore[operator]

        monkeypatch.setattr(type(ground.queue), name, refusing)
    at_work(ground, lambda: len(ground.listed(state=State.DELIVERED)) == 2)
    assert caplog.text.count("the disk is full") == 1, "said once, not at each attempt"
    assert receiver.types() == [notice.STARTED, notice.ENDED]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_sends_what_waits_and_ends_when_told(tmp_path: Path, receiver: Receiver, number: int) -> None:
    """With a document and a secret as the applier hands it over; nothing of it in the log."""
    paths = Paths(tmp_path / "state", tmp_path)
    rows = [
        ("secret", {"id": "hook"}),
        ("notification_endpoint", {"id": "crm", "name": "CRM", "target": {
            "type": "webhook", "url": receiver.url("/T0KEN"), "secret": "hook", "allow_local": True, "authority": authority().pem}}),
    ]  # fmt: skip
    with Store.default(paths) as store:
        revision = store.propose([parse(KINDS, kind, row) for kind, row in rows], (), base=0, author="test", message="")
        store.promote(revision.number)
    place = paths.handed_to("notifications")
    place.mkdir(parents=True)
    (place / "secrets.json").write_text(json.dumps({"hook": SECRET}))
    work = paths.history_db.parent
    ground = Ground(work)
    ground.notice(call("c.1", notice.STARTED))
    log = tmp_path / "log"
    environment = {**os.environ, "CENTRALINO_STATE": str(paths.state)}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance.notifications"], env=environment, stdout=output, stderr=output
        )
    try:
        asyncio.run(until(lambda: receiver.requests, 20))
        asyncio.run(until(lambda: ground.listed(state=State.DELIVERED)))
        process.send_signal(number)
        assert process.wait(10) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        ground.close()
    assert receiver.requests[0].signed_by(KEY)
    assert "T0KEN" not in log.read_text()
    assert SECRET not in log.read_text()
