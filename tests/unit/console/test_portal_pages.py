"""Requests that a browser wouldn't send, and answers that it wouldn't show: forged, stale, too long, from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.console.portal.page_context import (
    OFFERED_MAX,
    Offer,
    capitalize_first,
    safe_next,
    small_first,
    time_zones,
)
from appliance.core.document import parse
from appliance.kinds import KINDS
from tests.hil.portal_app import TOKEN, Portal, company, portal_over


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with portal_over(tmp_path, company(), served=False) as made:
        yield made


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


def post(client: FlaskClient, path: str, **fields: Any) -> Any:
    return client.post(path, data={"csrf_token": TOKEN, **fields})


def test_nothing_is_changed_without_the_session_s_token(client: FlaskClient, portal: Portal) -> None:
    for path in ("/objects/company/demo", "/objects/company/new", "/objects/did/echo/delete", "/preferences"):
        for token in ("", "another"):
            answer = client.post(path, data={"name": "Forged", "csrf_token": token, "theme": "dark"})
            assert answer.status_code == 403, path
            assert "Set-Cookie" not in answer.headers
    assert not portal.store.candidate("boss").put
    assert not portal.store.candidate("boss").remove


def test_every_form_carries_the_token(client: FlaskClient) -> None:
    for path in ("/objects/company/demo", "/objects/company/new", "/objects/did/echo/delete", "/objects/did"):
        page = client.get(path).text
        posts = [part.split("</form>")[0] for part in page.split("<form")[1:] if 'method="post"' in part.split(">")[0]]
        assert posts
        assert all(f'name="csrf_token" value="{TOKEN.replace(chr(39), "&#39;")}"' in form for form in posts)


@pytest.mark.parametrize("path", ["/objects/nothing", "/objects/nothing/new", "/objects/site/nowhere",
                                  "/objects/site/nowhere/delete", "/objects/site/%3Cscript%3E", "/objects/..%2F..%2Fetc"])  # fmt: skip
def test_what_isn_t_there_is_not_found(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.mimetype != "text/html" or "<script>" not in answer.text


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "page=99999999999999999999", "page=٣", "sort=nothing",
                                   "sort=--", "q=%00", "q=" + "x" * 5000, "saved=nowhere", "removed=milano"])  # fmt: skip
def test_odd_addresses_of_lists_are_answered(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/objects/site?{query}")
    assert answer.status_code == 200
    assert "will be removed" not in answer.text


OUTER = {"kind": "ring_group", "id": "", "name": "site", "form": {"name": ["Night"]}}


@pytest.mark.parametrize(
    "outer",
    ["x", "[]", "{}", "[" * 5000, json.dumps({**OUTER, "form": 1}), json.dumps({**OUTER, "form": {"a": 1}}),
     json.dumps({**OUTER, "kind": "nothing"}), json.dumps({**OUTER, "id": "nowhere"})],
)  # fmt: skip
def test_an_outer_form_that_isn_t_one_is_refused(client: FlaskClient, outer: str) -> None:
    answer = post(client, "/objects/company/new", _outer=outer, _do="back")
    assert answer.status_code in (404, 422)


def test_an_outer_form_comes_back_whatever_control_it_names(client: FlaskClient) -> None:
    for name in ("site", "members", "members-7-extension", "", "-", "no_answer-number-site"):
        answer = post(client, "/objects/site/new", _outer=json.dumps({**OUTER, "name": name}), _do="back:milano")
        assert answer.status_code == 200
        assert 'value="Night"' in answer.text


def test_an_object_may_be_called_new(client: FlaskClient, portal: Portal) -> None:
    portal.store.stage("boss", put=[parse(KINDS, "company", {"id": "new", "name": "New Srl"})])
    assert '/objects/company/new/edit"' in client.get("/objects/company").text
    assert "New Srl" in client.get("/objects/company/new/edit").text
    answer = post(client, "/objects/company/new/edit", name="Newer Srl")
    assert answer.status_code == 303
    changed = portal.candidate("company", "new")
    assert changed is not None
    assert changed.model_dump()["name"] == "Newer Srl"


def test_an_id_that_is_taken_or_none_is_told_at_its_field(client: FlaskClient) -> None:
    for id, said in (("demo", "exists already"), ("No Id!", "Is not a valid id"), ("x" * 50, "Is not a valid id")):
        answer = post(client, "/objects/company/new", name="X", id=id)
        assert answer.status_code == 422
        assert said in answer.text.split('id="id-fault"')[1].split("</div>")[0]


def test_the_id_of_an_object_isn_t_changed_by_a_form(client: FlaskClient, portal: Portal) -> None:
    assert post(client, "/objects/company/demo", name="X", id="other").status_code == 303
    assert portal.candidate("company", "other") is None
    assert portal.candidate("company", "demo") is not None


def test_a_stale_form_doesn_t_overwrite(client: FlaskClient) -> None:
    answer = post(client, "/objects/company/demo", name="X", _etag="0" * 22)
    assert answer.status_code == 409
    assert "has changed since you looked at it" in answer.text
    answer = post(client, "/objects/company/demo/delete", _etag="0" * 22)
    assert answer.status_code == 409


def test_a_reader_can_t_write(client: FlaskClient, portal: Portal) -> None:
    portal.who = "auditor"
    assert client.get("/objects/company/new").status_code == 403
    assert post(client, "/objects/company/new", name="X").status_code == 403
    assert post(client, "/objects/company/demo", name="X").status_code in (303, 422)  # nothing of it is editable
    assert post(client, "/objects/company/demo/delete").status_code == 403
    assert post(client, "/objects/ring_group/front-desk", _do="create:site:site").status_code == 403
    assert not portal.store.candidate("auditor").put
    assert not portal.store.candidate("auditor").remove


@pytest.mark.parametrize(
    ("path", "after"),
    [("/objects/site?q=a", "/objects/site?q=a"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil.example", "/"),
     ("", "/"), ("javascript:alert(1)", "/"), ("/a\r\nSet-Cookie: x=1", "/"), ("/\t/evil.example", "/")],
)  # fmt: skip
def test_one_stays_on_this_site(client: FlaskClient, path: str, after: str) -> None:
    assert safe_next(path) == after
    answer = post(client, "/preferences", next=path, theme="dark")
    assert answer.headers["Location"] == after
    assert "theme=dark; " in answer.headers["Set-Cookie"]


def test_only_known_languages_and_themes_are_kept(client: FlaskClient) -> None:
    assert "Set-Cookie" not in post(client, "/preferences", theme='"><script>', language="xx").headers
    client.set_cookie("theme", '"><script>')
    client.set_cookie("language", "../../x")
    page = client.get("/objects/site").text
    assert '<html lang="en">' in page


def test_choices_are_searched_by_every_word(client: FlaskClient) -> None:
    def choices(query: str) -> list[str]:
        return [choice["value"] for choice in client.get(f"/choices?{query}").get_json()["choices"]]

    assert choices("kind=extension&q=BRANCH+30") == ["ext-301", "ext-303"]
    assert choices("kind=trunk&kind=trunk_group&q=line") == ["lines", "line-1"]
    assert choices("kind=nothing&q=") == []
    assert choices("q=") == []


def test_a_picker_has_few_options_of_many() -> None:
    class Many:
        def choices(self, _kinds: Any) -> list[tuple[str, str, str]]:
            return [("site", f"s{number}", f"Site {number}") for number in range(OFFERED_MAX + 5)]

    found, more = Offer(Many()).matching(["site"], "site")  # type: ignore[arg-type]
    assert (len(found), more) == (OFFERED_MAX, 5)


def test_static_files_are_kept_only_under_an_address_with_their_version(client: FlaskClient) -> None:
    page = client.get("/objects/site").text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    assert "?v=" in address
    with client.get(address) as versioned, client.get(address.split("?")[0]) as bare:
        assert "max-age=31536000" in versioned.headers["Cache-Control"]
        assert "max-age" not in bare.headers["Cache-Control"]


def test_words_and_zones() -> None:
    assert [small_first(text) for text in ("Ring group", "PRACK", "E-mail", "")] == [
        "ring group",
        "PRACK",
        "E-mail",
        "",
    ]
    assert capitalize_first("is missing: X") == "Is missing: X"
    assert {"Europe/Rome", "UTC"} <= set(time_zones())
