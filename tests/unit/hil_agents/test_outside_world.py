"""The tests' providers: what comes late of a call from before isn't the next test's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sipmessage import Request

from tests.hil.outside_world import Line


def request(method: str, call_id: str) -> Request:
    text = (
        f"{method} sip:112@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
        f"To: <sip:c@d>\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
    message = Request.parse(text.encode())
    assert isinstance(message, Request)
    return message


def test_late_requests_of_calls_from_before_are_not_counted() -> None:
    host: Any = SimpleNamespace(address="192.0.2.2")
    line = Line(host, "192.0.2.1")
    line.received.append(request("INVITE", "one"))
    assert line.methods() == ["INVITE"]
    line.begin_anew()
    assert line.methods() == []
    for method, call_id in (("BYE", "one"), ("INVITE", "two"), ("INVITE", "one"), ("BYE", "two")):
        line.received.append(request(method, call_id))
    assert line.methods() == ["INVITE", "BYE"]
    assert [each.call_id for each in line.invites] == ["two"]
