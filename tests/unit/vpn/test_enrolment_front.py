"""Strangers at the gate for new edges: what is no request, too many of them, silence."""

from __future__ import annotations

import socket

import pytest

from appliance.edge.enrol import enrol
from appliance.vpn.enrolment import front
from appliance.vpn.enrolment.front import Front
from appliance.vpn.enrolment.wire import Authority as Shown
from tests.unit.vpn.our_centre import Edge, OurCentre, failed, post, spoken

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /enrol HTTP/1.1\r\n\r\n",
        b"POST /enrol HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /enrol HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n",
        b"POST /enrol HTTP/1.1\r\nContent-Length: 99999\r\n\r\n",
        post(b"{}"),
        post(b"[" * 19_000),
        post(b'{"secret": 7, "csr": []}'),
        b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_400_and_passed_on_to_nobody(centre: OurCentre, said: bytes) -> None:
    assert spoken(centre, said).startswith(b"HTTP/1.1 400 ")
    assert centre.heard == []


@pytest.mark.parametrize(
    "said",
    [
        b"\xff\xfe\r\n\r\n", b"x" * 20_000, b"POST /enrol HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /enrol HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"POST /enrol HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ],
)  # fmt: skip
def test_garbage_ends_the_connection_without_a_word(centre: OurCentre, said: bytes) -> None:
    assert spoken(centre, said) == b""
    assert enrol(centre.invitation(), Edge()).site == "torino"


def test_who_asks_too_often_waits_and_others_do_not(centre: OurCentre, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Front(None, Shown(b"", b""))  # type: ignore[arg-type]
    assert [made._may("a", 0.0 + 0.2 * turn) for turn in range(12)] == [True] * 10 + [False] * 2
    assert made._may("b", 2.5)
    assert made._may("a", 61.0)
    assert [made._may(str(source), 100.0) for source in range(12)] == [True] * 10 + [False] * 2
    assert made._may("late", 101.1)
    monkeypatch.setattr(front, "PER_SOURCE", 0)
    assert failed(centre.invitation()).error_id == "centre_busy"


def test_a_silent_client_holds_nobody_up(centre: OurCentre) -> None:
    silent = [socket.create_connection(("127.0.0.1", centre.port), 5) for _ in range(20)]
    try:
        assert enrol(centre.invitation(), Edge()).site == "torino"
    finally:
        for each in silent:
            each.close()
