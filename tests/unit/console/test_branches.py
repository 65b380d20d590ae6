"""Branches in portal and API: how they stand, who sees them, who may shut one out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.access.audit import Event
from appliance.console.identify import Identifier
from appliance.console.portal.branches import fault_text
from appliance.console.portal.writing import bit_rate, milliseconds, size
from appliance.console.services import Services
from appliance.i18n import speaking
from appliance.vpn.pki import Authority
from tests.hil.agents.process import eventually
from tests.hil.portal_app import TOKEN, Portal, company, portal_over
from tests.unit.console.asking import Askers
from tests.unit.console.edge import FAULT, ROME, TURIN, edge, told
from tests.unit.vpn.ground import Ground, csr

ROWS: list[tuple[str, dict[str, Any]]] = [
    ("site", {"id": "torino", "name": "Turin <office>", "company": "demo", "networks": ["10.3.0.0/24"]}),
    ("site", {"id": "roma", "name": "Rome", "company": "demo", "networks": ["10.4.0.0/24"]}),
    ("branch", {"id": "torino", "site": "torino", "number": 2}),
    ("branch", {"id": "roma", "site": "roma", "number": 3}),
    ("role", {"id": "tender", "name": "Tends branches", "permissions": ["branch:edit", "site:view"]}),
    ("role", {"id": "watcher", "name": "Watches branches", "permissions": ["branch:view"]}),
    ("person", {"id": "roman", "name": "Tends Rome", "roles": ["tender"], "sites": ["roma"]}),
    ("person", {"id": "watcher", "name": "Watches", "roles": ["watcher"]}),
    ("person", {"id": "clerk", "name": "Clerk", "roles": ["user"]}),
    ("person", {"id": "manager", "name": "IT manager", "roles": ["it-manager"], "email": "it@example.com"}),
]  # fmt: skip


@pytest.fixture
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    monkeypatch.setenv("CENTRALINO_VPN", "on")
    with portal_over(tmp_path, company(ROWS), served=False) as portal:
        yield portal


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Ground(tmp_path).authority


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


def of(portal: Portal) -> Services:
    found: Services = portal.app.extensions["centralino"]
    return found


def test_the_page_shows_how_branches_stand(portal: Portal, client: FlaskClient) -> None:
    with edge(of(portal).paths, portal.store, told(TURIN, ROME, faults=(FAULT,))):
        page = client.get("/branches").text
        for text in ("Turin &lt;office&gt;", "198.51.100.7", "172.29.0.3", "12 ms", "3 %", "84 kbit/s", "1.2 Mbit/s", "123 MB", "2.6.14",
                     "5 Dec 2026", "soon", "not connected", "switched off", "1 / 2", "Openvpn is not installed (apt install openvpn)"):  # fmt: skip
            assert text in page, text
        assert "/objects/branch/torino" in page
        assert "/branches/torino/revoke" in page
        client.set_cookie("language", "it")
        page = client.get("/branches").text
        assert "1,2 Mbit/s" in page
        assert "Filiali adesso" in page
        assert "non è installato" in page
        assert ">1 / 2</span> " in client.get("/dashboard").text


def test_each_sees_their_own_and_strangers_nothing(portal: Portal, client: FlaskClient) -> None:
    with edge(of(portal).paths, portal.store, told(TURIN, ROME, faults=(FAULT,))):
        portal.who = "roman"
        page = client.get("/branches").text
        assert "Rome" in page
        assert "Turin" not in page
        assert "installed" not in page, "alarms are for those who may see the system"
        assert "/branches/roma/revoke" in page
        assert (
            client.get("/branches/torino/revoke").status_code == client.get("/branches/none/revoke").status_code == 404
        )
        portal.who = "watcher"
        page = client.get("/branches").text
        assert "Turin" in page
        assert "/revoke" not in page
        assert client.get("/branches/torino/revoke").status_code == 403
        for person in ("clerk",):
            portal.who = person
            assert client.get("/branches").status_code == 403
            assert "/branches" not in client.get("/panel").text
            assert client.get("/branches/torino/revoke").status_code == 404


def test_a_branch_is_shut_out_after_a_question_and_it_is_written_down(
    portal: Portal, client: FlaskClient, authority: Authority
) -> None:
    name = authority.enrol("torino", csr()).issued.name
    with edge(of(portal).paths, portal.store, told(TURIN, ROME), authority):
        assert "Shut out Turin &lt;office&gt;?" in client.get("/branches/torino/revoke").text
        assert client.post("/branches/torino/revoke").status_code == 403, "without the session's token"
        assert authority.living("torino") != []
        done = client.post("/branches/torino/revoke", data={"csrf_token": TOKEN})
        assert (done.status_code, done.headers["Location"]) == (303, "/branches?revoked=torino")
        assert "it is cut off" in client.get("/branches?revoked=torino").text
    assert authority.living("torino") == []
    assert name in {each.name for each in authority.issued("torino")}
    entry = of(portal).access.audit.entries()[0]
    assert (entry.event, entry.author, entry.address, entry.detail) == (
        Event.BRANCH_REVOKED,
        "boss",
        "127.0.0.1",
        {"site": "torino"},
    )


def test_when_nobody_is_there_it_says_so_and_the_audit_too(portal: Portal, client: FlaskClient) -> None:
    page = client.get("/branches")
    assert page.status_code == 200
    assert "their tunnels go on" in page.text
    failed = client.post("/branches/torino/revoke", data={"csrf_token": TOKEN})
    assert failed.status_code == 409
    assert "isn&#39;t certain" in failed.text
    first, second = of(portal).access.audit.entries(limit=2)[::-1]
    assert (first.detail, second.detail) == ({"site": "torino"}, {"failed": "vpn_not_running", "site": "torino"})


@pytest.mark.parametrize("started", [True, False])
def test_an_empty_page_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: bool) -> None:
    monkeypatch.delenv("CENTRALINO_VPN", raising=False)
    left = [each for each in company() if each.kind != "branch" and (started or each.kind != "concentrator")]
    with portal_over(tmp_path, left, served=False) as portal:
        client = portal.app.test_client()
        page = client.get("/branches").text
        assert "CENTRALINO_VPN=on" in page
        portal.who = "auditor"
        assert "/revoke" not in client.get("/branches").text


def test_programs_see_and_do_the_same(portal: Portal, authority: Authority) -> None:
    services = of(portal)
    object.__setattr__(services, "identify", Identifier(services.store, services.access, services.signin))
    ask = Askers(portal.app)
    name = authority.enrol("torino", csr()).issued.name
    with edge(services.paths, portal.store, told(TURIN, ROME), authority) as says:
        found = ask("boss")("GET", "/branches").json
        assert {each["id"]: each["state"] for each in found["items"]} == {
            "torino": "connected",
            "roma": "away",
            "milano": "off",
        }
        assert found["items"] == ask("boss")("GET", "/live/branch").json["items"]
        assert [each["id"] for each in ask("roman")("GET", "/branches").json["items"]] == ["roma"]
        says["branches"] = []
        eventually(
            lambda: all(each["state"] != "connected" for each in ask("boss")("GET", "/branches").json["items"]),
            "it is seen",
        )
        for person, branch, status in (
            ("clerk", "torino", 404), ("roman", "torino", 404), ("roman", "none", 404), ("watcher", "torino", 403), ("stranger", "torino", 401),
        ):  # fmt: skip
            assert ask(person)("POST", f"/branches/{branch}/revoke").status_code == status, (person, branch)
        assert ask("clerk")("GET", "/branches").json["error_id"] == "forbidden"
        assert authority.living("torino") != []
        assert ask("manager")("POST", "/branches/torino/revoke").json == {"revoked": [name]}
    assert ask("boss")("POST", "/branches/roma/revoke").json["error_id"] == "vpn_not_running"
    assert services.access.audit.entries(limit=3)[2].author.startswith("key:")


def test_figures_are_written_as_a_script_writes_them() -> None:
    assert [bit_rate(each) for each in (None, 0, 84_000, 999_499, 1_240_000)] == [
        "–",
        "0 kbit/s",
        "84 kbit/s",
        "999 kbit/s",
        "1.24 Mbit/s",
    ]
    assert [size(each) for each in (0, 999_600, 12_300_000_000_000_000)] == ["0 kB", "1 MB", "12300 TB"]
    assert [milliseconds(each) for each in (None, 0.04, 12, 120.0)] == ["–", "0.04 ms", "12 ms", "120 ms"]


def test_faults_are_told_in_two_parts() -> None:
    speaking("it")
    try:
        assert fault_text(FAULT) == "openvpn non è installato (apt install openvpn)"
        assert fault_text("something (else) that nobody knows (x)") == "something (else) that nobody knows (x)"
    finally:
        speaking("")
