"""Firewall and bans in portal and API, over the judge's real process (in a network namespace that isn't there: no kernel)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.access.audit import Event
from appliance.console.identify import Identifier
from appliance.console.portal.firewall_view import ZONES, groups_of, picture_of
from appliance.console.services import Services
from appliance.firewall import promise as firewall
from appliance.firewall import words
from appliance.firewall.bans import asking
from appliance.firewall.bans import model as attempts
from appliance.firewall.bans.service import Service
from appliance.firewall.promise import Machine, promise
from appliance.i18n import speaking
from appliance.paths import Paths
from tests.hil.portal_app import TOKEN, Portal, company, portal_over
from tests.unit.console.asking import Askers
from tests.unit.firewall.test_bans_service import commit, judged, ready, serving

ROWS: list[tuple[str, dict[str, Any]]] = [
    ("site", {"id": "torino", "name": "Turin", "company": "demo", "networks": ["10.3.0.0/24"]}),
    ("branch", {"id": "torino", "site": "torino", "number": 2}),
    ("network", {"id": "phones", "name": "Phones <b>", "zone": "voice", "networks": ["192.0.2.128/25"]}),
    ("network", {"id": "world", "name": "Everywhere", "zone": "clients", "networks": ["0.0.0.0/0", "::/0"]}),
    ("role", {"id": "gatekeeper", "name": "Looks", "permissions": ["firewall:view"]}),
    ("role", {"id": "porter", "name": "Lifts", "permissions": ["firewall:edit"]}),
    ("person", {"id": "watcher", "name": "Watches", "roles": ["gatekeeper"]}),
    ("person", {"id": "porter", "name": "Lifts", "roles": ["porter"]}),
    ("person", {"id": "local", "name": "Lifts in Turin", "roles": ["porter"], "sites": ["torino"]}),
    ("person", {"id": "clerk", "name": "Clerk", "roles": ["user"]}),
    ("person", {"id": "manager", "name": "IT manager", "roles": ["it-manager"], "email": "it@example.com"}),
]  # fmt: skip
PAGES = ("/firewall", "/firewall/bans", "/firewall/bans/lift?network=203.0.113.7")
SPARED = [("company", {"id": "demo", "name": "Demo Srl"}), ("network", {"id": "office", "name": "Office", "zone": "management", "networks": ["192.0.2.0/24"]})]  # fmt: skip


@pytest.fixture
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    monkeypatch.setenv("CENTRALINO_ENGINE_NETNS", "there-is-none")
    monkeypatch.setenv("CENTRALINO_FIREWALL", "on")
    with portal_over(tmp_path, company(ROWS), served=False) as portal:
        yield portal


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path, tmp_path)
    commit(paths, *SPARED)
    return paths


def of(portal: Portal) -> Services:
    found: Services = portal.app.extensions["centralino"]
    return found


def test_the_promise_is_told_in_words_and_as_a_picture(portal: Portal, client: FlaskClient) -> None:
    page = client.get("/firewall").text
    for text in ("Phones &lt;b&gt;", "192.0.2.128/25", "Branches, by the voice VPN", "10.3.0.0/24", "UDP 1194", "10000–19999", "/objects/network/phones",
                 "the applier doesn&#39;t answer", "Counters can&#39;t be read now", "but the voice VPN&#39;s: 1", "<svg class=\"zones\""):  # fmt: skip
        assert text in page, text
    assert "<b>" not in page
    client.set_cookie("language", "it")
    page = client.get("/firewall").text
    assert "Chi può raggiungere cosa" in page
    assert "Telefonia (SIP)" in page


def test_what_is_loaded_is_said(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words for each thing that the applier may say (what it says: tests/hil/test_firewall_commits.py)."""

    def page(rules: dict[str, Any] | None) -> str:
        names = [{"name": "sip.example.com", "addresses": [], "error": "", "refused": [], "asked": False}]
        monkeypatch.setattr(Services, "applier_state", lambda _self: {"firewall": rules, "names": names})
        return client.get("/firewall").text

    loaded = {"revision": 42, "checked": "2026-11-27T11:00:00+00:00", "trouble": ""}
    assert "The rules of revision 42 are loaded; last looked at 27 Nov 2026 12:00:00." in page(loaded)
    assert "Not asked yet" in page(loaded), "how it is with a provider's name"
    refused = page({**loaded, "trouble": "the kernel refuses the firewall's rules: Error: x"})
    assert "The rules of the document aren&#39;t loaded" in refused
    assert "are loaded; last" not in refused
    assert "are loaded; last" not in page({"revision": None, "checked": None, "trouble": ""})
    monkeypatch.delenv("CENTRALINO_FIREWALL")
    assert "so none of this is in force here" in page(loaded)


def test_everything_that_may_be_open_has_a_name_for_people() -> None:
    assert set(words.SERVICES) == {str(each) for each in firewall.Service}
    assert set(words.TRIED) == {str(each) for each in attempts.Service}


def test_the_picture_has_a_line_for_each_zone_and_service_and_no_other(portal: Portal) -> None:
    document = portal.store.document()
    promised = promise(document, Machine())
    groups = groups_of(promised, document)
    assert sum(len(each.openings) for each in groups) == len(promised.openings)
    order = list(ZONES)
    assert [order.index(each.zone) for each in groups] == sorted(order.index(each.zone) for each in groups)
    assert "other" not in {each.zone for each in groups}
    picture = picture_of(groups)
    pairs = {(each.zone, one.service) for each in groups for one in each.openings}
    assert len(picture.lines) == len(pairs)
    assert max(each.y + each.height for each in (*picture.zones, *picture.services)) <= picture.height
    assert picture_of([]).lines == ()


def test_bans_are_shown_searched_and_lifted(portal: Portal, client: FlaskClient, paths: Paths) -> None:
    def look() -> None:
        page = client.get("/firewall/bans").text
        for text in (
            "203.0.113.7/32",
            "2001:db8:1:2::/64",
            "Tried many accounts",
            "<code>309</code>",
            "telephone (SIP)",
            " min",
        ):
            assert text in page, text
        assert "2001:db8" not in client.get("/firewall/bans?q=203.0.113.0/24").text
        assert "There is no such page" in client.get("/firewall/bans?page=2").text
        assert "No ban hits 198.51.100.9" in client.get("/firewall/bans?q=198.51.100.9").text
        assert "Forgive what it has" in client.get("/firewall/bans?q=198.51.100.9").text
        assert "Forgive what it has" not in client.get("/firewall/bans?q=%3Cb%3E").text
        assert "Kept out now after failed attempts: 2" in client.get("/firewall").text
        assert "</span> Bans standing" in client.get("/dashboard").text
        client.set_cookie("language", "it")
        assert "Ha provato molti account" in (found := client.get("/firewall/bans").text)
        assert "password errata" in found
        client.delete_cookie("language")
        ask = client.get("/firewall/bans/lift?network=203.0.113.7")
        assert "Lift the ban of 203.0.113.7/32?" in ask.text
        assert "many accounts" in ask.text
        wrong = client.get("/firewall/bans/lift?network=nonsense%3Cb%3E")
        assert wrong.status_code == 422
        assert "is no network" in wrong.text
        assert "Bans/network" not in wrong.text
        assert '<button class="danger">' not in wrong.text
        assert client.post("/firewall/bans/lift", data={"network": "203.0.113.7"}).status_code == 403, (
            "without the token"
        )
        assert asking.told(paths).count == 2
        done = client.post("/firewall/bans/lift", data={"csrf_token": TOKEN, "network": "203.0.113.7/32"})
        assert (done.status_code, done.headers["Location"]) == (303, "/firewall/bans?lifted=203.0.113.7/32")
        assert "Lifted: 203.0.113.7/32" in client.get(done.headers["Location"]).text
        assert [each.network for each in asking.told(paths).bans] == ["2001:db8:1:2::/64"]
        none = client.post("/firewall/bans/lift", data={"csrf_token": TOKEN, "network": "198.51.100.1"})
        assert "No ban hit it" in client.get(none.headers["Location"]).text
        entry = of(portal).access.audit.entries(limit=2)[1]
        assert (entry.event, entry.author, entry.detail) == (Event.BAN_LIFTED, "boss", {"network": "203.0.113.7/32"})

    async def work(service: Service) -> None:
        await ready(paths)
        await judged(paths, service, "203.0.113.7", "2001:db8:1:2::3")
        await asyncio.to_thread(look)

    serving(paths, work)


def test_who_may_see_and_who_may_lift(portal: Portal, client: FlaskClient) -> None:
    for person in ("clerk", "local"):
        portal.who = person
        for path in PAGES:
            assert client.get(path).status_code == 403, (person, path)
        assert (
            client.post("/firewall/bans/lift", data={"csrf_token": TOKEN, "network": "203.0.113.7"}).status_code == 403
        )
        assert "/firewall" not in client.get("/call").text
        assert "Bans standing" not in client.get("/dashboard").text
    for person in ("watcher", "auditor"):
        portal.who = person
        assert [client.get(path).status_code for path in PAGES] == [200, 200, 403], person
        assert (
            client.post("/firewall/bans/lift", data={"csrf_token": TOKEN, "network": "203.0.113.7"}).status_code == 403
        )
        assert "/firewall/bans" in client.get("/firewall").text
    for person in ("porter", "manager", "boss"):
        portal.who = person
        assert [client.get(path).status_code for path in PAGES] == [200, 200, 200], person
        failed = client.post("/firewall/bans/lift", data={"csrf_token": TOKEN, "network": "203.0.113.7"})
        assert failed.status_code == 422
        assert "The judge of bans isn" in failed.text
    assert of(portal).access.audit.entries() == [], "nothing was lifted"


def test_programs_see_and_do_the_same(portal: Portal, paths: Paths) -> None:
    services = of(portal)
    object.__setattr__(services, "identify", Identifier(services.store, services.access, services.signin))
    ask = Askers(portal.app)
    found = ask("watcher")("GET", "/firewall").json
    assert (found["counters"], found["rules"], found["blocked"]) == (None, None, 1)
    assert {"sources": "anybody", "networks": [], "interface": None, "service": "vpn", "protocol": "udp", "ports": [1194, 1194], "address": None, "at_times": False} in found["openings"]  # fmt: skip
    assert ask("watcher")("GET", "/firewall/bans").json["error_id"] == "bans_not_running"

    def look() -> None:
        bans = ask("watcher")("GET", "/firewall/bans?limit=1").json
        assert (bans["count"], len(bans["items"])) == (2, 1)
        (ban,) = ask("watcher")("GET", "/firewall/bans?search=203.0.113.7").json["items"]
        assert (ban["network"], ban["reason"], ban["evidence"][-1]["account"]) == (
            "203.0.113.7/32",
            "many_accounts",
            "309",
        )
        assert {each["where"] for each in ask("watcher")("GET", "/firewall/bans").json["troubles"]} == {"kernel"}
        for person, status in (("watcher", 403), ("local", 403), ("clerk", 403), ("stranger", 401)):
            assert ask(person)("POST", "/firewall/bans/lift", {"network": "203.0.113.7"}).status_code == status, person
        for path in ("/firewall/bans?limit=0", "/firewall/bans?search=" + "1" * 101):
            assert ask("watcher")("GET", path).status_code == 422
        assert (
            ask("porter")("POST", "/firewall/bans/lift", {"network": "x"}).json["faults"][0]["path"] == "bans/network"
        )
        assert (
            ask("porter", ("firewall:view",))("POST", "/firewall/bans/lift", {"network": "203.0.113.7"}).status_code
            == 403
        )
        assert ask("porter")("POST", "/firewall/bans/lift", {"network": "203.0.113.0/24"}).json == {
            "lifted": ["203.0.113.7/32"]
        }

    async def work(service: Service) -> None:
        await ready(paths)
        await judged(paths, service, "203.0.113.7", "2001:db8:1:2::3")
        await asyncio.to_thread(look)

    serving(paths, work)


def test_every_counter_and_reason_is_translated() -> None:
    from appliance.firewall.bans.sets import COUNTERS as BANNED
    from appliance.firewall.rules import COUNTERS
    from appliance.i18n import translated

    speaking("it")
    try:
        assert [text for text in (*COUNTERS.values(), *BANNED.values()) if translated(text) == text] == []
    finally:
        speaking("")
