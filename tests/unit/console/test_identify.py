"""What the judge of bans is told of API keys and tokens: nothing that is secret."""

from __future__ import annotations

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from appliance.console.identify import Identifier
from tests.unit.console.asking import Askers

ADDRESS = "203.0.113.7"


def request(authorization: str) -> Request:
    headers = {"Authorization": authorization} if authorization else {}
    builder = EnvironBuilder(headers=headers, environ_base={"REMOTE_ADDR": ADDRESS})
    return Request(builder.get_environ())


def told(ask: Askers, authorization: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    services = ask.services
    Identifier(services.store, services.access, services.signin, lambda *said: found.append(said))(
        request(authorization)
    )
    return found


@pytest.mark.parametrize(
    ("proof", "account"),
    [
        ("ck_abcdefghijkl_" + "s" * 43, "key abcdefghijkl"),
        ("header.claims.signature", "token"),
        ("my-password", "unknown "),
        ("ck_onething", "unknown "),
        ("", "unknown "),
    ],
)
def test_a_proof_that_is_none_is_told_without_its_secret(ask: Askers, proof: str, account: str) -> None:
    [(where, address, outcome, what, _why)] = told(ask, f"Bearer {proof}")
    assert (where, address, outcome) == ("api", ADDRESS, "failed")
    assert what.startswith(account)
    assert "sss" not in what
    assert "password" not in what


def test_a_good_key_is_told_as_a_success_and_browsers_are_not_told_of(ask: Askers) -> None:
    key = ask.key("torinese")
    assert told(ask, f"Bearer {key}") == [("api", ADDRESS, "succeeded", f"key {key.split('_')[1]}")]
    assert told(ask, "") == told(ask, "Basic eDp5") == []
