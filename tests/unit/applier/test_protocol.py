"""The protocol: strict in what it takes, whole in the errors it carries."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.applier.apply import RevertedError
from appliance.applier.protocol import ApplyRequest, parse, request_json
from appliance.core.errors import (
    ApplyError,
    CentralinoError,
    ConflictError,
    Fault,
    InvalidError,
    RefusedError,
    UnavailableError,
)
from appliance.core.errors_json import error_from, error_json


def test_a_request_is_read_as_it_was_made() -> None:
    at = datetime(2030, 1, 31, 22, 30, tzinfo=UTC)
    line = json.dumps(request_json("apply", revision=3, allow=["drops_connections"], confirm_s=None, at=at)).encode()
    assert parse(line) == ApplyRequest(op="apply", revision=3, allow=("drops_connections",), at=at)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"", "request/"),
        (b"{", "request/"),
        (b"[]", "request/"),
        (b'{"op": "shell"}', "request/"),
        (b'{"op": "apply"}', "revision"),
        (b'{"op": "apply", "revision": -1}', "revision"),
        (b'{"op": "apply", "revision": 1, "confirm_s": 0}', "confirm_s"),
        (b'{"op": "apply", "revision": 1, "confirm_s": 1e12}', "confirm_s"),
        (b'{"op": "apply", "revision": 1, "allow": ["everything"]}', "allow"),
        (b'{"op": "apply", "revision": 1, "at": "2030-01-31T22:30"}', "at"),
        (b'{"op": "state", "extra": 1}', "extra"),
        (b"\xff\xfe\x00", "request/"),
    ],
)
def test_a_wrong_request_names_the_field(line: bytes, field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(line)
    assert field in caught.value.faults[0].path


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(line: bytes) -> None:
    with pytest.raises(InvalidError):
        parse(line)


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("it drops calls", "ask for it", error_id="needs_restart"),
        UnavailableError("no engine", "start it", error_id="ami_unreachable"),
        ConflictError("stale", "look again", changed=["extension/e/label"]),
        InvalidError([Fault("extension/e/number", "is used twice", "take another", "duplicate"), Fault("a", "b")]),
        CentralinoError("who knows"),
    ],
)
def test_errors_arrive_as_they_were_raised(error: CentralinoError) -> None:
    again = error_from(json.loads(json.dumps(error_json(error))))
    assert type(again) is type(error)
    assert (again.message, again.hint, again.error_id) == (error.message, error.hint, error.error_id)
    assert getattr(again, "faults", None) == getattr(error, "faults", None)
    assert getattr(again, "changed", None) == getattr(error, "changed", None)


def test_an_error_of_our_own_arrives_as_the_public_one() -> None:
    assert type(error_from(error_json(RevertedError("no", verified=True)))) is ApplyError


@pytest.mark.parametrize("data", [{}, {"type": "os"}, {"type": "Fault", "message": "x"}, {"type": "InvalidError"}])
def test_a_strange_error_is_still_an_error_of_ours(data: dict[str, str]) -> None:
    assert isinstance(error_from(data), CentralinoError)
