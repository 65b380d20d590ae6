"""What was sent to whom: over the API and in the portal, as far as somebody may see and do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.console.app import create_app
from appliance.console.services import Services
from appliance.core.document import parse
from appliance.history import notice
from appliance.kinds import KINDS
from appliance.notifications.events import Names
from appliance.notifications.queue import Health, Outcome, Wants
from appliance.notifications.state import State
from appliance.paths import Paths
from tests.hil.portal_app import TOKEN, Portal, company, portal_over
from tests.unit.access.company import ROWS, filled
from tests.unit.console.asking import Askers
from tests.unit.notifications.ground import WHOLE, Ground, call

HOOK = {"type": "webhook", "url": "https://crm.example.com/", "secret": "line"}
TARGET = {"type": "https", "url": "https://files.example.com/", "secret": "line"}
MORE: list[tuple[str, dict[str, Any]]] = [
    ("notification_endpoint", {"id": "crm", "name": "CRM", "target": HOOK}),
    (
        "notification_endpoint",
        {"id": "mail", "name": "Mail", "target": {"type": "email", "address": "noc@example.com"}},
    ),
    ("history_export", {"id": "billing", "name": "Billing", "site": "milano", "target": TARGET}),
    ("role", {"id": "watcher", "name": "Watcher", "permissions": ["system:view", "history:view"], "sites": ["milano"]}),
    ("person", {"id": "watcher", "name": "Sees one site's calls", "roles": ["watcher"]}),
]
NOW = 1_795_406_000_000


def prepared(ground: Ground) -> dict[str, str]:
    """Three deliveries: one dead, one delivered, one that waits; and a file that waits. Type → id."""
    ground.notice(call("c.1", *WHOLE))
    ground.queue.fan_out([Wants("crm")], Names({}), NOW)
    for outcome in ({"error": "HTTP 410", "permanent": True}, {}):
        (due,) = ground.queue.due("crm", NOW, 5)
        ground.queue.settle([Outcome(due, 410 if outcome else 204, **outcome)], {}, NOW)  # type: ignore[arg-type]
    ground.queue.settle([], {"crm": Health(5, NOW, NOW, "HTTP 503")}, NOW)
    runs = ground.deliveries.runs
    runs.begin("billing", NOW)
    runs.add("billing", runs.newest()["billing"], NOW, "billing_000001.csv", "{}", NOW)
    runs.failed(runs.newest()["billing"].number, "HTTP 507", 60_000, NOW)
    return {each.type: each.id for each in ground.listed()}


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Askers]:
    paths = Paths(tmp_path, tmp_path)
    filled(paths.store, [*ROWS, *MORE]).close()
    services = Services.open(paths)
    yield Askers(create_app(services))
    services.close()


@pytest.fixture
def ground(ask: Askers, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(Paths(tmp_path, tmp_path).store)
    yield made
    made.close()


def test_they_are_listed_shown_replayed_and_discarded(ask: Askers, ground: Ground) -> None:
    ids, api = prepared(ground), ask("it-manager")
    page = api("GET", "/deliveries?limit=2").json
    assert [item["type"] for item in page["items"]] == [notice.ENDED, notice.ANSWERED]
    rest = api("GET", f"/deliveries?limit=2&before={page['next']}").json
    assert ([item["type"] for item in rest["items"]], rest["next"]) == ([notice.STARTED], None)
    (dead,) = api("GET", "/deliveries?state=dead&endpoint=crm").json["items"]
    assert (dead["id"], dead["status"], dead["error"], dead["finished"]) == (
        ids[notice.STARTED],
        410,
        "HTTP 410",
        "2026-11-23T03:53:20.000Z",
    )
    assert dead["body"]["data"]["caller"] == "+390200000123"
    assert api("GET", f"/deliveries/{dead['id']}").json == dead
    again = api("POST", f"/deliveries/{dead['id']}/replay").json
    assert (again["id"], again["state"], again["attempts"]) == (dead["id"], "waiting", 0)
    assert api("POST", f"/deliveries/{dead['id']}/replay").json["error_id"] == "waiting"
    assert api("POST", "/deliveries/replay", {"endpoint": "crm"}).json == {"count": 0}
    assert api("DELETE", f"/deliveries/{dead['id']}").json["error_id"] == "not_dead"
    ground.queue.settle([Outcome(ground.queue.due("crm", 2 * NOW, 5)[0], 410, "HTTP 410", permanent=True)], {}, NOW)
    assert api("DELETE", f"/deliveries/{dead['id']}").status_code == 204
    assert api("GET", f"/deliveries/{dead['id']}").status_code == 404
    (endpoint,) = api("GET", "/deliveries/endpoints").json["items"]
    assert (endpoint["id"], endpoint["error"], endpoint["delivered"]) == ("crm", "HTTP 503", 1)
    (file,) = api("GET", "/deliveries/files?export=billing").json["items"]
    assert (file["file"], file["state"], file["error"]) == ("billing_000001.csv", "waiting", "HTTP 507")
    assert api("POST", "/deliveries/files/billing/retry").json == {"count": 1}
    sent = api("POST", "/deliveries/test", {"endpoint": "crm"})
    assert (sent.status_code, sent.json["type"], sent.json["state"]) == (201, "test", "waiting")


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("GET", "/deliveries?state=odd", None, 422), ("GET", "/deliveries?limit=0", None, 422), ("GET", "/deliveries?endpoint=A", None, 422),
        ("GET", "/deliveries?before=x", None, 422), ("GET", "/deliveries/dlv_nothing", None, 404), ("POST", "/deliveries/dlv_x/replay", None, 404),
        ("DELETE", "/deliveries/dlv_x", None, 404), ("POST", "/deliveries/test", {"endpoint": "mail"}, 404),
        ("POST", "/deliveries/test", {"endpoint": "none"}, 404), ("POST", "/deliveries/test", {}, 422),
        ("POST", "/deliveries/replay", {"endpoint": 1}, 422), ("POST", "/deliveries/files/none/retry", None, 404),
    ],
)  # fmt: skip
def test_what_can_t_be_is_told(ask: Askers, ground: Ground, method: str, path: str, data: Any, status: int) -> None:
    answer = ask("administrator")(method, path, data)
    assert answer.status_code == status, answer.text


def test_who_may_see_and_who_may_do(ask: Askers, ground: Ground) -> None:
    """A test of its own: what is told of calls is for those who may see every call."""
    ids = prepared(ground)
    reads = ("/deliveries", f"/deliveries/{ids[notice.ENDED]}", "/deliveries/endpoints", "/deliveries/files")
    writes = (
        ("POST", f"/deliveries/{ids[notice.STARTED]}/replay", None), ("POST", "/deliveries/replay", {}),
        ("POST", "/deliveries/test", {"endpoint": "crm"}), ("DELETE", f"/deliveries/{ids[notice.STARTED]}", None),
        ("POST", "/deliveries/files/billing/retry", None),
    )  # fmt: skip
    for person in ("hr-manager", "operator", "user", "torinese", "nobody", "namer"):
        for path in reads:
            assert ask(person)("GET", path).json["error_id"] == "forbidden", (person, path)
    for person in ("hr-manager", "operator", "user", "torinese", "nobody", "namer", "auditor", "watcher"):
        for method, path, data in writes:
            assert ask(person)(method, path, data).json["error_id"] == "forbidden", (person, path)
    assert len(ground.listed(state=State.DEAD)) == 1
    assert ask("auditor")("GET", reads[1]).json["body"]["data"]["outcome"] == "answered"
    assert ask("watcher")("GET", reads[1]).json["body"] is None
    assert "+390200000123" not in ask("watcher")("GET", "/deliveries").text
    assert ask("administrator", ("system:view",))("GET", reads[1]).json["body"] is None, "a key that may not see calls"


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    rows = [parse(KINDS, kind, row) for kind, row in MORE if row["id"] in ("crm", "billing")]
    known = [*company(), *rows, parse(KINDS, "secret", {"id": "line"})]
    with portal_over(tmp_path, {(each.kind, each.id): each for each in known}.values(), served=False) as made:
        yield made


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


def test_pages_show_and_do_the_same(portal: Portal, client: FlaskClient, tmp_path: Path) -> None:
    assert client.get("/deliveries").status_code == 503, "there is no history yet"
    assert "no call history yet" in client.get("/deliveries").text
    ground = Ground(Paths(tmp_path, tmp_path).store)
    assert "Nothing was sent yet." in client.get("/deliveries").text
    ids = prepared(ground)
    page = client.get("/deliveries").text
    for text in (
        "crm",
        "HTTP 503",
        "HTTP 410",
        "Call missed" if notice.MISSED in ids else "Call ended",
        "billing_000001.csv",
        "Try now",
        "Send a test",
    ):
        assert text in page
    assert "Call ended" not in client.get("/deliveries?state=dead&to=crm").text
    for odd in ("state=x", "to=../x", "before=x", "before=99999999999999999", "again=x", "again=<b>"):
        assert client.get(f"/deliveries?{odd}").status_code == 200
    shown = client.get(f"/deliveries/{ids[notice.STARTED]}").text
    assert "&#34;caller&#34;: &#34;+390200000123&#34;" in shown
    assert client.get("/deliveries/dlv_none").status_code == 404

    def post(path: str, **data: str) -> Any:
        return client.post(path, data={"csrf_token": TOKEN, **data})

    assert client.post(f"/deliveries/{ids[notice.STARTED]}/replay").status_code == 403, "without the token"
    moved = post(f"/deliveries/{ids[notice.STARTED]}/replay")
    assert (moved.status_code, moved.headers["Location"]) == (303, f"/deliveries/{ids[notice.STARTED]}?again=1")
    assert "1 will be sent again." in client.get(moved.headers["Location"]).text
    ground.queue.settle([Outcome(ground.queue.due("crm", 2 * NOW, 5)[0], 410, "HTTP 410", permanent=True)], {}, NOW)
    assert post("/deliveries/replay", endpoint="crm").headers["Location"] == "/deliveries?to=crm&again=1"
    ground.queue.settle([Outcome(ground.queue.due("crm", 2 * NOW, 5)[0], 410, "HTTP 410", permanent=True)], {}, NOW)
    assert post(f"/deliveries/{ids[notice.STARTED]}/discard").status_code == 303
    assert post("/deliveries/retry", export="billing").headers["Location"] == "/deliveries?again=1"
    tried = post("/deliveries/test", endpoint="crm").headers["Location"]
    assert "Test event" in client.get(tried).text
    portal.who = "auditor"
    page = client.get("/deliveries").text
    assert "Send a test" not in page
    assert post("/deliveries/test", endpoint="crm").status_code == 403
    ground.close()


def test_the_menu_has_it_for_those_who_may(portal: Portal, client: FlaskClient) -> None:
    assert 'href="/deliveries"' in client.get("/objects/site").text
    portal.who = "auditor"
    assert 'href="/deliveries"' in client.get("/objects/site").text
