"""Who is given credentials for the TURN server, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.document import parse
from appliance.core.errors import UnavailableError
from appliance.kinds import KINDS
from appliance.paths import Paths
from appliance.turn.credentials import Credentials
from tests.unit.console.asking import Askers

SERVER = {"id": "turn", "name": "TURN", "addresses": [{"host": "turn.example.com"}]}


@pytest.fixture
def asked(ask: Askers, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom credentials were made for; there is a TURN server."""
    store = ask.services.store
    made = store.propose(
        [parse(KINDS, "turn_server", SERVER)], (), base=store.head().number, author="test", message="m"
    )
    store.promote(made.number)
    found: list[str] = []

    def make(paths: Paths, who: str) -> Credentials:
        assert paths == ask.services.paths
        found.append(who)
        return Credentials("1800000000:abc", "password", 1_800_000_000)

    monkeypatch.setattr("appliance.console.api.turn.ask_credentials", make)
    return found


def test_a_user_is_given_its_own(ask: Askers, asked: list[str]) -> None:
    answer = ask("user")("GET", "/turn")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json or {}
    assert told["iceServers"][0]["username"] == "1800000000:abc"
    assert told["iceServers"][0]["credential"] == "password"
    assert told["iceServers"][0]["urls"][1] == "turns:turn.example.com:443?transport=tcp"
    assert told["expires"] == 1_800_000_000_000
    assert told["sip"] is None, "no listener is for browsers"
    assert answer.headers["Cache-Control"] == "no-store"
    assert asked == ["user"], "by the person, whichever key it has"


@pytest.mark.parametrize(
    ("zone", "told"), [("gate", "wss://localhost/ws"), ("web", "wss://localhost/ws"), ("trunks", None)]
)
def test_a_browser_is_told_where_to_sign_in(ask: Askers, zone: str, told: str | None) -> None:
    store = ask.services.store
    listener = {"id": "w", "name": "W", "transport": "wss", "address": "192.0.2.1", "certificate": "c", "zone": zone}
    made = store.propose([parse(KINDS, "listener", listener)], (), base=store.head().number, author="test", message="m")
    store.promote(made.number)
    assert ask("user")("GET", "/turn").json == {"iceServers": [], "expires": None, "sip": told}


def test_nobody_else_is_given_any(ask: Askers, asked: list[str]) -> None:
    assert ask("stranger")("GET", "/turn").status_code == 401
    assert ask.client.get("/api/v1/turn").status_code == 401
    assert ask("user", ("extension:view",))("GET", "/turn").status_code == 403
    assert ask("user", ("calls:view",))("GET", "/turn").status_code == 403
    assert asked == []


def test_who_asks_too_often_waits(ask: Askers, asked: list[str]) -> None:
    codes = [ask("user")("GET", "/turn").status_code for _ in range(22)]
    assert codes[:20] == [200] * 20
    assert codes[-1] == 429
    assert ask("operator")("GET", "/turn").status_code == 200
    assert asked[20:] == ["operator"]


def test_without_a_server_in_use_there_are_none(ask: Askers) -> None:
    answer = ask("user")("GET", "/turn")
    assert (answer.status_code, answer.json) == (200, {"iceServers": [], "expires": None, "sip": None})


def test_where_it_doesnt_run_that_is_told(ask: Askers, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(paths: Paths, who: str) -> Credentials:
        raise UnavailableError("the TURN server isn't running here", error_id="turn_not_running")

    monkeypatch.setattr("appliance.console.api.turn.ask_credentials", nobody)
    answer = ask("user")("GET", "/turn")
    assert answer.status_code == 503
    assert (answer.json or {})["error_id"] == "turn_not_running"
