"""``centralino notifications``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.commands.doctor import notifications
from appliance.commands.findings import Grade
from appliance.core.document import parse
from appliance.history import notice
from appliance.history.alarms import Alarms
from appliance.kinds import KINDS
from appliance.notifications.events import Names
from appliance.notifications.queue import Outcome, Wants
from appliance.paths import Paths
from appliance.store import Store
from tests.unit.commands.conftest import Command
from tests.unit.notifications.ground import WHOLE, Ground, call


@pytest.fixture
def ground(run: Command) -> Iterator[Ground]:
    made = Ground(Paths.default().history_db.parent)
    yield made
    made.close()


def dead(ground: Ground) -> list[str]:
    """Three dead letters; their ids, oldest first."""
    ground.notice(call("c.1", *WHOLE))
    ground.queue.fan_out([Wants("crm")], Names({}), 1_795_406_000_000)
    while found := ground.queue.due("crm", 1_795_406_000_000, 10):
        ground.queue.settle([Outcome(each, 410, "HTTP 410", permanent=True) for each in found], {}, 1_795_406_000_000)
    return [each.id for each in reversed(ground.listed())]


def test_dead_letters_are_listed_shown_replayed_and_discarded(run: Command, ground: Ground) -> None:
    ids = dead(ground)
    listed = run.json("notifications", "list", "--state", "dead")
    assert [each["id"] for each in listed] == ids[::-1]
    assert "call.started" in run("notifications", "list")
    shown = run("notifications", "show", ids[0])
    assert "HTTP 410" in shown
    assert '"caller": "+390200000123"' in shown
    assert run.json("notifications", "show", ids[0])["body"]["type"] == notice.STARTED
    assert run.json("notifications", "replay", ids[0]) == {"replayed": 1}
    assert "waiting to be sent already" in run.refused("notifications", "replay", ids[0])
    assert run.json("notifications", "discard", ids[1]) == {"discarded": 1}
    assert "1 will be sent again." in run("notifications", "replay", "--all")
    assert run.json("notifications", "status")["endpoints"][0]["waiting"] == 2
    assert "crm" in run("notifications", "status")
    assert run.json("notifications", "discard", "--endpoint", "crm") == {"discarded": 0}


def test_which_ones_must_be_said(run: Command, ground: Ground) -> None:
    for verb in ("replay", "discard"):
        assert "say which" in run.refused("notifications", verb)
        assert "say which" in run.refused("notifications", verb, "dlv_x", "--all")
        assert "there is no delivery dlv_x" in run.refused("notifications", verb, "dlv_x")


def test_a_test_goes_to_an_endpoint_that_there_is(run: Command, ground: Ground) -> None:
    assert "crm" in run.refused("notifications", "test", "crm")
    target = {"type": "webhook", "url": "https://crm.example.com/", "secret": "hook"}
    rows = [("secret", {"id": "hook"}), ("notification_endpoint", {"id": "crm", "name": "CRM", "target": target})]
    with Store.default(Paths.default()) as store:
        put = [parse(KINDS, kind, row) for kind, row in rows]
        store.promote(store.propose(put, (), base=store.head().number, author="test", message="").number)
    sent = run.json("notifications", "test", "crm")
    assert (sent["type"], sent["endpoint"], sent["state"]) == ("test", "crm", "waiting")
    assert "It is on its way" in run("notifications", "test", "crm")


def test_files_of_exports(run: Command, ground: Ground) -> None:
    assert "No file was made yet." in run("notifications", "files")
    runs = ground.deliveries.runs
    runs.begin("billing", 0)
    runs.add("billing", runs.newest()["billing"], 1, "billing_000001.csv", "{}", 1)
    runs.failed(runs.newest()["billing"].number, "HTTP 507", 60_000, 1)
    assert "billing_000001.csv" in run("notifications", "files")
    assert run.json("notifications", "files", "other") == []
    assert run.json("notifications", "retry", "billing") == {"retried": 1}
    assert run.json("notifications", "status")["exports"][0]["error"] == "HTTP 507"


def test_nothing_was_ever_sent(run: Command, ground: Ground) -> None:
    assert "Nothing was ever sent." in run("notifications", "status")
    assert "There is none." in run("notifications", "list")


def test_the_doctor_tells_of_what_doesn_t_arrive(run: Command, ground: Ground) -> None:
    paths = Paths.default()
    assert [(found.grade, found.message) for found in notifications(paths)] == [(Grade.OK, "nothing waits for long")]
    alarms = Alarms(ground.database)
    alarms.set("notifications_dead", "warning", "3 notifications were given up", True)
    alarms.set("notifications_lost", "critical", "new ones are being lost", True)
    alarms.set("spool_low", "warning", "not about this", True)
    assert [(found.grade, found.message) for found in notifications(paths)] == [
        (Grade.WARNING, "3 notifications were given up"),
        (Grade.FAULT, "new ones are being lost"),
    ]
