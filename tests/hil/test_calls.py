"""Calls that are placed, transferred, redirected and ended by the API and by the browser, with the real engine and real phones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.console.app import create_app
from appliance.console.limits import Buckets
from appliance.console.services import Services
from appliance.engine.ami import AmiError
from appliance.engine.known import KNOWN
from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import SoftPhone, converse
from tests.hil.company import Company, open_company, rows
from tests.hil.live_hub import live_hub
from tests.unit.console.asking import Api, Askers

MORE = [
    ("person", {"id": "boss", "name": "Administrator", "roles": ["administrator"]}),
    ("person", {"id": "clerk", "name": "Clerk", "roles": ["user"]}),
    ("person", {"id": "auditor", "name": "Auditor", "roles": ["auditor"]}),
    ("extension", {"id": "ext-201", "number": "201", "label": "Desk 201", "site": "hq", "person": "clerk"}),
]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with open_company(tmp_path_factory.mktemp("calls"), rows(more=MORE), complaints=list(KNOWN)) as company:
        for phone in ("201-1", "202-1", "203-1"):
            company.phone(phone)
        with live_hub(company.system):
            yield company


@pytest.fixture(scope="module")
def ask(company: Company) -> Iterator[Askers]:
    system = company.system
    services = Services.open(system.paths)
    try:
        yield Askers(create_app(services, Buckets(1000, 10_000)))
    finally:
        services.close()


def calls(asker: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asker("GET", "/calls").json["items"]
    return found


def the_call(asker: Api, state: str) -> dict[str, Any]:
    """The one call there is, once it is in a state."""

    def one() -> dict[str, Any] | None:
        found = calls(asker)
        return found[0] if len(found) == 1 and found[0]["state"] == state else None

    return eventually(one, f"one call is {state}")


def heard(one: SoftPhone, two: SoftPhone) -> None:
    """Both hear each other."""
    reports = converse(one, two, 1.0)
    assert all(report.good() for report in reports), reports


def party(call: dict[str, Any], extension: str) -> str:
    return next(str(each["id"]) for each in call["parties"] if each["extension"] == extension)


@pytest.fixture(autouse=True)
def _quiet(company: Company, ask: Askers) -> Iterator[None]:
    yield
    with company.system.ami() as ami, contextlib.suppress(AmiError):
        ami.action("Hangup", {"Channel": "/^PJSIP/"})
    company.quiet()
    eventually(lambda: not calls(ask("boss")), "no call is left")


def test_a_user_calls_from_the_browser_and_both_talk(company: Company, ask: Askers) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    placed = ask("clerk")("POST", "/calls", {"number": "202", "variables": {"TICKET": "4711"}})
    assert placed.status_code == 202
    own = one.incoming()
    assert "202" in own.peer, "the own phone shows whom it is about to call"
    call = the_call(ask("clerk"), "ringing")
    assert (call["id"], call["dialled"]) == (placed.json["id"], "202")
    assert [(each["role"], each["extension"]) for each in call["parties"]] == [("caller", "ext-201")]
    own.answer()
    called = two.incoming()
    assert "201" in called.peer, "the called one sees who calls"
    called.answer()
    the_call(ask("clerk"), "up")
    heard(one, two)
    ended = ask("clerk")("DELETE", f"/calls/{placed.json['id']}")
    assert ended.status_code == 204
    own.closed()
    called.closed()


def test_a_repeated_request_calls_once(company: Company, ask: Askers) -> None:
    first = ask("clerk")("POST", "/calls", {"number": "202", "device": "201-1"}, Idempotency_Key="once")
    again = ask("clerk")("POST", "/calls", {"number": "202", "device": "201-1"}, Idempotency_Key="once")
    assert first.json == again.json
    own = company.phone("201-1").incoming()
    assert len(calls(ask("boss"))) == 1
    own.reject()


def test_what_is_not_lifted_calls_nobody(company: Company, ask: Askers) -> None:
    before = company.phone("202-1")._seen_incoming()
    placed = ask("clerk")("POST", "/calls", {"number": "202"}).json["id"]
    own = company.phone("201-1").incoming()
    ask("clerk")("DELETE", f"/calls/{placed}")
    own.closed()
    eventually(lambda: not calls(ask("boss")), "the call has ended")
    assert company.phone("202-1")._seen_incoming() == before, "202 isn't called"


def test_blind_transfer(company: Company, ask: Askers) -> None:
    one, two, three = (company.phone(f"20{n}-1") for n in (1, 2, 3))
    outgoing = two.call("201").ringing()
    incoming = one.incoming()
    incoming.answer()
    outgoing.established()
    call = the_call(ask("clerk"), "up")
    done = ask("clerk")("POST", f"/calls/{call['id']}/transfer", {"party": party(call, "ext-201"), "number": "203"})
    assert done.status_code == 204, done.text
    third = three.incoming()
    assert "202" in third.peer
    third.answer()
    heard(two, three)
    incoming.closed()


def test_a_ringing_call_is_redirected(company: Company, ask: Askers) -> None:
    one, two, three = (company.phone(f"20{n}-1") for n in (1, 2, 3))
    two.call("201").ringing()
    ringing = one.incoming()
    call = the_call(ask("clerk"), "ringing")
    done = ask("clerk")("POST", f"/calls/{call['id']}/redirect", {"party": party(call, "ext-201"), "number": "203"})
    assert done.status_code == 204, done.text
    third = three.incoming()
    ringing.closed()
    third.answer()
    heard(two, three)


def test_a_call_that_rings_elsewhere_is_picked_up(company: Company, ask: Askers) -> None:
    one, two, three = (company.phone(f"20{n}-1") for n in (1, 2, 3))
    two.call("201").ringing()
    ringing = one.incoming()
    call = the_call(ask("boss"), "ringing")
    wanted = {"party": party(call, "ext-201"), "device": "203-1"}
    assert ask("auditor")("POST", f"/calls/{call['id']}/pickup", wanted).status_code == 422, "it has no device to do so"
    assert ask("boss")("POST", f"/calls/{call['id']}/pickup", wanted).status_code == 204
    own = three.incoming()
    assert "202" in own.peer, "the phone shows who calls"
    own.answer()
    ringing.closed()
    heard(two, three)
    again = ask("boss")("POST", f"/calls/{call['id']}/pickup", wanted)
    assert again.json["error_id"] in ("not_found", "not_ringing")


def test_what_is_refused_changes_nothing(company: Company, ask: Askers) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    outgoing = two.call("201").ringing()
    incoming = one.incoming()
    incoming.answer()
    outgoing.established()
    call = the_call(ask("boss"), "up")
    mine, other = party(call, "ext-201"), party(call, "ext-202")
    for asker, act, data, status, error in (
        ("auditor", "transfer", {"party": mine, "number": "203"}, 409, "forbidden"),
        ("clerk", "transfer", {"party": other, "number": "203"}, 409, "forbidden"),
        ("clerk", "transfer", {"party": "c-none", "number": "203"}, 404, "not_found"),
        ("clerk", "transfer", {"party": mine, "number": "999"}, 409, "transfer_refused"),
        ("clerk", "transfer", {"party": mine, "number": "112"}, 409, "transfer_refused"),
        ("clerk", "redirect", {"party": mine, "number": "203"}, 409, "not_ringing"),
        ("clerk", "answer", {"party": mine}, 409, "unsupported_by_device"),
        ("clerk", "hold", {"party": mine}, 409, "unsupported_by_device"),
    ):
        answer = ask(asker)("POST", f"/calls/{call['id']}/{act}", data)
        assert (answer.json["error_id"]) == error, (asker, act, answer.text)
        assert answer.status_code in (status, 403)
    assert ask("auditor")("DELETE", f"/calls/{call['id']}").json["error_id"] == "forbidden"
    absent = ask("boss")("POST", "/calls", {"number": "202", "device": "204-1"})
    assert absent.json["error_id"] == "device_absent"
    heard(one, two)


def test_no_variable_reaches_the_dialplan_s_own(company: Company, ask: Askers) -> None:
    for name, value in (("from", "x"), ("FROM|x", "y"), ("A", "${SHELL(id)}"), ("A", "x,y"), ("A", "x\ny")):
        answer = ask("clerk")("POST", "/calls", {"number": "202", "variables": {name: value}})
        assert answer.status_code == 422, (name, value, answer.text)
    assert not calls(ask("boss"))


def test_the_history_has_a_placed_call_like_any_other(company: Company, ask: Askers) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    placed = ask("clerk")("POST", "/calls", {"number": "202"}).json["id"]
    own = one.incoming()
    own.answer()
    called = two.incoming()
    called.answer()
    the_call(ask("clerk"), "up")
    own.hangup()
    called.closed()
    spool = company.system.paths.engine.cel
    lines = "".join(file.read_text(errors="replace") for file in spool.glob("*.csv"))
    assert placed in lines
