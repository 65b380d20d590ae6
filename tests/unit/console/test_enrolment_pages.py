"""Inviting a branch's router in portal and API: what is shown once, what never, who may."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema_rs
import pytest
import segno
from flask.testing import FlaskClient

from appliance.access.audit import Event
from appliance.clock import system_clock
from appliance.console.api.branches import SCHEMAS
from appliance.console.identify import Identifier
from appliance.console.portal.enrolment import time_left
from appliance.console.services import Services
from appliance.vpn.enrolment.codes import read_code
from appliance.vpn.enrolment.invitation import read_file
from appliance.vpn.enrolment.waiting import Invitations, Standing
from appliance.vpn.pki import Authority
from tests.hil.portal_app import TOKEN, Portal, company, portal_over
from tests.unit.console.asking import Askers
from tests.unit.console.edge import ROME, TURIN, edge, told
from tests.unit.console.test_branches import ROWS
from tests.unit.vpn.ground import Ground, csr

TOKENED = {"csrf_token": TOKEN}


@pytest.fixture
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    monkeypatch.setenv("CENTRALINO_VPN", "on")
    with portal_over(tmp_path, company(ROWS), served=False) as portal:
        yield portal


@pytest.fixture
def authority(portal: Portal, tmp_path: Path) -> Iterator[Authority]:
    """With it, the voice VPN's process takes orders."""
    authority = Ground(tmp_path).authority
    with edge(of(portal).paths, portal.store, told(TURIN, ROME), authority):
        yield authority


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


def of(portal: Portal) -> Services:
    found: Services = portal.app.extensions["centralino"]
    return found


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, name
    return html.unescape(found[1])


def code_in(page: str) -> str:
    found = re.search(r'<code class="code">([^<]+)</code>', page)
    assert found is not None
    return found[1]


def opens(portal: Portal, code: str) -> bool:
    return Invitations(of(portal).paths.vpn).admit(read_code(code).secret) is not None


def invite(client: FlaskClient, branch: str = "torino", **more: str) -> tuple[int, str]:
    form = client.get(f"/branches/{branch}/enrol").text
    sent = client.post(
        f"/branches/{branch}/enrol", data={**TOKENED, "former": field(form, "former"), "lasts": "1h", **more}
    )
    return sent.status_code, sent.text


def test_an_invitation_is_shown_once_and_works(
    portal: Portal, client: FlaskClient, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    former = authority.enrol("torino", csr()).issued
    asked = client.get("/branches/torino/enrol").text
    for text in ("Enrol a router: Turin &lt;office&gt;", "1 hour", "24 hours", "7 days", "Shut it out at once"):
        assert text in asked, text
    made = client.post("/branches/torino/enrol", data={**TOKENED, "former": "", "lasts": "7d"})
    assert made.status_code == 200
    assert made.headers["Cache-Control"] == "no-store"
    code, content = code_in(made.text), field(made.text, "file")
    assert "TCP port 1194" in made.text
    assert "centralino edge enrol torino.json" in made.text
    assert "vpn.example.com:1194" in made.text
    assert "--centre vpn.example.com:1194" in re.sub("</?span>", "", made.text)
    picture = segno.make(content.strip(), error="l", micro=False).svg_data_uri(scale=4, border=4, light="#fff")
    assert picture in html.unescape(made.text)
    assert "<script>" not in made.text
    assert "style=" not in made.text
    assert opens(portal, code)
    invitation = read_file(content.encode())
    assert invitation.secret == read_code(code).secret
    assert invitation.until is not None
    assert timedelta(days=6.99) < invitation.until - datetime.now(UTC) < timedelta(days=7.01)
    down = client.post("/branches/torino/enrol/file", data={**TOKENED, "file": content})
    assert (down.data, down.headers["Cache-Control"]) == (invitation.file(), "no-store")
    assert down.headers["Content-Disposition"] == 'attachment; filename="torino.json"'
    assert [each.serial for each in authority.living("torino")] == [former.serial], "the router that is there goes on"

    secret = read_code(code).secret.text
    listed = client.get("/branches").text
    assert "Invitations that wait" in listed
    assert "7 days left" in listed
    entry = of(portal).access.audit.entries()[0]
    assert (entry.event, entry.author, entry.detail) == (
        Event.BRANCH_INVITED, "boss", {"site": "torino", "hours": 168, "replace": False}
    )  # fmt: skip
    for where in (listed, client.get("/branches/torino/enrol").text, caplog.text, str(entry)):
        assert code not in where
        assert secret not in where
    assert "invited by 'boss'" in caplog.text


def test_a_page_sent_again_makes_no_second_one(portal: Portal, client: FlaskClient, authority: Authority) -> None:
    status, page = invite(client)
    assert status == 200
    again = client.post("/branches/torino/enrol", data={**TOKENED, "former": "", "lasts": "1h"})
    assert again.status_code == 409
    assert "An invitation was made or ended meanwhile" in again.text
    assert "waits for this branch already (60 min left)" in again.text
    assert opens(portal, code_in(page)), "the first is good"
    status, second = invite(client)
    assert status == 200
    assert opens(portal, code_in(second))
    assert not opens(portal, code_in(page)), "asked anew, the second ends the first"


def test_the_former_router_is_shut_out_at_once(portal: Portal, client: FlaskClient, authority: Authority) -> None:
    name = authority.enrol("torino", csr()).issued.name
    status, page = invite(client, replace="1")
    assert status == 200
    assert f"Revoked: {name}." in page
    assert authority.living("torino") == []


def test_an_invitation_is_ended(portal: Portal, client: FlaskClient, authority: Authority) -> None:
    code = code_in(invite(client)[1])
    assert client.post("/branches/torino/withdraw").status_code == 403, "without the session's token"
    assert opens(portal, code)
    done = client.post("/branches/torino/withdraw", data=TOKENED)
    assert (done.status_code, done.headers["Location"]) == (303, "/branches?ended=torino")
    page = client.get("/branches?ended=torino").text
    assert "The invitation of Turin &lt;office&gt; is over" in page
    assert "Invitations that wait" not in page
    assert not opens(portal, code)
    assert of(portal).access.audit.entries()[0].event == Event.INVITATION_ENDED


@pytest.mark.parametrize("lasts", ["", "8d", "nan", "24"])
def test_no_other_time_is_taken(client: FlaskClient, authority: Authority, portal: Portal, lasts: str) -> None:
    status, page = invite(client, lasts=lasts)
    assert status == 422
    assert "1h, 24h or 7d" in page
    assert Invitations(of(portal).paths.vpn).all() == {}


def test_only_an_invitation_comes_back_as_a_file(client: FlaskClient, authority: Authority) -> None:
    for content in ("", "<script>alert(1)</script>", "{}", "x" * 20_000):
        sent = client.post("/branches/torino/enrol/file", data={**TOKENED, "file": content})
        assert sent.status_code == 422
        assert "Content-Disposition" not in sent.headers
        assert content not in sent.text or len(content) < 3


def test_each_invites_for_their_own_and_strangers_for_none(
    portal: Portal, client: FlaskClient, authority: Authority
) -> None:
    assert invite(client)[0] == 200
    portal.who = "roman"
    assert client.get("/branches/torino/enrol").status_code == client.get("/branches/none/enrol").status_code == 404
    assert "data-invitation" not in client.get("/branches").text
    assert invite(client, "roma")[0] == 200
    assert re.findall(r'data-invitation="(\w+)"', client.get("/branches").text) == ["roma"]
    for person, status in (("watcher", 403), ("clerk", 404)):
        portal.who = person
        assert client.get("/branches/torino/enrol").status_code == status
        for path in ("enrol", "enrol/file", "withdraw"):
            assert client.post(f"/branches/torino/{path}", data={**TOKENED, "lasts": "1h"}).status_code == status
        assert "enrol" not in client.get("/branches").text
    assert len(Invitations(of(portal).paths.vpn).all()) == 2


def test_when_nobody_is_there_nothing_is_made_and_the_audit_says_so(portal: Portal, client: FlaskClient) -> None:
    page = client.post("/branches/torino/enrol", data={**TOKENED, "former": "", "lasts": "1h"})
    assert page.status_code == 409
    assert "No invitation was made" in page.text
    assert client.get("/branches/torino/enrol").status_code == 409
    assert of(portal).access.audit.entries()[0].detail["failed"] == "vpn_not_running"


def test_a_router_of_another_maker_is_told_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRALINO_VPN", "on")
    rows = [(kind, {**data, "router": "third_party"} if kind == "branch" else data) for kind, data in ROWS]
    with portal_over(tmp_path, company(rows), served=False) as portal:
        client = portal.app.test_client()
        with edge(of(portal).paths, portal.store, told(TURIN, ROME), Ground(tmp_path).authority):
            page = client.get("/branches/torino/enrol").text
            assert "centralino vpn bundle torino" in page
            assert 'name="lasts"' not in page
            sent = client.post("/branches/torino/enrol", data={**TOKENED, "former": "", "lasts": "1h"})
            assert sent.status_code == 409


def test_programs_do_the_same(portal: Portal, authority: Authority) -> None:
    services = of(portal)
    object.__setattr__(services, "identify", Identifier(services.store, services.access, services.signin))
    ask = Askers(portal.app)
    manager, where = ask("manager"), "/branches/torino/invitation"
    assert manager("GET", where).json == {"invitation": None}
    made = manager("POST", where)
    assert made.status_code == 200
    assert made.headers["Cache-Control"] == "no-store"
    fits(made.json, "branches.Invited")
    assert made.json["centres"] == [{"host": "vpn.example.com", "port": 1194}]
    assert read_file(made.json["file"].encode()).secret == read_code(made.json["code"]).secret
    assert opens(portal, made.json["code"])
    left = datetime.fromisoformat(made.json["until"]) - datetime.now(UTC)
    assert timedelta(hours=23.9) < left < timedelta(hours=24.1)
    shown = manager("GET", where)
    fits(shown.json, "branches.Invitation")
    assert (shown.json["invitation"]["standing"], shown.json["invitation"]["until"]) == ("waiting", made.json["until"])
    assert made.json["code"] not in shown.text
    name = authority.enrol("torino", csr()).issued.name
    assert manager("POST", where, {"hours": 0.5, "replace": True}).json["revoked"] == [name]
    for wrong in ({"hours": 0}, {"hours": 169}, {"hours": "soon"}, {"replace": "yes"}, {"for": "ever"}):
        assert manager("POST", where, wrong).status_code == 422, wrong
    for person, branch, status in (
        ("clerk", "torino", 404), ("roman", "torino", 404), ("roman", "none", 404), ("watcher", "torino", 403), ("stranger", "torino", 401),
    ):  # fmt: skip
        for method in ("GET", "POST", "DELETE"):
            assert ask(person)(method, f"/branches/{branch}/invitation").status_code == status, (person, method)
    assert Invitations(services.paths.vpn).all()["torino"].standing(system_clock()) is Standing.WAITING
    assert manager("DELETE", where).json == {"ended": True}
    assert manager("DELETE", where).json == {"ended": False}


def fits(data: object, schema: str) -> None:
    jsonschema_rs.validate(SCHEMAS[schema], data, validate_formats=True)


def test_time_left_is_rounded_up() -> None:
    now = datetime.now(UTC)
    for left, said in (
        (timedelta(seconds=-5), "1 min left"), (timedelta(minutes=59, seconds=30), "60 min left"),
        (timedelta(hours=23, minutes=30), "24 h left"), (timedelta(days=6, hours=23), "7 days left"),
    ):  # fmt: skip
        assert time_left((now + left).isoformat()) == said
