"""Two people change one object at once: who sees whom, and what becomes of what both typed."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.access.editing import LASTS_S, OPEN_MAX, OpenForms
from appliance.access.entries import etag
from appliance.core.document import parse
from appliance.kinds import KINDS
from appliance.pbx.extensions.model import Extension
from tests.hil.portal_app import TOKEN, Portal, company, portal_over
from tests.unit.console.asking import Askers

SECOND = [
    ("person", {"id": "second", "name": "Second administrator", "roles": ["administrator"]}),
    ("role", {"id": "phones", "name": "Phones", "permissions": ["extension.label:edit", "extension.number:view"]}),
    ("person", {"id": "labeller", "name": "Labels only", "roles": ["phones"]}),
]
FORM = "/objects/extension/ext-201"


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with portal_over(tmp_path, company(SECOND), served=False) as made:
        yield made


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


def fields(page: TestResponse) -> dict[str, Any]:
    """What a browser would send of the page's form if nothing were typed: texts, hidden fields, choices, ticks."""
    form = page.text.split('<form id="form"')[1].split("</form>")[0]
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        have = {name: html.unescape(value) for name, value in re.findall(r'([a-z-]+)="([^"]*)"', tag)}
        if have.get("type") not in ("checkbox", "radio") or re.search(r"\schecked", tag):
            found[have["name"]] = have.get("value", "on")
    for name, inner in re.findall(r'<select [^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)"[^>]*\sselected', inner) or re.search(
            r'<option value="([^"]*)"', inner
        )
        found[name] = chosen[1] if chosen else ""
    return found


def extension(portal: Portal, **more: Any) -> Extension:
    before = portal.store.document().get(Extension, "ext-201")
    return before.model_copy(update=more)


def commit(portal: Portal, item: Any, author: str = "second") -> int:
    store = portal.store
    return store.promote(store.propose([item], base=store.head().number, author=author, message="Theirs").number).number


def mine(portal: Portal) -> Extension:
    found = portal.candidate("extension", "ext-201")
    assert isinstance(found, Extension)
    return found


def choose(client: FlaskClient, page: TestResponse, **choices: str) -> TestResponse:
    revision = re.search(r'name="revision" value="(\d+)"', page.text)
    assert revision is not None
    data = {f"choose-{name.replace('__', '.')}": choice for name, choice in choices.items()}
    return client.post(
        "/changes/conflict/extension/ext-201", data={"csrf_token": TOKEN, "revision": revision[1], **data}
    )


# -- conflicts of a form ----------------------------------------------------------------------------------------------


def test_a_form_saved_untouched_changes_nothing(portal: Portal, client: FlaskClient) -> None:
    """That the tests' browser sends what a browser would."""
    assert client.post(FORM, data=fields(client.get(FORM))).status_code == 303
    assert not portal.store.candidate("boss")


def test_fields_that_one_alone_changed_are_merged_and_told(portal: Portal, client: FlaskClient) -> None:
    form = fields(client.get(FORM))
    commit(portal, extension(portal, ring_seconds=33, language="en"))
    saved = client.post(FORM, data={**form, "label": "Front desk"})
    assert saved.status_code == 303
    assert mine(portal) == extension(portal, label="Front desk"), "theirs is in it"
    said = client.get(saved.headers["Location"]).text
    assert "What somebody else committed meanwhile is in it too:" in said
    assert "Front desk" in said


def test_fields_that_both_changed_are_chosen_one_by_one(portal: Portal, client: FlaskClient) -> None:
    form = fields(client.get(FORM))
    before = extension(portal)
    commit(portal, extension(portal, label="Theirs <b>", ring_seconds=33, language="en"))
    answer = client.post(FORM, data={**form, "label": "Mine", "ring_seconds": "44"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/changes/conflict/extension/ext-201")
    assert (mine(portal).label, mine(portal).ring_seconds) == ("Mine", 44), "what was typed is kept"
    page = client.get(answer.headers["Location"])
    for told in (
        "When you began",
        before.label or "",
        "Keep yours",
        "Mine",
        "Theirs &lt;b&gt;",
        "44 s",
        "33 s",
        "Take theirs (Second administrator, ",
        "Language",
    ):
        assert told in page.text, told
    assert page.text.count("<fieldset>") == 2
    assert "checked" not in page.text, "nothing is chosen beforehand"
    assert client.get("/changes").text.count("<fieldset>") == 2, "the review says the same"

    incomplete = choose(client, page, label="theirs")
    assert incomplete.status_code == 422
    assert "is not chosen yet" in incomplete.text
    assert re.search(r'name="choose-label" value="theirs"[^>]* checked', incomplete.text), "and the choice made stays"
    assert choose(client, page, label="theirs", ring_seconds="mine").headers["Location"] == "/changes"
    assert mine(portal) == extension(portal, ring_seconds=44)
    assert portal.store.propose_staged("boss").number


def test_a_choice_made_before_a_further_commit_is_asked_again(portal: Portal, client: FlaskClient) -> None:
    form = fields(client.get(FORM))
    commit(portal, extension(portal, label="Theirs"))
    page = client.get(client.post(FORM, data={**form, "label": "Mine"}).headers["Location"])
    commit(portal, extension(portal, label="Theirs again"))
    answer = choose(client, page, label="theirs")
    assert answer.status_code == 409
    assert "Theirs again" in answer.text
    assert mine(portal).label == "Mine"
    assert choose(client, answer, label="theirs").status_code == 303
    assert not portal.store.candidate("boss"), "nothing of mine is left, so nothing is pending"


def test_a_fault_in_what_was_typed_comes_before_the_conflict(portal: Portal, client: FlaskClient) -> None:
    form = fields(client.get(FORM))
    commit(portal, extension(portal, label="Theirs"))
    wrong = client.post(FORM, data={**form, "label": "Mine", "ring_seconds": "soon"})
    assert wrong.status_code == 422
    again = fields(wrong)
    assert (again["label"], again["ring_seconds"], again["_etag"], again["_seen"]) == (
        "Mine",
        "soon",
        form["_etag"],
        form["_seen"],
    )
    assert "/changes/conflict/" in client.post(FORM, data={**again, "ring_seconds": "20"}).headers["Location"]


def test_what_somebody_removed_meanwhile_is_chosen_as_a_whole(portal: Portal, client: FlaskClient) -> None:
    form = fields(client.get("/objects/did/echo"))
    store = portal.store
    store.promote(store.propose([], [("did", "echo")], base=store.head().number, author="second").number)
    answer = client.post("/objects/did/echo", data={**form, "label": "Mine"})
    assert answer.headers["Location"] == "/changes/conflict/did/echo", answer.text
    page = client.get(answer.headers["Location"])
    assert "It is removed." in page.text
    revision = re.search(r'name="revision" value="(\d+)"', page.text)
    assert revision is not None
    post = {"csrf_token": TOKEN, "revision": revision[1]}
    assert client.post(answer.headers["Location"], data={**post, "choose-": "mine"}).status_code == 303
    assert portal.candidate("did", "echo") is not None
    assert store.propose_staged("boss").number


def test_what_changed_in_another_window_of_one_s_own_is_told_field_by_field(
    portal: Portal, client: FlaskClient
) -> None:
    form = fields(client.get(FORM))
    client.post(FORM, data={**form, "label": "First window"})
    answer = client.post(FORM, data={**form, "label": "Second window"})
    assert answer.status_code == 409
    assert "has changed since you looked at it" in answer.text
    assert "is First window there by now" in html.unescape(answer.text)
    assert mine(portal).label == "First window"
    again = fields(answer)
    assert again["label"] == "Second window"
    assert client.post(FORM, data=again).status_code == 303
    assert mine(portal).label == "Second window"


def test_pending_changes_that_clash_are_settled_in_the_review(portal: Portal, client: FlaskClient) -> None:
    client.post(FORM, data={**fields(client.get(FORM)), "label": "Mine"})
    commit(portal, extension(portal, label="Theirs"))
    assert "can be committed once you have chosen" in client.get(FORM).text
    refused = client.post("/changes/commit", data={"csrf_token": TOKEN})
    assert refused.status_code == 422
    page = client.get("/changes")
    assert "You and somebody else both changed these" in page.text
    assert choose(client, page, label="mine").status_code == 303
    assert mine(portal).label == "Mine"
    assert "You and somebody else both changed these" not in client.get("/changes").text
    portal.store.promote(portal.store.propose_staged("boss").number)
    assert portal.store.document().get(Extension, "ext-201").label == "Mine"


def test_old_forms_and_forged_ones_tell_nothing_of_former_revisions(portal: Portal, client: FlaskClient) -> None:
    form = fields(client.get(FORM))
    commit(portal, extension(portal, label="Secret of before"))
    commit(portal, extension(portal, label="Now"))
    for number, tag in (
        ("2", "0" * 22),
        ("999", form["_etag"]),
        ("x", form["_etag"]),
        ("-1", form["_etag"]),
        ("0", form["_etag"]),
    ):
        answer = client.post(FORM, data={**form, "_seen": number, "_etag": tag, "label": "X"})
        assert answer.status_code == 409, (number, tag)
        assert "Secret of before" not in answer.text
    store = portal.store
    old = store.document().objects["did"]["echo"]
    seen = store.head().number
    store.promote(store.propose([], [("did", "echo")], base=seen, author="second").number)
    for tag, status in (("0" * 22, 404), (etag(old), 200)):
        data = {"csrf_token": TOKEN, "_seen": seen, "_etag": tag, "_do": "find:company"}
        assert client.post("/objects/did/echo", data=data).status_code == status, "only who saw it then has it"
    for path in (
        "/changes/conflict/extension/ext-201",
        "/changes/conflict/nothing/x",
        "/changes/conflict/extension/none",
    ):
        assert client.get(path).headers["Location"] == "/changes"
        assert (
            client.post(path, data={"csrf_token": TOKEN, "revision": "٣", "choose-": "mine"}).headers["Location"]
            == "/changes"
        )
    assert client.get("/changes/conflict/extension/ext-201?next=https://evil.example").headers["Location"] == "/changes"


def test_a_password_s_value_is_never_among_what_is_chosen(portal: Portal, client: FlaskClient) -> None:
    secret = next(id for id in portal.store.document().objects["secret"] if id not in ("reader", "archive"))
    path = f"/objects/secret/{secret}"
    form = fields(client.get(path))
    item = portal.store.document().objects["secret"][secret]
    commit(portal, item.model_copy(update={"value": "sealed:v1:theirs"}))
    answer = client.post(path, data={**form, "value": "quite-secret-1"})
    page = client.get(answer.headers["Location"]).text
    assert "not to be shown" in page
    assert "quite-secret-1" not in page
    assert "sealed:" not in page


# -- who else is at it ------------------------------------------------------------------------------------------------


def test_who_else_changes_an_object_is_seen_in_its_form_its_list_and_the_review(
    portal: Portal, client: FlaskClient
) -> None:
    portal.store.stage("second", [extension(portal, label="Theirs")])
    client.post(FORM, data={**fields(client.get(FORM)), "ring_seconds": "44"})
    since = re.compile(r"second is changing it, since \d{1,2} \w{3} 20\d\d \d\d:\d\d")
    for path in (FORM, "/objects/extension", "/changes", f"{FORM}/delete"):
        assert len(since.findall(client.get(path).text)) == 1, path
    assert not since.search(client.get("/objects/extension/ext-202").text)
    portal.store.discard("second")
    assert not since.search(client.get(FORM).text)


def test_an_open_form_is_seen_until_it_is_saved(portal: Portal, client: FlaskClient) -> None:
    form = fields(client.get(FORM))
    assert "opened its form" not in client.get(FORM).text, "one's own is nothing to tell"
    portal.who = "second"
    assert re.search(r"boss opened its form, \d{1,2} \w{3} 20\d\d \d\d:\d\d", client.get(FORM).text)
    assert "boss opened its form" in client.get("/objects/extension").text
    portal.who = "boss"
    client.post(FORM, data=form)
    portal.who = "second"
    assert "opened its form" not in client.get("/objects/extension").text
    portal.who = "auditor"
    client.get(FORM)
    portal.who = "second"
    assert "auditor opened" not in client.get("/objects/extension").text.lower(), "who only looks changes nothing"


def test_names_are_told_to_who_may_see_who_changed_what(portal: Portal, client: FlaskClient) -> None:
    portal.store.stage("second", [extension(portal, label="Theirs")])
    portal.who = "labeller"
    page = client.get(FORM).text
    assert "Somebody else is changing it, since" in page
    assert "second is changing" not in page.lower()
    review = client.get("/changes").text
    assert "Somebody else (1)" in review
    assert "second (" not in review


def test_of_fields_that_one_may_not_see_nothing_is_told(portal: Portal, client: FlaskClient) -> None:
    portal.store.stage("second", [extension(portal, ring_seconds=33)])
    portal.who = "labeller"
    assert "is changing it" not in client.get(FORM).text
    assert "is changing it" not in client.get("/objects/extension").text
    form = fields(client.get(FORM))
    commit(portal, extension(portal, ring_seconds=33))
    saved = client.post(FORM, data={**form, "label": "Mine"})
    assert saved.status_code == 303
    assert "/objects/extension?" in saved.headers["Location"]
    assert "merged" not in saved.headers["Location"], "not even that somebody changed it"
    found = portal.candidate("extension", "ext-201")
    assert found == extension(portal, label="Mine"), "and theirs is kept"


def test_open_forms_end_by_themselves_and_are_bounded() -> None:
    now = [0.0]
    forms = OpenForms(clock=lambda: now[0])
    key, some = ("extension", "x"), frozenset({"label"})
    forms.opened(key, "a", some)
    now[0] = LASTS_S / 2
    forms.opened(key, "a", some)
    now[0] = LASTS_S * 1.5
    assert [who for _key, who, _since, _fields in forms.by_others("b", [key])] == ["a"]
    assert forms.by_others("a", [key]) == forms.by_others("b", [("extension", "y")]) == []
    now[0] += 1
    assert forms.by_others("b", [key]) == []
    for number in range(OPEN_MAX + 5):
        forms.opened(("extension", str(number)), "a", some)
    assert forms.by_others("b", [("extension", "4")]) == []
    assert forms.by_others("b", [("extension", "5")])


# -- the API ----------------------------------------------------------------------------------------------------------


def test_the_api_tells_who_else_and_settles_what_clashes(ask: Askers) -> None:
    one, other, namer = ask("administrator"), ask("administrator", ("*:edit", "*:view")), ask("namer")
    store = ask.services.store
    assert one("PATCH", "/objects/extension/e201", {"label": "Mine", "ring_seconds": 44}).status_code == 200
    [told] = other("GET", "/objects/extension/e201").json["_meta"]["others"]
    assert (told["who"], told["doing"]) == (one.author, "pending")
    assert told["since"].endswith("Z")
    [item] = [each for each in other("GET", "/objects/extension").json["items"] if each["id"] == "e201"]
    assert item["_meta"]["others"] == [told]
    assert [each["who"] for each in namer("GET", "/objects/extension/e201").json["_meta"]["others"]] == [""]
    assert {each["author"] for each in namer("GET", "/changes/others").json["authors"]} == {""}
    assert one("GET", "/objects/extension/e201").json["_meta"]["others"] == []

    before = store.document().objects["extension"]["e201"]
    theirs = parse(KINDS, "extension", {**before.model_dump(mode="json"), "label": "Theirs", "language": "en"})
    store.promote(store.propose([theirs], base=store.head().number, author="hr").number)
    [found] = one("GET", "/changes/conflicts").json["conflicts"]
    [field] = found["fields"]
    assert (found["object"], found["merged"]) == ("extension/e201", ["language"])
    assert (field["name"], field["mine"], field["theirs"], field["who"]) == ("label", '"Mine"', '"Theirs"', "hr")
    wanted = {"object": "extension/e201", "revision": found["revision"], "choices": {}}
    assert one("POST", "/changes/resolve", wanted).json["faults"][0]["path"] == "extension/e201/label"
    late = one("POST", "/changes/resolve", {**wanted, "revision": 1, "choices": {"label": "mine"}})
    assert (late.status_code, late.json["error_id"]) == (409, "conflict")
    done = one("POST", "/changes/resolve", {**wanted, "choices": {"label": "theirs"}})
    assert done.json == {"conflicts": []}
    assert [change["path"] for change in one("GET", "/changes").json["changes"]] == ["extension/e201/ring_seconds"]
    gone = one("POST", "/changes/resolve", {**wanted, "choices": {"label": "theirs"}})
    assert (gone.status_code, gone.json["error_id"]) == (404, "no_conflict")
