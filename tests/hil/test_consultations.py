"""Attended transfers by the API, and phones that are told to answer and to hold: real engine, real phones, what each hears."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from appliance.console.app import create_app
from appliance.console.limits import Buckets
from appliance.console.services import Services
from appliance.engine.ami import AmiError
from appliance.engine.known import KNOWN
from appliance.history.ingest import Ingest
from appliance.history.model import Call as Recorded
from appliance.history.service import History
from appliance.history.spool import Spool
from appliance.store.history import open_history
from tests.hil.agents.obedient import ABLE, DEAF, Obedient
from tests.hil.agents.process import AgentError, Child, eventually
from tests.hil.agents.softphone import Call, SoftPhone
from tests.hil.company import MAIN, PBX, PBX_OUTSIDE, Company, open_company, rows
from tests.hil.live_hub import live_hub, start_hub
from tests.unit.console.asking import Api, Askers

MORE = [
    ("person", {"id": "boss", "name": "Administrator", "roles": ["administrator"]}),
    ("person", {"id": "clerk", "name": "Clerk", "roles": ["user"]}),
    ("extension", {"id": "ext-201", "number": "201", "label": "Desk 201", "site": "hq", "person": "clerk"}),
]
Talking = tuple[SoftPhone, SoftPhone, SoftPhone, Call, Call]


@pytest.fixture(scope="module")
def hub() -> list[Child]:
    return []


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, hub: list[Child]) -> Iterator[Company]:
    with open_company(tmp_path_factory.mktemp("consult"), rows(more=MORE), complaints=list(KNOWN)) as company:
        for phone in ("201-1", "202-1", "203-1"):
            company.phone(phone)
        with live_hub(company.system, hub):
            yield company


@pytest.fixture(scope="module")
def ask(company: Company) -> Iterator[Askers]:
    services = Services.open(company.system.paths)
    try:
        yield Askers(create_app(services, Buckets(1000, 10_000)))
    finally:
        services.close()


@pytest.fixture(autouse=True)
def _quiet(company: Company, ask: Askers) -> Iterator[None]:
    yield
    with company.system.ami() as ami, contextlib.suppress(AmiError):
        ami.action("Hangup", {"Channel": "/^PJSIP/"})
    no_call(ask("boss"))


@pytest.fixture
def talking(company: Company, ask: Askers) -> Talking:
    """202 has called 201, who may ask 203: the phones, and the call at 201 and at 202."""
    one, two, three = (company.phone(f"20{n}-1") for n in (1, 2, 3))
    at_two = two.call("201").ringing()
    at_one = one.incoming().answer()
    at_two.established()
    the_call(ask("clerk"), "up")
    return one, two, three, at_one, at_two


def calls(asker: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asker("GET", "/calls").json["items"]
    return found


def no_call(asker: Api) -> None:
    """No call is left; what watches trunks lives some seconds longer."""
    eventually(lambda: not calls(asker), "no call is left")


def the_call(asker: Api, state: str, consultation: str | None = None) -> dict[str, Any]:
    """The one call there is, once it and its consultation are in these states."""

    def one() -> dict[str, Any] | None:
        found = calls(asker)
        if len(found) != 1 or found[0]["state"] != state:
            return None
        asked = found[0]["consultation"]
        return found[0] if (asked["state"] if asked else None) == consultation else None

    try:
        return eventually(one, f"one call is {state}")
    except AgentError as error:
        raise AssertionError(f"{error}: {calls(asker)}") from None


def party(call: dict[str, Any], extension: str) -> str:
    return next(str(each["id"]) for each in call["parties"] if each["extension"] == extension)


def do(asker: Api, act: str, **more: str) -> str:
    """Do something to 201's part in the one call; the error's id, empty: it was done."""
    call = calls(asker)[0]
    answer = asker("POST", f"/calls/{call['id']}/{act}", {"party": party(call, "ext-201"), **more})
    return "" if answer.status_code == 204 else str(answer.json["error_id"])


def heard(one: SoftPhone, two: SoftPhone, *waiting: SoftPhone) -> None:
    """Both hear each other, clearly; whoever waits hears something else meanwhile."""
    last: list[Any] = []

    def clearly() -> bool:
        marks = [phone.mark() for phone in (one, two, *waiting)]
        time.sleep(0.4)  # the span that is listened to
        last[:] = [one.since(marks[0], two.tone_hz), two.since(marks[1], one.tone_hz)]
        others = [
            phone.since(mark, hz.tone_hz) for phone, mark in zip(waiting, marks[2:], strict=True) for hz in (one, two)
        ]
        last.extend(others)
        return all(report.good() for report in last[:2]) and all(
            report.heard_ms == 0 and report.dominant_hz > 0 for report in others
        )

    try:
        eventually(clearly, "two hear each other", 10)
    except AgentError as error:
        raise AssertionError("\n".join([str(error), *map(str, last)])) from None


def recorded(company: Company, id: str, work: Path) -> Recorded:
    """The record of a call, made from the engine's spool."""
    database = open_history(f"sqlite:///{work}/history.db")
    try:
        ingest = Ingest(database, Spool(company.system.paths.engine.cel))

        def read() -> Recorded | None:
            ingest.drain()
            found = (each.call for each in history.calls(limit=100).calls)
            return next((call for call in found if call.linked_id == id), None)

        history = History(database)
        return eventually(read, "the call is in the history")
    finally:
        database.close()


def test_two_are_joined_after_a_word_with_the_second(
    company: Company, ask: Askers, talking: Talking, tmp_path: Path
) -> None:
    one, two, three, at_one, _ = talking
    assert do(ask("clerk"), "consult", number="203") == ""
    began = the_call(ask("clerk"), "ringing", "ringing")
    held, by = party(began, "ext-202"), party(began, "ext-201")
    assert (began["consultation"]["by"], began["consultation"]["held"]) == (by, held)
    assert do(ask("clerk"), "complete") == "not_talking"
    assert do(ask("clerk"), "consult", number="203") == "consulting"
    third = three.incoming()
    assert "201" in third.peer, "whom one asks sees who asks"
    third.answer()
    asked = the_call(ask("clerk"), "held", "talking")
    assert asked["consultation"]["to"] == [party(asked, "ext-203")]
    assert {each["extension"]: each["state"] for each in asked["parties"]}["ext-202"] == "held"
    heard(one, three, two)
    assert do(ask("clerk"), "complete") == ""
    at_one.closed()
    joined = the_call(ask("boss"), "up")
    assert {each["extension"] for each in joined["parties"]} == {"ext-202", "ext-203"}
    heard(two, three)
    third.hangup()
    kept = recorded(company, began["id"], tmp_path)
    assert [(t.kind, t.by, t.of, t.to) for t in kept.transfers] == [("attended", "201", "202", "203")]
    assert [(leg.extension, leg.result) for leg in kept.legs] == [
        ("202", "answered"), ("201", "answered"), ("203", "answered")
    ]  # fmt: skip
    assert (kept.outcome, kept.reached_extension, kept.incomplete) == ("answered", "201", False)


def test_the_first_is_taken_back_by_order_and_when_the_second_is_busy(ask: Askers, talking: Talking) -> None:
    one, two, three, at_one, at_two = talking
    assert do(ask("clerk"), "takeback") == "not_consulting"
    assert do(ask("clerk"), "consult", number="203") == ""
    third = three.incoming()
    assert do(ask("clerk"), "takeback") == ""
    third.closed()
    the_call(ask("clerk"), "up", "taken_back")
    assert do(ask("clerk"), "consult", number="203") == ""
    three.incoming().reject()
    the_call(ask("clerk"), "up", "busy")
    heard(one, two)  # and no ringing tone goes on
    assert do(ask("clerk"), "consult", number="299") == ""
    the_call(ask("clerk"), "up", "unreachable")
    assert do(ask("clerk"), "consult", number="203") == ""
    three.incoming().answer()
    the_call(ask("clerk"), "held", "talking")
    assert do(ask("clerk"), "takeback") == ""
    heard(one, two)
    rung = one._seen_incoming()
    at_one.hangup()
    at_two.closed()
    assert one._seen_incoming() == rung, "whom one has taken back doesn't ring one again"


def test_who_asks_hangs_up_and_nobody_is_left_on_hold_though_the_hub_is_dead(
    ask: Askers, talking: Talking, hub: list[Child]
) -> None:
    one, two, three, at_one, at_two = talking
    assert do(ask("clerk"), "consult", number="203") == ""
    third = three.incoming().answer()
    heard(one, three)
    hub[0].signal(signal.SIGSTOP)
    try:
        at_one.hangup()
        third.closed()
        again = one.incoming()
        assert "202" in again.peer
        again.answer()
        heard(one, two)
        again.hangup()
        at_two.closed()
    finally:
        hub[0].signal(signal.SIGCONT)


def test_the_second_hangs_up_and_then_the_first_without_the_hub(
    ask: Askers, talking: Talking, hub: list[Child]
) -> None:
    one, two, three, at_one, at_two = talking
    assert do(ask("clerk"), "consult", number="203") == ""
    third = three.incoming().answer()
    the_call(ask("clerk"), "held", "talking")
    hub[0].signal(signal.SIGSTOP)
    try:
        third.hangup()
        heard(one, two)
        at_two.hangup()
        at_one.closed()
    finally:
        hub[0].signal(signal.SIGCONT)


def test_the_first_hangs_up_and_the_second_stays(ask: Askers, talking: Talking) -> None:
    one, _, three, at_one, at_two = talking
    assert do(ask("clerk"), "consult", number="203") == ""
    third = three.incoming().answer()
    at_two.hangup()
    the_call(ask("clerk"), "up")
    assert do(ask("clerk"), "complete") == do(ask("clerk"), "takeback") == "not_consulting"
    heard(one, three)
    at_one.hangup()
    third.closed()


def test_two_calls_of_a_phone_are_joined(ask: Askers, talking: Talking) -> None:
    one, two, three, at_one, _ = talking
    at_one.hold()
    second = one.call("203").ringing()
    third = three.incoming().answer()
    second.established()
    both = eventually(lambda: found if len(found := calls(ask("clerk"))) == 2 else None, "two calls")
    first, other = (party(call, "ext-201") for call in both)
    wrong = {"party": first, "second": party(both[1], "ext-203")}
    assert ask("boss")("POST", f"/calls/{both[0]['id']}/complete", wrong).json["error_id"] == "not_one_extension"
    done = ask("clerk")("POST", f"/calls/{both[0]['id']}/complete", {"party": first, "second": other})
    assert done.status_code == 204, done.text
    at_one.closed()
    second.closed()
    heard(two, three)
    third.hangup()


def test_what_a_class_and_an_emergency_forbid(company: Company, ask: Askers) -> None:
    one = company.phone("201-1")
    company.line.does((0, "180 Ringing"), (0.1, "200 OK"))
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(company.line.call, MAIN, "+390200000777", PBX_OUTSIDE)
        at_one = one.incoming().answer()
        calling.result(20)
    the_call(ask("clerk"), "up")
    assert do(ask("clerk"), "consult", number="112") == "transfer_refused"
    assert do(ask("clerk"), "consult", number="0112") == "transfer_refused"
    assert do(ask("clerk"), "consult", number="00200000999") == ""
    the_call(ask("clerk"), "held", "talking")
    assert company.line.invites[-1].from_address.uri.user == MAIN, "who calls is 201, not who waits"
    assert do(ask("clerk"), "complete") == "transfer_refused"
    assert do(ask("clerk"), "takeback") == ""
    one.hears(one.tone_hz)  # the provider's end sends back what it hears
    at_one.hangup()
    no_call(ask("boss"))
    emergency = one.call("112").established()
    call = the_call(ask("clerk"), "up")
    assert call["direction"] == "emergency"
    assert do(ask("clerk"), "consult", number="203") == "emergency_call"
    emergency.hangup()


def test_a_phone_is_told_to_answer_to_hold_and_to_resume(company: Company, ask: Askers) -> None:
    two, boss = company.phone("202-1"), ask("boss")
    with Obedient(company.desk, PBX, "205-1", company.system.passwords["205-1"]) as phone:
        phone.register()

        def tell(act: str) -> str:
            call = calls(boss)[0]
            answer = boss("POST", f"/calls/{call['id']}/{act}", {"party": party(call, "ext-205")})
            return "" if answer.status_code == 204 else str(answer.json["error_id"])

        outgoing = two.call("205").ringing()
        the_call(boss, "ringing")
        assert tell("hold") == "not_talking"
        phone.temper = DEAF
        assert tell("answer") == "device_silent"
        assert calls(boss)[0]["state"] == "ringing", "nothing is claimed that isn't so"
        phone.temper = ABLE
        assert tell("answer") == ""
        assert calls(boss)[0]["state"] == "up", "it is so when the answer comes"
        outgoing.established()
        two.hears(two.tone_hz)  # the phone sends back what it hears
        assert tell("hold") == ""
        [held] = calls(boss)
        assert {each["extension"]: each["state"] for each in held["parties"]} == {
            "ext-202": "held",
            "ext-205": "holding",
        }
        two.hears_no_more(two.tone_hz)
        assert tell("hold") == "", "it holds already"
        assert tell("resume") == ""
        the_call(boss, "up")
        two.hears(two.tone_hz)
        assert phone.told() == ["talk", "talk", "hold", "talk"]
        outgoing.hangup()
        phone.register(0)


def test_another_hub_goes_on_with_what_a_dead_one_began(
    company: Company, ask: Askers, talking: Talking, hub: list[Child]
) -> None:
    _, two, three, at_one, _ = talking
    assert do(ask("clerk"), "consult", number="203") == ""
    third = three.incoming().answer()
    before = the_call(ask("clerk"), "held", "talking")
    hub[0].signal(signal.SIGKILL)
    hub[0].stop()
    with live_hub(company.system):
        assert the_call(ask("clerk"), "held", "talking")["consultation"] == before["consultation"]
        assert do(ask("clerk"), "complete") == ""
        at_one.closed()
        heard(two, three)
        third.hangup()
        no_call(ask("boss"))
    hub[0] = start_hub(company.system)
    eventually(lambda: ask("boss")("GET", "/calls").json.get("state") == "live", "the hub is live again", 20)
