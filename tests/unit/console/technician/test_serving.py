"""Where the console listens, and what it answers whom. In a browser: tests/hil/test_technician.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.console.technician.app import COOKIE, Services, create_app
from appliance.console.technician.door import Door, new_code
from appliance.console.technician.samples import Samples
from appliance.console.technician.serving import FIXED, answering, wanted
from appliance.console.technician.trying import Trying
from appliance.edge.asking import Edge


def test_no_answer_is_without_any_part_and_what_was_open_is_closed() -> None:
    closed: list[bool] = []

    class Parts(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    for parts in (Parts(), Parts([b"all", b" of it"])):
        found = answering(lambda _environ, _start, parts=parts: parts)({}, lambda *_: lambda _part: None)  # type: ignore[misc]
        made = list(found)
        assert made
        assert b"".join(made) == b"".join(parts)
        found.close()  # type: ignore[attr-defined]
    assert closed == [True, True]


def test_it_listens_in_the_sites_networks_and_at_no_line() -> None:
    told = {"networks": ["203.0.113.0/24", "2001:db8:7::/64"]}
    own = ["127.0.0.1", "203.0.113.1", "198.51.100.7", "2001:db8:7::1", "2001:db8:9::1", "fe80::1", "203.0.113.1"]
    assert wanted(told, own) == ("127.0.0.1", FIXED, "2001:db8:7::1", "203.0.113.1")
    assert wanted({}, own) == ("127.0.0.1", FIXED), "an edge that isn't enrolled has no networks"


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """Of a console whose edge isn't there."""
    code = new_code(tmp_path / "code.json")
    edge = Edge(tmp_path / "orders.sock")
    app = create_app(Services(edge, Door(tmp_path / "code.json"), Samples(edge.status), Trying(edge.status)))
    made = app.test_client()
    made.environ_base["CODE"] = code
    return made


def enter(client: FlaskClient) -> Any:
    return client.post("/sign-in", data={"code": client.environ_base["CODE"]}, base_url="https://edge.example")


def every(client: FlaskClient, method: str) -> list[str]:
    rules = client.application.url_map.iter_rules()
    return [rule.rule for rule in rules if method in (rule.methods or ()) and "<" not in rule.rule]


def test_whoever_isnt_in_is_led_to_the_door_from_everywhere(client: FlaskClient) -> None:
    for method in ("GET", "POST"):
        for path in every(client, method):
            if path in ("/sign-in", "/language"):
                continue
            answer = client.open(path, method=method)
            assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in"), path
            part = client.open(path, method=method, headers={"HX-Request": "true"})
            assert (part.status_code, part.headers["HX-Redirect"]) == (401, "/sign-in"), path
    assert client.get("/static/tokens.css", buffered=True).status_code == 200
    assert client.get("/static/../app.py").status_code in (303, 404)
    assert client.get("/static/..%2fapp.py").status_code in (303, 404)


def test_a_form_needs_its_sessions_token_and_comes_from_here(client: FlaskClient) -> None:
    cross = client.post(
        "/sign-in", data={"code": client.environ_base["CODE"]}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert cross.status_code == 409
    assert enter(client).status_code == 303
    for path in every(client, "POST"):
        if path not in ("/sign-in", "/language"):
            answer = client.post(path, data={"csrf_token": "guessed"}, base_url="https://edge.example")
            assert answer.status_code == 409, path
    assert client.get("/", base_url="https://edge.example").status_code == 200, "it is still in"


def test_every_answer_has_its_headers_and_the_cookie_its_marks(client: FlaskClient) -> None:
    answer = enter(client)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for mark in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert mark in cookie
    for path in ("/sign-in", "/", "/tests", "/nowhere", "/static/tokens.css"):
        headers = client.get(path, base_url="https://edge.example", buffered=True).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_bad_input_is_said_by_name(client: FlaskClient) -> None:
    enter(client)
    page = client.get("/", base_url="https://edge.example").text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    for path, fields, status in (
        ("/tests/call", {"seconds": "ten"}, 422), ("/tests/drill", {"line": "one", "seconds": "5"}, 422), ("/language", {"language": "xx"}, 422),
        ("/tests/call", {"seconds": "10"}, 503), ("/tests/try", {"kind": "ping", "host": "example.com"}, 503),
        ("/tests/try", {"kind": "break in", "host": "example.com"}, 422), ("/nowhere", {}, 404),
    ):  # fmt: skip
        answer = client.post(path, data={"csrf_token": token, **fields}, base_url="https://edge.example")
        assert answer.status_code == status, path
        assert "<h1>" in answer.text


def test_the_language_stays_and_leads_back_to_where_one_was_and_nowhere_else(client: FlaskClient) -> None:
    for next, expected in (
        ("/events", "/events"),
        ("//example.com", "/"),
        ("/\\example.com", "/"),
        ("https://example.com", "/"),
    ):
        answer = client.post("/language", data={"language": "it", "next": next}, base_url="https://edge.example")
        assert answer.headers["Location"] == expected
    assert 'lang="it"' in client.get("/sign-in", base_url="https://edge.example").text


def test_an_edge_that_isnt_there_is_said_on_every_page(client: FlaskClient) -> None:
    enter(client)
    for path, status in (
        ("/", 200),
        ("/live", 200),
        ("/tests", 503),
        ("/events", 503),
        ("/logs", 503),
        ("/support", 200),
    ):
        answer = client.get(path, base_url="https://edge.example")
        assert answer.status_code == status, path
        assert "centralino edge" in answer.text
