"""Calls that are sent on by a phone: transfers, redirection, hold; and whose rights they have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from sipmessage import Request, Response

from tests.hil.agents.peer import SipPeer
from tests.hil.agents.process import AgentError, eventually
from tests.hil.agents.sip import answer
from tests.hil.agents.softphone import Call, SoftPhone
from tests.hil.office import Office, Row, open_office

FREE: list[Row] = [
    ("class_of_service", {"id": "free", "name": "Free", "may_transfer_outside": True, "may_forward_outside": True}),
    ("extension", {"id": "ext-205", "number": "205", "site": "hq", "class_of_service": "free"}),
    ("ring_group", {"id": "g", "name": "G", "number": "400", "site": "hq", "strategy": "all", "ring_seconds": 6,
                    "members": [{"extension": "ext-205", "delay_seconds": 0}], "no_answer": {"type": "extension", "extension": "ext-206"}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("transfers"), FREE) as office:
        yield office


@pytest.fixture(autouse=True)
def quiet(office: Office) -> Iterator[None]:
    office.forget()
    yield
    office.quiet()


def connected(one: SoftPhone, other: SoftPhone, number: str) -> tuple[Call, Call]:
    call = one.call(number).ringing()
    incoming = other.incoming().answer()
    return call.established(), incoming


def hear_each_other(one: SoftPhone, other: SoftPhone) -> None:
    heard = one.hears(other.tone_hz).listen(other.tone_hz), other.hears(one.tone_hz).listen(one.tone_hz)
    assert all(report.good() for report in heard), heard


def test_blind_transfer(office: Office) -> None:
    one, two, three = office.phone("201-1"), office.phone("203-1"), office.phone("204-1")
    _, at_two = connected(one, two, "203")
    at_two.transfer("204")
    at_three = three.incoming()
    assert at_three.invite().from_address.uri.user == "201"
    at_three.answer()
    at_two.closed()
    hear_each_other(one, three)
    at_three.hangup()


def test_attended_transfer(office: Office) -> None:
    one, two, three = office.phone("201-1"), office.phone("203-1"), office.phone("204-1")
    call, at_two = connected(one, two, "203")
    at_two.hold()
    consultation, at_three = connected(two, three, "204")
    at_two.transfer_to(consultation)
    at_two.closed()
    hear_each_other(one, three)
    at_three.hangup()
    call.closed()


def test_music_during_hold_and_the_call_after_it(office: Office) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    call, at_two = connected(one, two, "203")
    hear_each_other(one, two)
    at_two.hold()
    one.hears_no_more(two.tone_hz)
    mark = one.mark()
    eventually(lambda: one.since(mark, 440).dominant_hz > 0, "music is heard", 10)
    at_two.resume()
    hear_each_other(one, two)
    call.hangup()


@pytest.mark.parametrize("target", ["00200000999", "+390200000999", "112", "*43", "999"])
def test_a_transfer_beyond_the_class_is_refused_and_the_call_stays(office: Office, target: str) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    call, at_two = connected(one, two, "203")
    at_two.transfer(target)
    eventually(lambda: outcome(at_two), "the transfer is refused", 10)
    assert outcome(at_two) == ["404"]
    # The engine leaves both where they are. baresip then ends its call by itself, and doesn't say so.
    closing = [m for m in two.messages(at_two.id) if isinstance(m, Request) and m.method == "BYE"]
    assert all(m.from_address.uri.user != "201" for m in closing)
    with contextlib.suppress(AgentError):
        call.hangup()


def test_a_class_that_may_is_asked_for_its_own_rights(office: Office) -> None:
    """205 may transfer outside; what it may call there is its class's, whoever is transferred."""
    one, two = office.phone("201-1"), office.phone("205-1")
    call, at_two = connected(one, two, "205")
    with office.events("dialplan") as events:
        at_two.transfer("0899000000")  # premium rate: denied to everybody by default
        eventually(lambda: outcome(at_two), "the transfer is over", 10)
        assert outcome(at_two)[0] >= "400"
        call.closed()
        office.quiet()
        checked = []
        while (event := events.next_event(0.5)) is not None:
            if event["Event"] == "Newexten" and event["AppData"].startswith("class."):
                checked.append(event["AppData"].partition(",")[0])
    assert checked == ["class.free"]


def outcome(call: Call) -> list[str]:
    """What a transferor was told at last: status lines in the NOTIFYs of its REFER (RFC 3515)."""
    found = [m for m in call.phone.messages(call.id) if isinstance(m, Request) and m.method == "NOTIFY"]
    return [m.body.decode().split()[1] for m in found if m.body.startswith(b"SIP/2.0") and b" 100 " not in m.body]


class Redirecting(SipPeer):
    """A registered phone that answers every INVITE with 302 to a user."""

    target = ""

    def __enter__(self) -> Redirecting:
        super().__enter__()
        self._handlers["INVITE"] = self._redirect
        return self

    def _redirect(self, request: Request) -> Response:
        return answer(request, 302, "Moved Temporarily", f"<sip:{self.target}@192.0.2.99>", tag="peer")


@contextlib.contextmanager
def redirecting(office: Office, device: str, target: str) -> Iterator[Redirecting]:
    """The phone of a device that sends all its calls to ``target``; it isn't registered any more afterwards."""
    with Redirecting(office.desk, office.address) as peer:
        peer.target = target
        password = office.password(device)
        assert peer.ask(peer.request("REGISTER", device, Expires="300"), device, password).code == 200
        yield peer
        assert peer.ask(peer.request("REGISTER", device, Expires="0"), device, password).code == 200


def contexts_of(office: Office, number: str) -> tuple[str, set[str]]:
    """How a call of 201 to ``number`` ended that nobody answers, and the contexts of the dialplan that it went through."""
    one = office.phone("201-1")
    with office.events("dialplan") as events:
        outcome = one.call(number).closed(20)
        office.quiet()
        seen = set()
        while (event := events.next_event(0.3)) is not None:
            if event["Event"] == "Newexten":
                seen.add(event["Context"])
    return outcome, seen


def test_a_redirection_is_followed(office: Office) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    with redirecting(office, "206-1", "203"):
        call = one.call("206").ringing()
        incoming = two.incoming()
        assert incoming.invite().from_address.uri.user == "201"
        assert "<sip:206@" in incoming.invite().headers["Diversion"]
        incoming.answer()
        call.established()
        hear_each_other(one, two)
        call.hangup()
        incoming.closed()
    assert "0 results" in office.ami.command("database show redirect")


def test_a_redirection_waits_for_the_other_devices(office: Office) -> None:
    one, two, other = office.phone("201-1"), office.phone("203-1"), office.phone("202-2")
    with redirecting(office, "202-1", "203"):
        call = one.call("202").ringing()
        other.incoming().reject()
        two.incoming().answer()
        call.established().hangup()


def test_the_class_of_who_redirects_says_how_far(office: Office) -> None:
    with redirecting(office, "206-1", "0899000000"):  # outside: 206 may not send calls there
        ended, seen = contexts_of(office, "206")
        assert ended.startswith("486")
        assert "outside" not in seen
    with redirecting(office, "205-1", "0899000000"):  # 205 may, but not to premium rate
        ended, seen = contexts_of(office, "205")
        assert ended.startswith("403")
        assert {"forwarded-outside", "outside", "class.free"} <= seen


@pytest.mark.parametrize(
    "target",
    [
        "Local%2F203%40internal", "PJSIP%2F00200000999%40trunk-a", "Local%2F112%40emergency", "112", "*43", "203%22%20",
        "%24%7BEXTEN%7D", "203&201", "s", "203%2C1",
    ],
)  # fmt: skip
def test_no_redirection_gets_past_the_checks(office: Office, target: str) -> None:
    """The engine itself would dial what a phone's 302 says, channel technology and context included."""
    with redirecting(office, "205-1", target):
        ended, seen = contexts_of(office, "205")
    assert ended.startswith("486")
    assert seen <= {"from-device", "leg-ended", "redirected", "unanswered", "internal-from-device"}


def test_redirections_in_a_circle_are_ended(office: Office) -> None:
    with redirecting(office, "205-1", "206"), redirecting(office, "206-1", "205"):
        ended, _ = contexts_of(office, "205")
    assert ended.startswith("503")


def test_a_redirection_out_of_a_group_is_ignored(office: Office) -> None:
    """Also later on, when the group's destination isn't there either."""
    with redirecting(office, "205-1", "203"):
        ended, seen = contexts_of(office, "400")
    assert ended.startswith("480")
    assert "redirected" in seen
    assert not any(name.startswith("forwarded") for name in seen)
    assert "0 results" in office.ami.command("database show redirect")
