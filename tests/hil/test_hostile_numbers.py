"""What isn't a number but looks like the beginning of one: dialled, transferred to, forwarded to. Nothing gets out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sipmessage import Request

from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import Call, SoftPhone
from tests.hil.office import Office, Row, open_office

FREE: list[Row] = [
    ("class_of_service", {"id": "free", "name": "Free", "may_transfer_outside": True, "may_forward_outside": True}),
    ("extension", {"id": "ext-205", "number": "205", "site": "hq", "class_of_service": "free"}),
]  # fmt: skip
OUTSIDE = "00200000999"
TAILS = {
    "priority": "%2C2", "later-priority": "%2C8", "label": "%2Cout", "context": "%2C1%2Coutside", "quote": "%22",
    "condition": "%22%20%7C%201%20%7C%20%22", "variable": "%24%7BEXTEN%7D", "expression": "%24%5B1%5D",
    "close": ")", "open": "(1%2C2", "semicolon": "%3B2", "ampersand": "&PJSIP%2F1", "pipe": "%7C2", "letters": "abc",
}  # fmt: skip
"""Ends of a user part, as they stand in a URI."""
OUT = {"outside", "route.hq", "no-line"}
"""Contexts that a call comes to only after class and lock were asked."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("hostile"), FREE) as office:
        yield office


@pytest.fixture(autouse=True)
def quiet(office: Office) -> Iterator[None]:
    office.forget()
    yield
    office.quiet()


class Steps:
    """The dialplan's steps while something happens: ``contexts`` when it is over and no call is left."""

    def __init__(self, office: Office) -> None:
        self._office, self.contexts, self._events = office, set[str](), office.events("dialplan")

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *failed: object) -> None:
        with self._events as events:
            if not any(failed):
                self._office.quiet()
                while (event := events.next_event(0.3)) is not None:
                    if event["Event"] == "Newexten":
                        self.contexts.add(event["Context"])


def dial(office: Office, device: str, user: str) -> int:
    """The answer to an INVITE whose request URI has just that user part."""
    with office.peer() as peer:
        request = peer.request("INVITE", device, user)
        request.headers.set("Content-Type", "application/sdp")
        request.body = (
            b"v=0\r\no=- 1 1 IN IP4 192.0.2.99\r\ns=-\r\nc=IN IP4 192.0.2.99\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"
        )
        return peer.ask(request, device, office.password(device)).code


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_dialled_from_a_locked_phone(office: Office, tail: str) -> None:
    office.ami.db_put("lock", "ext-205", "1")
    with Steps(office) as steps:
        assert dial(office, "205-1", OUTSIDE + tail) == 403
    assert "from-device" in steps.contexts
    assert not steps.contexts & OUT


@pytest.mark.parametrize("number", ["0899000000", "+39899000000"])
@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_dialled_past_the_class(office: Office, number: str, tail: str) -> None:
    with Steps(office) as steps:
        assert dial(office, "203-1", number + tail) in (403, 484)
    assert not steps.contexts & {"route.hq", "no-line"}


def test_what_people_write_between_digits_is_no_harm(office: Office) -> None:
    with Steps(office) as steps:
        assert dial(office, "203-1", "002%20(000)/00-9.9") == 503  # the office has no line
    assert "route.hq" in steps.contexts


def connected(one: SoftPhone, other: SoftPhone, number: str) -> tuple[Call, Call]:
    call = one.call(number).ringing()
    incoming = other.incoming().answer()
    return call.established(), incoming


def requests(phone: SoftPhone, call: Call, method: str) -> list[Request]:
    return [m for m in phone.messages(call.id) if isinstance(m, Request) and m.method == method]


def refer_to(phone: SoftPhone, call: Call) -> str:
    return eventually(lambda: requests(phone, call, "REFER"), "REFER is sent")[0].headers["Refer-To"]


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_transferred_by_a_locked_phone(office: Office, tail: str) -> None:
    one, two = office.phone("201-1"), office.phone("205-1")
    office.ami.db_put("lock", "ext-205", "1")
    call, at_two = connected(one, two, "205")
    with Steps(office) as steps:
        at_two.transfer(f"sip:{OUTSIDE}{tail}@{office.address}")
        assert tail in refer_to(two, at_two)
        call.closed()
    assert "transfer-outside" in steps.contexts
    assert not steps.contexts & OUT


@pytest.mark.parametrize("tail", ["%2C2", "%22", ")"], ids=["priority", "quote", "close"])
@pytest.mark.parametrize("number", [OUTSIDE, "204", "112"])
def test_transferred_by_a_class_that_may_not(office: Office, number: str, tail: str) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    call, at_two = connected(one, two, "203")
    with Steps(office) as steps:
        at_two.transfer(f"sip:{number}{tail}@{office.address}")
        told = eventually(
            lambda: [m.body for m in requests(two, at_two, "NOTIFY") if b"SIP/2.0 100 " not in m.body], "the outcome"
        )
        assert b" 404 " in told[0]
        call.closed()  # the engine leaves it; baresip gives a call up whose transfer was refused
    # A step of the call itself may still be told: where its caller is. Nothing looked the target up.
    assert steps.contexts <= {"from-device", "leg-ended"}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_kept_as_a_forward(office: Office, tail: str) -> None:
    office.ami.db_put("lock", "ext-205", "1")
    assert dial(office, "205-1", "*72" + OUTSIDE + tail) == 200
    office.quiet()
    kept = office.ami.db_get("forward", "ext-205") or ""
    assert set(kept) <= set("+*#0123456789")
    with Steps(office) as steps:
        assert dial(office, "201-1", "205") >= 400
    assert not steps.contexts & OUT
