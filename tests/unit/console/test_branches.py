"""Branches in portal and API: how they stand, who sees them, who may shut one out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.access.audit import Event
from appliance.console.identify import Identifier
from appliance.console.portal.writing import bit_rate, milliseconds, size
from appliance.console.services import Services
from appliance.failover.drill import Line
from appliance.i18n import fault_text, speaking
from appliance.vpn.inside.events import Events, read
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
        lines = dict(re.findall(r'(?s)<li data-line="([^"]+)">(.*?)</li>', page))
        assert {id: re.sub(r"<[^>]+>|\s+", " ", text).split() for id, text in lines.items()} == {
            "torino-fibre": ["Fibra", "voce", "is", "down"],
            "torino-adsl": ["ADSL", "works", "3", "%", "lost"],
            "torino-lte": ["LTE", "works", "held", "back:", "used", "where", "no", "other", "works"],
        }
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
        assert "Turin &lt;office&gt; is shut out" in client.get("/branches?revoked=torino").text
        assert "is shut out" not in client.get("/branches?revoked=nobody").text
    assert authority.living("torino") == []
    assert name in {each.name for each in authority.issued("torino")}
    entry = of(portal).access.audit.entries()[0]
    assert (entry.event, entry.author, entry.address, entry.detail) == (
        Event.BRANCH_REVOKED,
        "boss",
        "127.0.0.1",
        {"site": "torino"},
    )


def drilled(folder: Path, month: str, **lines: dict[str, Any]) -> None:
    """What was counted of a line of each site in a month."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {site: {f"{site}-line": asdict(Line(f"Line <{site}>", "backup", **line))} for site, line in lines.items()}
    (folder / f"{month}.json").write_text(json.dumps(made))


def test_what_lines_would_have_done_by_themselves(portal: Portal, client: FlaskClient, authority: Authority) -> None:
    services = of(portal)
    assert client.get("/branches/drill").status_code == 200, "nobody is there, and it says so"
    assert "isn&#39;t running" in client.get("/branches/drill").text
    with edge(services.paths, portal.store, told(TURIN, ROME), authority):
        assert "No line has been watched yet" in client.get("/branches/drill").text
        drilled(
            services.paths.vpn.drill, "2026-10", torino={"good": 99_990.0, "down": 10.0, "outages": 1, "longest": 10.0}
        )
        drilled(
            services.paths.vpn.drill, "2026-11", torino={"good": 900.0, "poor": 7200.0, "alone": 61.0}, roma={"good": 100.0}
        )  # fmt: skip
        page = client.get("/branches/drill").text
        rows = re.findall(r'(?s)<tr data-line="([^"]+)">(.*?)</tr>', page)
        assert [id for id, _row in rows] == ["torino-line", "roma-line"]
        assert ">Line &lt;torino&gt; " in rows[0][1]
        assert ">11.11 %</span>" in rows[0][1]
        assert "removed" in rows[0][1]
        assert "2 h 00 min" in rows[0][1]
        assert ">1 min</td>" in rows[0][1]
        assert ">100.00 %</span>" in rows[1][1]
        assert '<option value="2026-11" selected>Nov 2026' in page
        older = client.get("/branches/drill?month=2026-10").text
        assert "99.99 %" in older
        assert "outages: 1, the longest 10 s" in older
        assert client.get("/branches/drill?month=2026-13").status_code == 422
        assert "Nothing is known of that month" in client.get("/branches/drill?month=1999-01").text
        client.set_cookie("language", "it")
        assert "99,99 %" in client.get("/branches/drill?month=2026-10").text
        portal.who = "roman"
        page = client.get("/branches/drill").text
        assert "roma-line" in page
        assert "torino" not in page
        for person, status in (("watcher", 200), ("clerk", 403)):
            portal.who = person
            assert client.get("/branches/drill").status_code == status
        (services.paths.vpn.drill / "2026-11.json").write_text("{")
        portal.who = "watcher"
        assert client.get("/branches/drill").status_code == 503
        assert client.get("/branches/drill").status_code == 200, "it was put aside"


def test_when_nobody_is_there_it_says_so_and_the_audit_too(portal: Portal, client: FlaskClient) -> None:
    page = client.get("/branches")
    assert page.status_code == 200
    assert "their tunnels go on" in page.text
    failed = client.post("/branches/torino/revoke", data={"csrf_token": TOKEN})
    assert failed.status_code == 409
    assert "isn&#39;t certain" in failed.text
    first, second = of(portal).access.audit.entries(limit=2)[::-1]
    assert (first.detail, second.detail) == ({"site": "torino"}, {"failed": "vpn_not_running", "site": "torino"})


def test_many_branches_are_searched_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRALINO_VPN", "on")
    more = list(ROWS)
    for n in range(60):
        more.append(("site", {"id": f"s{n}", "name": f"Shop {n:02}", "company": "demo", "networks": [f"10.100.{n}.0/24"]}))  # fmt: skip
        more.append(("branch", {"id": f"s{n}", "site": f"s{n}", "number": 10 + n}))
    gone: list[dict[str, Any]] = [{**ROME, "site": f"s{n}"} for n in range(60)]
    with portal_over(tmp_path, company(more), served=False) as portal:
        client = portal.app.test_client()

        def rows(path: str) -> list[str]:
            return re.findall(r'data-branch="([^"]+)"', client.get(path).text)

        with edge(of(portal).paths, portal.store, told(TURIN, ROME, *gone)):
            assert len(rows("/branches")) == 50
            assert "1–50 of 63" in client.get("/branches").text
            assert ">1 / 62</span> Branches connected" in client.get("/branches").text, "of all, not of this page"
            assert rows("/branches?page=2")[-2:] == ["torino", "milano"]
            assert rows("/branches?page=nonsense") == rows("/branches?page=-1") == rows("/branches")
            assert rows("/branches?page=99") == rows("/branches?page=2")
            assert rows("/branches?q=shop+07") == ["s7"]
            assert rows("/branches?q=198.51.100.7&state=connected") == ["torino"]
            assert rows("/branches?state=off") == ["milano"]
            assert 'data-url="/branches?state=off"' in client.get("/branches?state=off").text, "what is fetched anew"
            assert "No branch matches" in client.get("/branches?q=%3Cb%3E").text


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
        for month in ("2026-10", "2026-11"):
            drilled(services.paths.vpn.drill, month, torino={"poor": 7200.0}, roma={"good": 100.0})
        drill = ask("roman")("GET", "/branches/drill?month=2026-10").json
        assert (drill["month"], drill["months"]) == ("2026-10", ["2026-11", "2026-10"])
        assert [(line["site"], line["share"], line["enough"]) for line in drill["lines"]] == [("roma", 1.0, True)]
        assert [line["site"] for line in ask("boss")("GET", "/branches/drill").json["lines"]] == ["torino", "roma"]
        assert ask("clerk")("GET", "/branches/drill").status_code == 403
        assert ask("boss")("GET", "/branches/drill?month=x").json["faults"][0]["path"] == "month"
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


def happened(folder: Path, site: str) -> None:
    """What an edge has told: its clock was sure of the second only, and of the third no calendar has the time."""
    batch = {"journal": "0" * 16, "events": [
        {"number": 1, "what": "line_down", "at": 1_790_000_000_000, "sure": False, "about": {"line": 1}},
        {"number": 2, "what": "line_up", "at": 1_790_000_060_000, "sure": True, "about": {"line": 1}},
        {"number": 3, "what": "something_new", "at": (1 << 53) - 1, "sure": True, "about": {}},
    ]}  # fmt: skip
    Events(folder).take(site, read(json.dumps(batch).encode()))


def test_what_happened_at_a_branch_is_shown_to_whoever_may_see_it(portal: Portal, authority: Authority) -> None:
    services, client = of(portal), portal.app.test_client()
    assert "isn&#39;t running" in client.get("/branches/torino/events").text, "nobody is there, and it says so"
    with edge(services.paths, portal.store, told(TURIN, ROME), authority):
        assert "has told of nothing yet" in client.get("/branches/torino/events").text
        happened(services.paths.vpn.events, "torino")
        page = client.get("/branches/torino/events").text
        assert page.index("Something_new") < page.index("Line 1 works again") < page.index("Line 1 is down")
        assert page.count(" *</th>") == 1
        assert "wasn&#39;t sure" in page
        assert "–</th>" in page, "a time that no calendar has"
        assert "/branches/torino/events" in client.get("/branches").text
        client.set_cookie("language", "it")
        assert "La linea 1 non funziona" in client.get("/branches/torino/events").text
        for who, status in (("roman", 404), ("clerk", 404), ("watcher", 200)):
            portal.who = who
            assert client.get("/branches/torino/events").status_code == status, who
            assert client.get("/branches/none/events").status_code == 404
        object.__setattr__(services, "identify", Identifier(services.store, services.access, services.signin))
        ask = Askers(portal.app)
        found = ask("watcher")("GET", "/branches/torino/events").json["events"]
        assert [(each["number"], each["what"], each["sure"]) for each in found][1:] == [
            (2, "line_up", True),
            (1, "line_down", False),
        ]
        assert set(found[0]) == {"number", "what", "at", "sure", "about"}
        assert ask("boss")("GET", "/branches/roma/events").json == {"events": []}
        assert ask("roman")("GET", "/branches/torino/events").status_code == 404


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
