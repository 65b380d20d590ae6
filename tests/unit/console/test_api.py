"""The REST API over a real store: objects, pending changes, errors, headers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.console.api.openapi import description
from appliance.console.app import create_app
from appliance.console.headers import HEADERS
from appliance.console.identify import AUDIENCE, COOKIE
from appliance.console.limits import Buckets
from appliance.console.problems import MEDIA_TYPE, status_of
from appliance.core.errors import CentralinoError
from appliance.kinds import KINDS
from tests.unit.access.company import subject
from tests.unit.console.asking import Api, Askers


@pytest.fixture
def client(ask: Askers) -> FlaskClient:
    return ask.client


@pytest.fixture
def api(ask: Askers) -> Api:
    return ask("administrator")


def problem(response: TestResponse, status: int, error_id: str) -> dict[str, Any]:
    assert (response.status_code, response.json["error_id"]) == (status, error_id), response.text  # type: ignore[index]
    assert response.mimetype == MEDIA_TYPE
    body: dict[str, Any] = response.json  # type: ignore[assignment]
    assert body["type"] == f"urn:centralino:error:{error_id}"
    assert body["status"] == status
    return body


def test_objects_are_listed_shown_added_changed_and_removed(api: Api) -> None:
    page = api("GET", "/objects/extension?sort=-number&limit=1").json
    assert (page["total"], [item["id"] for item in page["items"]]) == (2, ["e301"])
    made = api("POST", "/objects/extension", {"id": "e202", "number": "202", "site": "milano"})
    assert (made.status_code, made.headers["Location"]) == (201, "/api/v1/objects/extension/e202")
    assert made.json["_meta"]["pending"] == "added"
    etag = made.headers["ETag"]
    changed = api("PATCH", "/objects/extension/e202", {"label": "Sales"}, If_Match=etag)
    assert changed.json["label"] == "Sales"
    assert changed.headers["ETag"] != etag
    whole = {"id": "e202", "number": "203", "site": "milano"}
    replaced = api("PUT", "/objects/extension/e202", whole, If_Match=changed.headers["ETag"])
    assert (replaced.json["number"], replaced.json["label"]) == ("203", None)
    assert api("DELETE", "/objects/extension/e202", If_Match="*").status_code == 204
    problem(api("GET", "/objects/extension/e202"), 404, "not_found")


def test_lost_updates_are_refused(api: Api) -> None:
    etag = api("GET", "/objects/extension/e201").headers["ETag"]
    assert api("PATCH", "/objects/extension/e201", {"label": "One"}, If_Match=etag).status_code == 200
    for method, data in (("PATCH", {"label": "Two"}), ("PUT", {"number": "201", "site": "milano"}), ("DELETE", None)):
        body = problem(api(method, "/objects/extension/e201", data, If_Match=etag), 412, "stale")
        assert body["changed"] == ["extension/e201"]
    problem(api("PUT", "/objects/extension/e201", {"number": "201", "site": "milano"}), 428, "precondition_required")
    for bad in ("W/x", '"a", "b"', '"', "nonsense"):
        problem(api("DELETE", "/objects/extension/e201", If_Match=bad), 422, "etag")


def test_pending_changes_are_shown_and_forgotten(api: Api, ask: Askers) -> None:
    api("PATCH", "/objects/extension/e201", {"label": "Front"})
    api("PATCH", "/objects/site/milano", {"name": "Milano"})
    [first, second] = api("GET", "/changes").json["changes"]
    assert first == {"path": "site/milano/name", "before": '"milano"', "after": '"Milano"'}
    assert second["path"] == "extension/e201/label"
    others = ask("auditor")("GET", "/changes/others").json["authors"]
    assert [each["author"] for each in others] == [api.author]
    assert len(others[0]["changes"]) == 2
    seen = ask("namer")("GET", "/changes/others").json["authors"]
    assert [change["path"] for change in seen[0]["changes"]] == ["extension/e201/label"], "as far as it may see"
    assert len(api("POST", "/changes/discard", {"objects": ["site/milano"]}).json["changes"]) == 1
    assert api("POST", "/changes/discard").json == {"changes": []}
    problem(api("POST", "/changes/discard", {"objects": ["../x"]}), 422, "string_pattern_mismatch")


def test_nobody_gets_the_same_answer_everywhere(ask: Askers) -> None:
    stranger = ask("stranger")
    bodies = set()
    for method, path in (
        ("GET", "/objects"), ("GET", "/objects/extension"), ("GET", "/objects/extension/e201"), ("GET", "/objects/nonsense"),
        ("POST", "/objects/extension"), ("PUT", "/objects/extension/e201"), ("PATCH", "/objects/extension/e201"),
        ("DELETE", "/objects/extension/e201"), ("GET", "/changes"), ("POST", "/changes/discard"), ("GET", "/changes/others"),
        ("POST", "/plans"), ("POST", "/commits"), ("POST", "/commits/confirm"), ("POST", "/commits/rollback"),
        ("DELETE", "/schedule/1"), ("GET", "/state"), ("GET", "/revisions"), ("GET", "/revisions/1/changes"),
    ):  # fmt: skip
        response = stranger(method, path)
        problem(response, 401, "unauthenticated")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        bodies.add(response.data)
    assert len(bodies) == 1


def test_without_the_applier_reading_goes_on(api: Api) -> None:
    api("PATCH", "/objects/extension/e201", {"label": "Front"})
    for method, path in (("POST", "/plans"), ("POST", "/commits"), ("GET", "/state"), ("POST", "/commits/confirm")):
        problem(api(method, path), 503, "applier_unreachable")
    assert len(api("GET", "/changes").json["changes"]) == 1, "nothing is lost"
    assert [each["number"] for each in api("GET", "/revisions").json["items"]] == [1], "and nothing is left behind"


def test_revisions_are_shown_as_far_as_may_be_seen(api: Api, ask: Askers) -> None:
    everything = api("GET", "/revisions/1/changes").json["changes"]
    assert len(everything) > 50
    assert not any("sealed:" in str(change) for change in everything)
    problem(ask("namer")("GET", "/revisions/1/changes"), 403, "forbidden")
    assert ask("namer")("GET", "/revisions").json["items"] == []
    problem(api("GET", "/revisions/77/changes"), 404, "not_found")
    problem(ask("user")("POST", "/commits/rollback", {"revision": 1}), 403, "forbidden")
    problem(ask("torinese")("POST", "/commits", {"allow": ["needs_restart"]}), 403, "forbidden")


@pytest.mark.parametrize(
    ("data", "content_type", "status", "error_id"),
    [
        (b"{", "application/json", 422, "json"),
        (b"[]", "application/json", 422, "json"),
        (b'"x"', "application/json", 422, "json"),
        (b"[" * 100_000, "application/json", 422, "json"),
        (b'{"label": "\\u0000"}', "application/json", 422, "json"),
        (b'{"label": "\\ud800"}', "application/json", 422, "json"),
        (b'{"label": NaN}', "application/json", 422, "string_type"),
        (b"\xff\xfe", "application/json", 422, "json"),
        (b"label=x", "application/x-www-form-urlencoded", 415, "media_type"),
        (b"{}", "", 415, "media_type"),
        (b"{" + b" " * (9 * 1024 * 1024) + b"}", "application/json", 413, "too_large"),
    ],
)  # fmt: skip
def test_bodies_that_are_none(
    client: FlaskClient, api: Api, data: bytes, content_type: str, status: int, error_id: str
) -> None:
    headers = {"Authorization": f"Bearer {api.key}"}
    response = client.patch(
        "/api/v1/objects/extension/e201", data=data, content_type=content_type or None, headers=headers
    )
    problem(response, status, error_id)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=-1", "limit=99999999999999999999", "sort=colour", "colour=red", "offset=-1"]
)
def test_queries_that_are_none(api: Api, query: str) -> None:
    assert api("GET", f"/objects/extension?{query}").status_code == 422


def test_every_answer_has_its_headers_and_language(client: FlaskClient, api: Api, ask: Askers) -> None:
    for response in (
        api("GET", "/objects"),
        client.get("/nowhere"),
        client.post("/api/v1/objects"),
        ask("stranger")("GET", "/changes"),
    ):
        for name, value in HEADERS.items():
            assert response.headers[name] == value
        assert int(response.headers["RateLimit-Limit"]) > int(response.headers["RateLimit-Remaining"]) >= 0
        assert response.headers["X-Request-Id"]
    italian = api("GET", "/objects/extension/nowhere", Accept_Language="it-IT,en;q=0.5")
    assert italian.headers["Content-Language"] == "it"
    assert italian.json["detail"].startswith("non c'è") or "non esiste" in italian.json["detail"]
    assert client.post("/api/v1/objects").headers["Allow"]


def signed_in(ask: Askers, person: str) -> tuple[str, str]:
    """A session by a one-time link: its cookie and its CSRF token."""
    services = ask.services
    outcome = services.signin.link(
        services.access.links.make(person), "lampione torinese sotto la pioggia", "192.0.2.1", "test"
    )
    return outcome.token, outcome.session.csrf


def test_a_browsers_cookie_alone_changes_nothing(ask: Askers) -> None:
    cookie, csrf = signed_in(ask, "user")
    client = ask.client
    client.set_cookie(COOKIE, cookie, secure=True)
    options: dict[str, Any] = {"base_url": "https://localhost"}
    assert client.get("/api/v1/objects", **options).status_code == 200
    path, data = "/api/v1/objects/extension/e201", {"ring_seconds": 20}
    for token in ("", "wrong", csrf[:-1] + ("a" if csrf[-1] != "a" else "b")):
        problem(client.patch(path, json=data, headers={"X-CSRF-Token": token}, **options), 403, "csrf")
    assert client.patch(path, json=data, headers={"X-CSRF-Token": csrf}, **options).status_code == 200
    assert [change.path for change in ask.services.transactions(subject("user")).pending()] == [
        "extension/e201/ring_seconds"
    ]


def test_a_session_that_must_still_prove_more_opens_nothing(ask: Askers) -> None:
    cookie, _ = signed_in(ask, "administrator")  # a second factor is due
    ask.client.set_cookie(COOKIE, cookie, secure=True)
    problem(ask.client.get("/api/v1/objects", base_url="https://localhost"), 401, "unauthenticated")


def test_keys_and_tokens_open_what_they_name_as_long_as_they_stand(ask: Askers) -> None:
    access = ask.services.access
    reader = ask("administrator", ("extension:view",))
    assert reader("GET", "/objects/extension").status_code == 200
    problem(reader("PATCH", "/objects/extension/e201", {"label": "x"}), 403, "forbidden")
    problem(reader("GET", "/objects/device"), 404, "unknown_kind")
    key = access.keys.find(reader.key)
    assert key is not None
    token = Api(ask.client, access.tokens.of_key(key, AUDIENCE))
    other = Api(ask.client, access.tokens.of_key(key, "elsewhere"))
    assert token("GET", "/objects/extension").status_code == 200
    problem(other("GET", "/objects/extension"), 401, "unauthenticated")
    access.keys.revoke(key.id)
    for gone in (reader, token):
        problem(gone("GET", "/objects/extension"), 401, "unauthenticated")


def test_who_asks_too_often_is_told_to_wait(ask: Askers) -> None:
    client = create_app(ask.services, Buckets(0.001, 3)).test_client()

    def get(address: str) -> TestResponse:
        return client.get("/api/v1/openapi.json", environ_base={"REMOTE_ADDR": address})

    assert [get("192.0.2.7").headers["RateLimit-Remaining"] for _ in range(3)] == ["2", "1", "0"]
    late = get("192.0.2.7")
    problem(late, 429, "too_many_requests")
    assert 900 < int(late.headers["Retry-After"]) <= 1000
    assert get("192.0.2.8").status_code == 200


def test_a_fault_of_ours_tells_its_number_and_nothing_else(
    client: FlaskClient, api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr("appliance.access.guarded.GuardedDocument.kinds", broken)
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    response = api("GET", "/objects")
    body = problem(response, 500, "internal")
    assert "secret" not in response.text
    assert response.headers["X-Request-Id"] in body["hint"]
    assert response.headers["X-Request-Id"] in caplog.text


def test_a_locked_database_is_said_and_not_waited_for_by_everybody(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object, **_more: object) -> None:
        from appliance.core.errors import UnavailableError

        raise UnavailableError("another process keeps it locked", "try again", error_id="database_busy")

    monkeypatch.setattr("appliance.store.Store.stage", locked)
    problem(api("PATCH", "/objects/extension/e201", {"label": "x"}), 503, "database_busy")
    assert api("GET", "/objects/extension/e201").status_code == 200


def test_the_description_names_every_route_and_kind(client: FlaskClient) -> None:
    found = client.get("/api/v1/openapi.json").json
    assert found == json.loads(json.dumps(description()))
    paths = found["paths"]
    assert {f"/objects/{kind}" for kind in KINDS} | {f"/objects/{kind}/{{id}}" for kind in KINDS} <= paths.keys()
    generic = {"/api/v1/objects/<kind>", "/api/v1/objects/<kind>/<id>", "/api/v1/openapi.json", "/api/v1/client.py"}
    for rule in client.application.url_map.iter_rules():
        if rule.rule.startswith("/api/v1") and rule.rule not in generic:
            path = rule.rule.removeprefix("/api/v1").replace("<int:", "{").replace("<", "{").replace(">", "}")
            methods = {method.lower() for method in rule.methods or () if method not in ("HEAD", "OPTIONS")}
            assert methods <= paths[path].keys(), rule.rule


def test_errors_have_a_status_each() -> None:
    assert status_of(CentralinoError("x")) == 502


def test_one_key_on_many_machines_is_still_one(ask: Askers) -> None:
    client = create_app(ask.services, Buckets(0.001, 5)).test_client()

    def asked(name: str, machine: int) -> TestResponse:
        headers = {"Authorization": f"Bearer {ask.key(name)}"}
        return client.get("/api/v1/objects", headers=headers, environ_base={"REMOTE_ADDR": f"192.0.2.{machine}"})

    left = [asked("administrator", machine).headers["RateLimit-Remaining"] for machine in range(1, 6)]
    assert left == ["4", "3", "2", "1", "0"], "the headers tell what is tighter"
    problem(asked("administrator", 6), 429, "too_many_requests")
    assert asked("auditor", 7).status_code == 200, "another key isn't meant"
