"""The call flow's pages: edits, what takes them back, faults, and what is added by the ordinary form."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.console.portal.errands import COOKIE
from appliance.console.portal.flow_edit import from_text
from appliance.core.errors import InvalidError
from tests.hil.portal_app import Portal, company, portal_over
from tests.unit.console.flow_pages import (
    PEOPLE,
    REFUSED,
    TO_NIGHT,
    arrows,
    boxes,
    connect,
    destination,
    post,
    said,
    undo_of,
)


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with portal_over(tmp_path, company(PEOPLE), served=False) as made:
        yield made


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


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


def looked_at(client: FlaskClient, node: str) -> dict[str, str]:
    """What the page's script would send with an edit of a node, as it is shown now."""
    page = client.get("/flow").text
    [seen] = re.findall(r'data-seen="(\d+)"', page)
    return {"_etag": boxes(page)[node]["etag"], "_seen": seen}


def commit_of_second(portal: Portal, **fields: Any) -> None:
    """Another administrator commits these fields of the main number."""
    item = portal.store.document().objects["did"]["main"]
    changed = type(item).model_validate({**item.model_dump(), **fields})
    portal.store.promote(portal.store.propose([changed], base=portal.store.head().number, author="second").number)


def test_what_others_committed_meanwhile_is_merged(client: FlaskClient, portal: Portal) -> None:
    shown = looked_at(client, "did/main")
    commit_of_second(portal, label="Reception")
    fields = {"place": "did/main/destination", "destination": json.dumps(TO_NIGHT)}
    answer = post(client, "/flow", _do="connect", **fields, **shown)
    assert answer.status_code == 200
    assert "What somebody else committed meanwhile is in it too: Label." in said(answer.text)
    item = portal.candidate("did", "main")
    assert item is not None
    assert (destination(portal), item.label) == (TO_NIGHT, "Reception")  # type: ignore[attr-defined]
    back = post(client, "/flow", _do="undo", steps=undo_of(answer.text))
    assert said(back.text) == "The last edit is taken back."
    item = portal.candidate("did", "main")
    assert item == portal.store.document().objects["did"]["main"], "theirs stays"
    late = post(client, "/flow", _do="connect", **fields, **{**shown, "_seen": "x"})
    assert late.status_code == 409, "of a page that doesn't say what it showed"


def test_where_others_sent_the_calls_elsewhere_one_chooses(client: FlaskClient, portal: Portal) -> None:
    shown = looked_at(client, "did/main")
    commit_of_second(portal, destination=REFUSED)
    fields = {"place": "did/main/destination", "destination": json.dumps(TO_NIGHT)}
    answer = post(client, "/flow?did=main", _do="connect", **fields, **shown)
    assert answer.status_code == 200
    told = answer.text.split('role="alert"')[1]
    assert "You and somebody else both changed Main number." in told
    url = html.unescape(re.findall(r'href="([^"]*)"', told)[0])
    page = client.get(url).text
    assert "Night" in page.split("<fieldset")[1]
    form = {"next": "/flow?did=main", "revision": re.findall(r'name="revision" value="(\d+)"', page)[0]}
    [name] = set(re.findall(r'type="radio" [^>]*name="([^"]+)"', page))
    chosen = post(client, url, **form, **{name: "theirs"})
    assert (chosen.status_code, chosen.headers["Location"]) == (303, "/flow?did=main")
    assert destination(portal) == REFUSED


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
