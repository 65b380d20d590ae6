"""The live pages and resources while no hub runs: they say so, and everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.console.portal.live import number_of
from tests.hil.portal_app import TOKEN, Portal, company, portal_over
from tests.unit.console.asking import Askers

PEOPLE = [
    ("person", {"id": "clerk", "name": "Clerk", "roles": ["user"]}),
    ("person", {"id": "personnel", "name": "Personnel", "roles": ["hr-manager"]}),
    ("extension", {"id": "ext-209", "number": "209", "label": "Clerk", "site": "hq", "person": "clerk"}),
    ("device", {"id": "209-1", "label": "Desk phone", "extension": "ext-209", "secret": "209-1"}),
    ("secret", {"id": "209-1"}),
]


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with portal_over(tmp_path, company(PEOPLE), served=False) as portal:
        yield portal


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


def test_pages_say_that_they_know_nothing_now(client: FlaskClient) -> None:
    for path in ("/dashboard", "/panel"):
        page = client.get(path)
        assert page.status_code == 200, path
        assert "The live hub doesn’t answer" in page.text or "The live hub doesn&#39;t answer" in page.text, path
        assert "it is started again" not in page.text
    assert client.get("/objects/extension").status_code == 200


def test_whoever_may_not_look_is_not_led_there(portal: Portal, client: FlaskClient) -> None:
    assert client.get("/").headers["Location"] == "/dashboard"
    assert "/panel" in client.get("/objects/site").text
    portal.who = "personnel"
    assert client.get("/").headers["Location"].startswith("/objects/")
    assert "/panel" not in client.get("/objects/site").text


def test_a_call_can_not_be_placed_without_a_hub_and_the_form_says_so(portal: Portal, client: FlaskClient) -> None:
    portal.who = "clerk"
    page = client.get("/call?to=tel:%2B39-02-0000-0200;phone-context=it")
    assert 'value="+390200000200"' in page.text
    assert "Desk phone (209)" in page.text
    answer = client.post("/call", data={"csrf_token": TOKEN, "number": "202", "device": "209-1"})
    assert answer.status_code == 422
    assert "The live hub doesn" in answer.text
    assert 'value="202"' in answer.text


@pytest.mark.parametrize("device", ["201-desk", "none-such", "'<b>"])
def test_nobody_calls_with_the_phone_of_others(portal: Portal, client: FlaskClient, device: str) -> None:
    portal.who = "clerk"
    answer = client.post("/call", data={"csrf_token": TOKEN, "number": "202", "device": device})
    assert answer.status_code == 422
    assert "is no device whose calls you may place" in answer.text or "no device whose calls" in answer.text
    assert "<b>" not in answer.text


def test_without_a_phone_one_is_told_what_to_do(client: FlaskClient) -> None:
    assert "You have no phone of your own" in client.get("/call").text


@pytest.mark.parametrize(
    ("link", "number"),
    [
        ("tel:+39 02 0000 0200", "+390200000200"), ("TEL:+39(02)0000-0200;ext=1", "+390200000200"), ("callto:202", "202"),
        ("*43", "*43"), ("javascript:alert(1)", "javascript:alert1"), ("", ""), ("2" * 80, "2" * 40),
    ],
)  # fmt: skip
def test_numbers_in_links(link: str, number: str) -> None:
    assert number_of(link) == number


def test_programs_are_told_the_same(portal: Portal) -> None:
    from appliance.access.access import Access
    from appliance.console.identify import Identifier
    from appliance.console.services import Services

    services: Services = portal.app.extensions["centralino"]
    assert isinstance(services.access, Access)
    object.__setattr__(services, "identify", Identifier(services.store, services.access, services.signin))
    ask = Askers(portal.app)
    for path in ("/calls", "/live/extension", "/live/trunk", "/live/link", "/live/alarm"):
        answer = ask("boss")("GET", path)
        assert (answer.status_code, answer.json["error_id"]) == (503, "hub_unreachable"), path
    assert ask("boss")("GET", "/live/secret").status_code == 404
    assert ask("personnel")("GET", "/calls").status_code == 403
    wrong = ask("clerk")("POST", "/calls", {"number": "drop table", "device": "209-1"})
    assert (wrong.status_code, wrong.json["faults"][0]["path"]) == (422, "body/number")
    other = ask("clerk")("POST", "/calls", {"number": "202", "device": "201-desk"})
    assert (other.status_code, other.json["faults"][0]["path"]) == (422, "body/device")
    key = {"Idempotency_Key": "k"}
    assert ask("clerk")("POST", "/calls", {"number": "202"}, **key).json["error_id"] == "hub_unreachable"
    assert ask("clerk")("POST", "/calls", {"number": "202"}, **key).json["error_id"] == "idempotency_busy"
    assert ask("clerk")("POST", "/calls", {"number": "203"}, **key).json["error_id"] == "idempotency_key"
