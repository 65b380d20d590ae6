"""The call flow's pages: what they show to whom, edits and what takes them back, faults."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from flask.testing import FlaskClient
from pydantic import Field

from appliance.console.portal.errands import COOKIE
from appliance.console.portal.flow_edit import from_text
from appliance.core.document import parse
from appliance.core.errors import InvalidError
from appliance.core.fields import Label, ListField
from appliance.core.model import Object, Part
from appliance.kinds import KINDS
from appliance.pbx.flow.views import NODES_MAX
from appliance.pbx.routing.model import Destination, ToHangup, ToRingGroup
from tests.hil.portal_app import TOKEN, Portal, Rows, company, portal_over

PEOPLE: Rows = [
    ("person", {"id": "second", "name": "Second", "roles": ["administrator"]}),
    ("person", {"id": "torinese", "name": "Torino", "roles": ["site-manager"], "sites": ["torino"]}),
    ("role", {"id": "numbers", "name": "Numbers", "permissions": ["did.number:view", "did.label:edit"]}),
    ("person", {"id": "clerk", "name": "Clerk", "roles": ["numbers"]}),
    ("ring_group", {"id": "night", "name": "Night", "site": "torino", "members": [{"extension": "ext-301"}]}),
]  # fmt: skip
TO_NIGHT = {"type": "ring_group", "ring_group": "night"}
REFUSED = {"type": "hangup", "reason": "busy"}


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with portal_over(tmp_path, company(PEOPLE), served=False) as made:
        yield made


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


def post(client: FlaskClient, path: str, **fields: Any) -> Any:
    return client.post(path, data={"csrf_token": TOKEN, **fields})


def boxes(page: str) -> dict[str, dict[str, str]]:
    """The boxes of the picture: node → attributes, and under ``said`` what it says."""
    found = {}
    for attributes, said in re.findall(
        r'<g class="node [^"]*" ([^>]*)>\s*<a class="box"[^>]*aria-label="([^"]*)"', page
    ):
        one = {name: html.unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', attributes)}
        found[one["node"]] = {**one, "said": html.unescape(said)}
    return found


def arrows(page: str) -> set[tuple[str, str]]:
    return {
        (html.unescape(one), html.unescape(other))
        for one, other in re.findall(r'data-source="([^"]*)" data-target="([^"]*)"', page)
    }


def movable(page: str) -> set[str]:
    return set(re.findall(r'class="port[^"]* movable" data-port="([^"]*)"', page))


def said(page: str) -> str:
    return html.unescape(page.split('id="said"')[1].split(">")[1].split("<", maxsplit=1)[0])


def undo_of(page: str) -> str:
    return html.unescape(re.findall(r'name="steps" value="([^"]*)"', page)[0])


def connect(client: FlaskClient, place: str, to: Any, path: str = "/flow", **more: str) -> Any:
    etag = boxes(client.get(path).text)["/".join(place.split("/")[:2])]["etag"]
    return post(
        client, path, **{"_do": "connect", "place": place, "destination": json.dumps(to), "_etag": etag, **more}
    )


def destination(portal: Portal, id: str = "main") -> Any:
    item = portal.candidate("did", id)
    return None if item is None else item.model_dump(mode="json")["destination"]


# -- looking ---------------------------------------------------------------------------------------------------------


def test_a_company_and_a_number(client: FlaskClient) -> None:
    page = client.get("/flow").text
    assert {"outside/", "trunk/line-1", "inbound_route/nuisance", "did/main", "ring_group/front-desk", "extension/ext-301",
            "to:service/echo", "to:hangup/rejected", "ring_group/night"} <= set(boxes(page))  # fmt: skip
    assert ("did/main", "ring_group/front-desk") in arrows(page)
    assert ("outside/", "inbound_route/nuisance") in arrows(page)
    assert "no call gets here" in boxes(page)["ring_group/night"]["said"]
    page = client.get("/flow?did=main").text
    assert "<h1>What happens to a call to +390200000200</h1>" in page
    assert boxes(page)["did/main"]["said"] == (
        "Public number: Main number; +390200000200; 1. Nuisance calls; otherwise: Front desk"
    )
    assert boxes(page)["inbound_route/nuisance"]["said"].startswith(
        "Inbound route: Nuisance calls; from callers with +390299999…; Destination: "
    )
    assert "did/branch" not in boxes(page)


def test_the_list_says_the_same_without_scripts(client: FlaskClient) -> None:
    listed = client.get("/flow?did=main").text.split('id="as-list"')[1].split("<dialog")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", listed).split())
    for text in ("Calls come in by: Line 1", "Main number", "1. Nuisance calls", "otherwise", "Front desk", "201 Reception",
                 "When nobody answers", "The call ends as unanswered", "Refuse the call Rejected"):  # fmt: skip
        assert text in words
    assert 'href="/objects/did/main?next=/flow?did%3Dmain#destination"' in listed


@pytest.mark.parametrize(
    ("typed", "leads_to"),
    [("+390200000200", "did=main"), ("0039 02 0000 0200", "did=main"), ("0200", "did=main"), ("200", "did=main"),
     ("+39 02 9999 9999", "number=%2B390299999999")],
)  # fmt: skip
def test_a_number_is_found_as_people_write_it(client: FlaskClient, typed: str, leads_to: str) -> None:
    assert client.get("/flow", query_string={"number": typed}).headers["Location"] == f"/flow?{leads_to}"


def test_a_number_that_isn_t_ours_and_one_that_is_none(client: FlaskClient) -> None:
    page = client.get("/flow?number=%2B390299999999").text
    assert arrows(page) >= {("called/+390299999999", "inbound_route/nuisance"), ("called/+390299999999", "nowhere/")}
    for typed in ("hello", "0", "+0", "<script>alert(1)</script>", "٣"):
        answer = client.get("/flow", query_string={"number": typed})
        assert answer.status_code == 200
        assert "is neither a number" in answer.text
        assert "<script>alert" not in answer.text


def test_a_search_and_what_is_wrong(client: FlaskClient, portal: Portal) -> None:
    assert set(boxes(client.get("/flow?q=ring+desk").text)) == {
        "trunk/line-1", "outside/", "did/main", "ring_group/front-desk",
    }  # fmt: skip
    assert "Nothing here matches." in client.get("/flow?q=nowhere").text
    portal.store.stage("boss", put=[parse(KINDS, "did", {"id": "bad", "number": "+390200000999", "company": "demo",
                                                         "destination": {"type": "ring_group", "ring_group": "gone"}})])  # fmt: skip
    page = client.get("/flow?problems=1").text
    assert {"did/bad", "ring_group/gone", "ring_group/night"} <= set(boxes(page))
    assert "did/main" not in boxes(page)
    assert boxes(page)["ring_group/gone"]["said"] == "Ring group: gone; doesn't exist"
    assert "with faults only (2)" in page


def test_faults_of_a_check_stand_at_their_box(client: FlaskClient, portal: Portal) -> None:
    portal.store.stage("boss", put=[parse(KINDS, "inbound_route", {"id": "late", "name": "Late", "order": 9,
                                                                   "caller": "+390299999", "destination": REFUSED})])  # fmt: skip
    assert (
        "its calls are taken by inbound_route/nuisance" in boxes(client.get("/flow").text)["inbound_route/late"]["said"]
    )


def test_without_numbers_it_is_said_what_to_do(tmp_path: Path) -> None:
    rows = [item for item in company() if item.kind not in ("did", "inbound_route", "ring_group")]
    with portal_over(tmp_path, rows, served=False) as portal:
        page = portal.app.test_client().get("/flow").text
        assert "There is no public number yet." in page
        assert 'href="/objects/did/new?next=/flow"' in page.split('class="empty"')[1].split("</div>")[0]
        portal.who = "auditor"
        assert "Ask an administrator to make one." in portal.app.test_client().get("/flow").text


def test_names_can_t_be_markup(client: FlaskClient, portal: Portal) -> None:
    nasty = '"><script>alert(1)</script>'
    portal.store.stage("boss", put=[parse(KINDS, "ring_group", {"id": "night", "name": nasty, "site": "torino",
                                                                "members": [{"extension": "ext-301"}]})])  # fmt: skip
    assert connect(client, "did/main/destination", TO_NIGHT).status_code == 200
    page = client.get("/flow?did=main").text
    assert "<script>alert" not in page
    assert nasty in boxes(page)["ring_group/night"]["said"]


def test_it_speaks_italian(client: FlaskClient) -> None:
    page = client.get("/flow?did=main", headers={"Accept-Language": "it"}).text
    assert "Che cosa succede a una chiamata a +390200000200" in page
    assert "altrimenti" in boxes(page)["did/main"]["said"]


def test_five_hundred_numbers(tmp_path: Path) -> None:
    many: list[tuple[str, dict[str, Any]]] = [
        ("did", {"id": f"d{n}", "number": f"+39021{n:06}", "company": "demo", "label": f"Desk {n}",
                 "destination": {"type": "extension", "extension": f"ext-20{n % 2 + 1}"}})
        for n in range(500)
    ]  # fmt: skip
    with portal_over(tmp_path, company(many), served=False) as portal:
        client = portal.app.test_client()
        page = client.get("/flow").text
        assert len(boxes(page)) < 20
        assert "250 public numbers" in page
        assert "… and 200 more: search for them." in page
        assert set(boxes(client.get("/flow?q=desk+499").text)) == {
            "trunk/line-1", "outside/", "did/d499", "extension/ext-202",
        }  # fmt: skip
        assert len(boxes(client.get("/flow?q=desk").text)) <= NODES_MAX


# -- changing --------------------------------------------------------------------------------------------------------


def test_connecting_taking_back_and_again(client: FlaskClient, portal: Portal) -> None:
    before = destination(portal)
    answer = connect(client, "did/main/destination", TO_NIGHT, "/flow?did=main")
    assert answer.status_code == 200
    assert said(answer.text) == "Calls of Main number go on to: Ring a group: Night."
    assert ("did/main", "ring_group/night") in arrows(answer.text)
    assert "changed" in boxes(answer.text)["did/main"]["said"]
    assert destination(portal) == TO_NIGHT
    back = post(client, "/flow?did=main", _do="undo", steps=undo_of(answer.text))
    assert said(back.text) == "The last edit is taken back."
    assert destination(portal) == before
    again = post(client, "/flow?did=main", _do="undo", steps=undo_of(back.text))
    assert destination(portal) == TO_NIGHT
    stale = post(client, "/flow?did=main", _do="undo", steps=undo_of(answer.text))  # of the first page: changed since
    assert stale.status_code == 200, "the object is again what it was then"
    assert connect(client, "did/main/destination", before).status_code == 200
    assert post(client, "/flow", _do="undo", steps=undo_of(again.text)).status_code in (200, 409)


def test_nothing_to_send_calls_to(client: FlaskClient, portal: Portal) -> None:
    connect(client, "ring_group/front-desk/no_answer", TO_NIGHT)
    answer = connect(client, "ring_group/front-desk/no_answer", None)
    assert said(answer.text) == "Calls of Front desk aren't sent on any more."
    assert portal.candidate("ring_group", "front-desk").no_answer is None  # type: ignore[union-attr]
    answer = connect(client, "did/main/destination", None)
    assert answer.status_code == 422
    assert "did/main/destination" in answer.text.split('role="alert"')[1]
    same = connect(client, "did/branch/destination", {"type": "extension", "extension": "ext-301"})
    assert said(same.text) == "Branch led there already."
    assert 'name="steps"' not in same.text


@pytest.mark.parametrize(
    ("place", "to", "status"),
    [
        ("did/main/destination", "[]", 422), ("did/main/destination", "x", 422), ("did/main/destination", "[" * 9000, 422),
        ("did/main/destination", '"' + "x" * 20000 + '"', 422), ("did/main/destination", '{"type": "nothing"}', 422),
        ("did/main/destination", "{}", 422), ("did/main/destination", '{"type": "ring_group"}', 422),
        ("did/main/destination", '{"type": "ring_group", "ring_group": "gone"}', 422),
        ("did/main/destination", '{"type": "ring_group", "ring_group": {"a": 1}}', 422),
        ("did/main/destination", '{"type": "extension", "extension": "ext-201", "more": 1}', 422),
        ("did/main/number", json.dumps(TO_NIGHT), 422), ("did/main/label", json.dumps(TO_NIGHT), 422),
        ("did/main/destination[0]", json.dumps(TO_NIGHT), 422), ("did/main", json.dumps(TO_NIGHT), 422),
        ("", json.dumps(TO_NIGHT), 422), ("did/gone/destination", json.dumps(TO_NIGHT), 404),
        ("nothing/main/destination", json.dumps(TO_NIGHT), 404),
    ],
)  # fmt: skip
def test_what_can_t_be_done_is_told_and_changes_nothing(
    client: FlaskClient, portal: Portal, place: str, to: str, status: int
) -> None:
    answer = post(client, "/flow", _do="connect", place=place, destination=to, _etag="*")
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert 'id="picture"' in answer.text, "the page goes on"
    assert not portal.store.candidate("boss")


def test_a_stale_page_changes_nothing(client: FlaskClient, portal: Portal) -> None:
    answer = post(
        client, "/flow", _do="connect", place="did/main/destination", destination=json.dumps(TO_NIGHT), _etag="0" * 22
    )
    assert answer.status_code == 409
    assert "has changed since you looked at it" in answer.text.split('role="alert"')[1]
    answer = post(client, "/flow", _do="connect", place="did/main/destination", destination=json.dumps(TO_NIGHT))
    assert answer.status_code == 428
    for do in ("", "nothing"):
        assert post(client, "/flow", _do=do).status_code == 422
    assert not portal.store.candidate("boss")


def test_what_has_gone_meanwhile_is_told(client: FlaskClient, portal: Portal) -> None:
    """Another administrator commits the removal of a group, of both ends of an edit."""
    etag = boxes(client.get("/flow").text)["ring_group/night"]["etag"]
    portal.store.promote(portal.store.propose(remove=[("ring_group", "night")], base=1, author="second").number)
    answer = post(
        client, "/flow", _do="connect", place="ring_group/night/no_answer", destination=json.dumps(REFUSED), _etag=etag
    )
    assert answer.status_code == 404
    assert "ring_group/night" not in boxes(answer.text)
    answer = connect(client, "did/main/destination", TO_NIGHT)
    assert answer.status_code == 422
    assert "which does not exist" in answer.text
    assert not portal.store.candidate("boss")


def test_somebody_else_s_pending_changes_are_shown(client: FlaskClient, portal: Portal) -> None:
    portal.who = "second"
    connect(client, "did/main/destination", TO_NIGHT)
    portal.who = "boss"
    page = client.get("/flow").text
    assert "second is changing it too" in boxes(page)["did/main"]["said"]
    assert ("did/main", "ring_group/front-desk") in arrows(page), "theirs are not in force"


def test_removing_and_taking_back(client: FlaskClient, portal: Portal) -> None:
    before = portal.candidate("ring_group", "front-desk")
    etag = boxes(client.get("/flow").text)["ring_group/front-desk"]["etag"]
    answer = post(client, "/flow", _do="remove", object="ring_group/front-desk", _etag=etag)
    assert said(answer.text) == "front-desk will be removed when you commit."
    assert portal.candidate("ring_group", "front-desk") is None
    assert boxes(answer.text)["ring_group/front-desk"]["said"] == "Ring group: front-desk; doesn't exist"
    post(client, "/flow", _do="undo", steps=undo_of(answer.text))
    assert portal.candidate("ring_group", "front-desk") == before
    assert post(client, "/flow", _do="remove", object="ring_group/front-desk").status_code == 428
    assert post(client, "/flow", _do="remove", object="ring_group/gone", _etag="*").status_code == 404


@pytest.mark.parametrize("steps", ["", "x", "{}", "[1]", '[["put"]]', "[" * 5000, '[["x","did","main",{},""]]', json.dumps([["put", "did", "main", [], ""]]),
                                   json.dumps([["put", "did", "main", {}, "*"]] * 5), "[" + " " * 70_000 + "]"])  # fmt: skip
def test_what_isn_t_an_undo_is_refused(client: FlaskClient, portal: Portal, steps: str) -> None:
    assert post(client, "/flow", _do="undo", steps=steps).status_code == 422
    assert not portal.store.candidate("boss")


def test_taking_back_is_whole_or_not_at_all(client: FlaskClient, portal: Portal) -> None:
    steps = [["put", "did", "main", {"destination": TO_NIGHT}, "*"], ["remove", "ring_group", "gone", None, "*"]]
    before = destination(portal)
    assert post(client, "/flow", _do="undo", steps=json.dumps(steps)).status_code == 404
    assert destination(portal) == before
    with pytest.raises(InvalidError):
        from_text("null")


def test_nothing_is_changed_without_the_session_s_token(client: FlaskClient, portal: Portal) -> None:
    for token in ("", "another"):
        fields = {"_do": "connect", "place": "did/main/destination", "destination": json.dumps(TO_NIGHT), "_etag": "*"}
        assert client.post("/flow", data={**fields, "csrf_token": token}).status_code == 403
    assert not portal.store.candidate("boss")


def test_targets_are_searched(client: FlaskClient) -> None:
    def targets(place: str, text: str) -> list[Any]:
        found = client.get("/flow/targets", query_string={"place": place, "q": text}).get_json()["choices"]
        return [json.loads(choice["value"]) for choice in found]

    assert targets("did/main/destination", "night") == [TO_NIGHT]
    assert targets("did/main/destination", "refuse BUSY") == [REFUSED]
    assert targets("ring_group/front-desk/no_answer", "ext 203") == [{"type": "extension", "extension": "ext-203"}]
    assert targets("did/main/destination", "")[0]["type"] == "ring_group"
    for place, status in (
        ("", 422),
        ("did/main", 422),
        ("did/main/number", 404),
        ("did/gone/destination", 404),
        ("nothing/x/y", 404),
    ):
        assert client.get("/flow/targets", query_string={"place": place}).status_code == status


# -- adding, by the ordinary form ------------------------------------------------------------------------------------


def test_a_new_group_is_connected_and_both_are_taken_back(client: FlaskClient, portal: Portal) -> None:
    before = destination(portal)
    form = client.get(
        "/objects/ring_group/new?next=/flow?did%3Dmain&from=did/main/destination&near=ring_group/night"
    ).text
    assert '<option value="torino" selected>' in form
    hidden = dict(re.findall(r'<input type="hidden" name="(_next|_from)" value="([^"]*)">', form))
    assert hidden == {"_next": "/flow?did=main", "_from": "did/main/destination"}
    fields = {"name": "Late desk", "site": "torino", "members-0-extension": "ext-301", "members-0-given": "1", **hidden}
    wrong = post(client, "/objects/ring_group/new", **{**fields, "site": ""})
    assert wrong.status_code == 422
    assert 'name="_from" value="did/main/destination"' in wrong.text, "the errand isn't lost"
    answer = post(client, "/objects/ring_group/new", **fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/flow?did=main&saved=ring_group%2Flate-desk")
    assert destination(portal) == {"type": "ring_group", "ring_group": "late-desk"}
    page = client.get(answer.headers["Location"])
    assert "Late desk is among your changes" in said(page.text)
    assert 'data-focus="ring_group/late-desk"' in page.text
    assert f"{COOKIE}=;" in page.headers["Set-Cookie"]
    assert 'name="steps"' not in client.get("/flow").text, "once"
    back = post(client, "/flow", _do="undo", steps=undo_of(page.text))
    assert back.status_code == 200
    assert destination(portal) == before
    assert portal.candidate("ring_group", "late-desk") is None
    post(client, "/flow", _do="undo", steps=undo_of(back.text))
    assert destination(portal) == {"type": "ring_group", "ring_group": "late-desk"}


def test_what_was_to_be_connected_may_have_gone(client: FlaskClient, portal: Portal) -> None:
    fields = {
        "name": "Late",
        "site": "torino",
        "members-0-extension": "ext-301",
        "members-0-given": "1",
        "_next": "/flow",
    }
    for place in ("did/gone/destination", "did/main/number", "nothing", "secret/x/value"):
        answer = post(client, "/objects/ring_group/new", **fields, _from=place)
        assert answer.status_code == 303
        page = client.get(answer.headers["Location"])
        assert "but nothing leads to it" in said(page.text)
        assert destination(portal) != {"type": "ring_group", "ring_group": "late"}
        post(client, "/flow", _do="undo", steps=undo_of(page.text))
        assert portal.candidate("ring_group", "late") is None


def test_a_rule_beside_a_number_changes_nothing_until_it_is_edited(client: FlaskClient) -> None:
    form = client.get("/objects/inbound_route/new?next=/flow?did%3Dmain&near=did/main").text
    assert re.search(r'value="\+390200000200" id="called"', form)
    assert re.search(r'value="11" id="order"', form)
    assert re.search(r'name="destination-type" value="ring_group" checked', form)
    form = client.get("/objects/did/new", query_string={"next": "/flow", "to": json.dumps(TO_NIGHT)}).text
    assert re.search(r'name="destination-type" value="ring_group" checked', form)
    assert '<option value="demo" selected>' in form, "the only company"
    assert client.get("/objects/did/new", query_string={"next": "/flow", "to": "x"}).status_code == 422


def test_editing_and_removing_by_the_form_come_back_too(client: FlaskClient, portal: Portal) -> None:
    form = client.get("/objects/did/main?next=/flow?did%3Dmain").text
    assert '<a class="button" href="/flow?did=main">Cancel</a>' in form
    answer = post(client, "/objects/did/echo/delete", _next="/flow")
    assert answer.headers["Location"] == "/flow?removed=did%2Fecho"
    page = client.get("/flow?removed=did/echo").text
    assert said(page) == "echo will be removed when you commit."
    post(client, "/flow", _do="undo", steps=undo_of(page))
    assert portal.candidate("did", "echo") is not None
    assert said(client.get("/flow?removed=did/echo").text) == "", "only what is true"


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_one_stays_on_this_site(client: FlaskClient, path: str) -> None:
    page = client.get("/objects/did/main", query_string={"next": path}).text
    assert 'name="_next"' not in page
    assert '<a class="button" href="/objects/did">Cancel</a>' in page
    answer = post(client, "/objects/company/new", name="X", _next=path)
    assert answer.headers["Location"].startswith("/objects/company")


def test_a_cookie_that_isn_t_ours_is_nothing(client: FlaskClient) -> None:
    for value in ("x", "////", "bnVsbA==", "WyJ4Il0="):
        client.set_cookie(COOKIE, value)
        answer = client.get("/flow?saved=did/main")
        assert answer.status_code == 200
        assert 'name="steps"' not in answer.text


# -- who may what ----------------------------------------------------------------------------------------------------


def test_a_reader_looks_and_doesn_t_change(client: FlaskClient, portal: Portal) -> None:
    portal.who = "auditor"
    page = client.get("/flow").text
    assert movable(page) == set()
    assert "You may look at this, not change it." in page
    assert 'class="palette"' not in page
    assert "data-remove" not in page
    answer = connect(client, "did/main/destination", TO_NIGHT)
    assert answer.status_code == 403
    assert 'role="alert"' in answer.text
    assert post(client, "/flow", _do="remove", object="did/main", _etag="*").status_code == 403
    steps = json.dumps([["put", "did", "main", {"destination": TO_NIGHT}, "*"]])
    assert post(client, "/flow", _do="undo", steps=steps).status_code == 403
    assert not portal.store.candidate("auditor")


def test_a_site_s_manager_sees_and_changes_what_is_there(client: FlaskClient, portal: Portal) -> None:
    portal.who = "torinese"
    page = client.get("/flow").text
    assert movable(page) == {"ring_group/night/no_answer"}
    assert (
        boxes(page)["ring_group/front-desk"]["said"] == "Ring group: front-desk; doesn't exist, or isn't shown to you"
    )
    assert "Front desk" not in page
    assert "Reception" not in page.replace("Branch reception", "")
    assert "no call gets here" not in page, "that can't be known"
    assert "trunk/line-1" not in boxes(page)
    assert connect(client, "ring_group/night/no_answer", REFUSED).status_code == 200
    hidden = connect(client, "ring_group/night/no_answer", {"type": "extension", "extension": "ext-201"})
    missing = connect(client, "ring_group/night/no_answer", {"type": "extension", "extension": "ext-999"})
    assert (hidden.status_code, missing.status_code) == (422, 422)
    assert hidden.text.split('role="alert"')[1].split("</div>")[0].replace("ext-201", "ext-999") == missing.text.split('role="alert"')[1].split("</div>")[0]  # fmt: skip
    found = client.get("/flow/targets?place=ring_group/night/no_answer&q=ext").get_json()["choices"]
    assert {json.loads(each["value"])["extension"] for each in found} == {"ext-301", "ext-302", "ext-303", "ext-304"}


def test_fields_that_may_not_be_seen_aren_t_shown(client: FlaskClient, portal: Portal) -> None:
    portal.who = "clerk"
    page = client.get("/flow").text
    assert set(boxes(page)) == {"outside/", "did/main", "did/branch", "did/echo"}
    assert boxes(page)["did/main"]["said"] == "Public number: Main number; +390200000200"
    answer = post(
        client, "/flow", _do="connect", place="did/main/destination", destination=json.dumps(REFUSED), _etag="*"
    )
    assert answer.status_code == 422
    assert not portal.store.candidate("clerk")


def test_who_sees_nothing_of_it_has_no_such_page(client: FlaskClient, portal: Portal) -> None:
    portal.who = "namer"
    assert client.get("/flow").status_code == 404
    assert post(client, "/flow", _do="remove", object="did/main", _etag="*").status_code == 404
    assert client.get("/flow/targets?place=did/main/destination").status_code == 404
    assert 'href="/flow"' not in client.get("/objects/extension").text


# -- a kind that comes later -----------------------------------------------------------------------------------------

Later = Annotated[ToRingGroup | ToHangup, Field(discriminator="type")]


class MenuKey(Part):
    """What a key does."""

    digit: str
    destination: Later


class Menu(Object):
    """A menu that callers choose from."""

    kind: ClassVar[str] = "menu"
    name: Label
    keys: Annotated[tuple[MenuKey, ...], ListField] = ()
    wrong_key: Destination | None = None


def test_a_kind_with_destinations_in_a_list_has_its_box_and_its_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "menu", Menu)
    keys = [{"digit": "1", "destination": TO_NIGHT}, {"digit": "2", "destination": REFUSED}]
    rows: Rows = [*PEOPLE, ("menu", {"id": "welcome", "name": "Welcome", "keys": keys})]
    with portal_over(tmp_path, company(rows), served=False) as portal:
        client = portal.app.test_client()
        page = client.get("/flow").text
        assert "Welcome" in boxes(page)["menu/welcome"]["said"]
        assert movable(page) >= {
            "menu/welcome/keys[0].destination",
            "menu/welcome/keys[1].destination",
            "menu/welcome/wrong_key",
        }
        assert "Keys 2: Destination: Refuse the call: Busy" in boxes(page)["menu/welcome"]["said"]
        answer = connect(client, "menu/welcome/keys[1].destination", TO_NIGHT)
        assert answer.status_code == 200, answer.text.split('role="alert"')[-1][:300]
        changed = portal.candidate("menu", "welcome")
        assert isinstance(changed, Menu)
        assert [key.destination for key in changed.keys] == [ToRingGroup(ring_group="night")] * 2
        assert [key.digit for key in changed.keys] == ["1", "2"]
        post(client, "/flow", _do="undo", steps=undo_of(answer.text))
        assert portal.candidate("menu", "welcome").keys[1].destination == ToHangup(reason="busy")  # type: ignore[union-attr]
        assert connect(client, "menu/welcome/keys[2].destination", TO_NIGHT).status_code == 422
        assert (
            connect(
                client, "menu/welcome/keys[1].destination", {"type": "extension", "extension": "ext-201"}
            ).status_code
            == 422
        )
        places = client.get("/flow/targets", query_string={"place": "menu/welcome/keys[0].destination"}).get_json()[
            "choices"
        ]
        assert {json.loads(each["value"])["type"] for each in places} == {"ring_group", "hangup"}
