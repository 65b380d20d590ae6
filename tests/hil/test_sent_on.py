"""Calls that a phone sends on, across the border of the house: who may, where they go, and what each side gets to see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sipmessage import Request, Response

from appliance.engine.ami import AmiError
from tests.hil.agents.process import AgentError, eventually
from tests.hil.agents.sip import Dialog
from tests.hil.agents.softphone import Call, SoftPhone
from tests.hil.company import ECHO, MAIN, PBX_OUTSIDE, Company, open_company, rows
from tests.hil.outside_world import Line

CALLER, DIALLED, NUMBER = "+390200000777", "00200000999", "+390200000999"
SECOND, TIME = "+390200000202", "+390200000203"


def extension(number: int, **more: Any) -> tuple[str, dict[str, Any]]:
    return "extension", {"id": f"ext-{number}", "number": str(number), "label": f"Desk {number}", "site": "hq", **more}


MORE: list[tuple[str, dict[str, Any]]] = [
    ("class_of_service", {"id": "free", "name": "Free", "may_transfer_outside": True, "may_forward_outside": True}),
    ("class_of_service", {"id": "outside", "name": "Outside alone", "allow": ["fixed"], "may_transfer_outside": True}),
    ("class_of_service", {"id": "nothing", "name": "Nothing", "allow": []}),
    ("number_plan", {"id": "plan", "name": "Plan", "ranges": [{"first": "201", "last": "250"}, {"first": "400", "last": "449"}],
                     "site_prefixes": [{"site": "hq", "prefix": "88"}]}),
    extension(202, class_of_service="free"),
    extension(204, class_of_service="outside"),
    extension(205, class_of_service="nothing"),
    ("device", {"id": "206-1", "extension": "ext-206", "secret": "206-1", "class_of_service": "free", "caller_number": ECHO, "language": "en"}),
    ("did", {"id": "second", "number": SECOND, "company": "demo", "destination": {"type": "extension", "extension": "ext-202"}}),
    ("did", {"id": "time", "number": TIME, "company": "demo", "destination": {"type": "service", "service": "date_time"}}),
    ("ring_group", {"id": "one", "name": "Desk", "number": "401", "site": "hq", "members": [{"extension": "ext-202"}]}),
    ("service_code", {"id": "pickup", "code": "*8", "service": "which_number"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    made = rows(7, more=MORE)
    with open_company(tmp_path_factory.mktemp("sent-on"), made, complaints=["but target does not exist"]) as company:
        yield company


@pytest.fixture(autouse=True)
def quiet(company: Company) -> Iterator[None]:
    for line in (company.line, company.account):
        line.does((0, "180 Ringing"), (0.1, "200 OK"))
        line.received.clear()
        line.dialogs.clear()
    with company.system.ami() as ami:
        for family in ("dnd", "forward", "lock"):
            ami.command(f"database deltree {family}")
    yield
    try:
        company.quiet()
    except AgentError:  # one test's failure is not the next one's
        with company.system.ami() as ami:
            for channel in ami.channels():
                with contextlib.suppress(AmiError):
                    ami.hangup(channel["Channel"])
        raise


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def from_outside(
    pool: ThreadPoolExecutor, line: Line, called: str, caller: str = CALLER, **headers: str
) -> Future[Dialog]:
    """A call from the provider, on its way."""
    return pool.submit(lambda: line.call(called, caller, PBX_OUTSIDE, **headers))


def connected(one: SoftPhone, other: SoftPhone, number: str) -> tuple[Call, Call]:
    call = one.call(number).ringing()
    incoming = other.incoming().answer()
    return call.established(), incoming


def notified(call: Call) -> list[str]:
    """What a transferor was told at last."""
    found = [m for m in call.phone.messages(call.id) if isinstance(m, Request) and m.method == "NOTIFY"]
    return [m.body.decode().split()[1] for m in found if m.body.startswith(b"SIP/2.0") and b" 100 " not in m.body]


def test_a_numbers_site_prefix_works_wherever_the_number_does(company: Company) -> None:
    one, two, three = (company.phone(f"{number}-1") for number in (201, 202, 203))
    call, at_three = connected(one, three, "88203")
    at_three.transfer("88202")
    at_two = two.incoming().answer()
    at_three.closed()
    at_two.hangup()
    call.closed()
    three.call("*7288202").established().closed(20)
    with company.system.ami() as ami:
        assert ami.db_get("forward", "ext-203") == "88202"
    call = one.call("203").ringing()
    two.incoming().answer()
    call.established().hangup()


def test_a_redirection_to_a_number_behind_its_sites_prefix(company: Company) -> None:
    """302, as a phone's own forwarding sends it."""
    one, two = company.phone("201-1"), company.phone("202-1")
    elsewhere = company.sipp(company.net.host("elsewhere"), "elsewhere").register(company.users(["207-1"]))
    with elsewhere.redirecting("88202"):
        call = one.call("207").ringing()
        incoming = two.incoming().answer()
        assert incoming.invite().from_address.uri.user == "201"
        call.established().hangup()
        incoming.closed()


def test_a_devices_language_is_what_it_hears(company: Company) -> None:
    """Device before extension before site: the number is read out in it (and the engine has prompts for both)."""
    spoken = {}
    with company.system.ami() as ami:
        for number in ("201", "206"):
            call = company.phone(f"{number}-1").call("*65").established()
            channel = next(c["Channel"] for c in ami.channels() if c["Channel"].startswith(f"PJSIP/{number}-1@"))
            spoken[number] = ami.getvar("CHANNEL(language)", channel)
            call.hangup()
    assert spoken == {"201": "it", "206": "en"}


def test_a_class_without_internal_calls_nobody_inside(company: Company) -> None:
    four, five = company.phone("204-1"), company.phone("205-1")
    for number in ("203", "88203", "400"):
        assert four.call(number).closed().startswith("403")
        assert five.call(number).closed().startswith("403")
    assert five.call(DIALLED).closed().startswith("403")
    four.call("*65").established().closed(20)
    five.call("112").established().hangup()
    assert company.line.first.uri.user == "112"
    four.call(DIALLED).established().hangup()


def test_a_class_without_internal_sends_nobody_inside(company: Company) -> None:
    one = company.phone("201-1")
    for device, number in (("204-1", "203"), ("205-1", "203"), ("205-1", DIALLED)):
        phone = company.phone(device)
        call, incoming = connected(one, phone, device[:3])
        incoming.transfer(number)
        assert eventually(lambda incoming=incoming: notified(incoming), "an outcome", 10) == ["404"]  # type: ignore[misc]
        with contextlib.suppress(AgentError):  # baresip may have ended its call by itself
            call.hangup()
        company.quiet()
    call, incoming = connected(one, company.phone("204-1"), "204")
    incoming.transfer(DIALLED)
    call_out = company.line.first
    assert call_out.uri.user == NUMBER
    incoming.closed()
    call.hangup()


def test_a_transfer_to_the_outside_tells_nothing_from_inside(company: Company) -> None:
    one, two, six = (company.phone(f"{number}-1") for number in (201, 202, 206))
    # An answered forward before it: who forwarded has no part in the transfer.
    with company.system.ami() as ami:
        ami.db_put("forward", "ext-203", "206")
    call, at_six = connected(one, six, "203")
    with company.system.ami() as ami:
        ami.command("database deltree forward")
    at_six.transfer(DIALLED)
    invite = company.line.first
    at_six.closed()
    call.hangup()
    assert invite.uri.user == NUMBER
    assert (invite.from_address.uri.user, invite.from_address.name or "") == (ECHO, "")  # the transferor's number
    for header in ("Referred-By", "Diversion"):
        assert invite.headers.get(header) is None
    assert "Desk" not in str(invite)
    # The caller may transfer as well: the one he called goes outside, with his rights.
    call, at_one = connected(two, one, "201")
    call.transfer(DIALLED)
    eventually(lambda: len(company.line.invites) == 2, "the second call")
    call.closed()
    at_one.hangup()


def test_a_forward_to_the_outside_leaves_with_its_number_and_who_diverted(company: Company) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    two.call(f"*72{DIALLED}").established().closed(20)
    call = one.call("202").established()
    invite = company.line.first
    assert (invite.uri.user, invite.from_address.uri.user) == (NUMBER, MAIN)
    assert f"sip:{MAIN}@" in invite.headers["Diversion"]
    call.hangup()


def test_a_devices_own_number_and_class_count_on_the_wire(company: Company) -> None:
    company.phone("206-1").call(DIALLED).established().hangup()
    assert company.line.first.from_address.uri.user == ECHO


def test_two_outside_parties_are_not_left_together_without_the_right(
    company: Company, pool: ThreadPoolExecutor
) -> None:
    one, line = company.phone("201-1"), company.line
    calling = from_outside(pool, line, MAIN)
    at_one = one.incoming().answer()
    calling.result()
    at_one.hold()
    consultation = one.call(DIALLED).established()
    at_one.transfer_to(consultation)
    eventually(lambda: line.methods().count("BYE") == 2, "both are hung up", 10)


def test_two_outside_parties_are_joined_by_who_may(company: Company, pool: ThreadPoolExecutor) -> None:
    two, line = company.phone("202-1"), company.line
    calling = from_outside(pool, line, SECOND)
    at_two = two.incoming().answer()
    dialog = calling.result()
    at_two.hold()
    consultation = two.call(DIALLED).established()
    at_two.transfer_to(consultation)
    at_two.closed()
    consultation.closed()
    with company.system.ami() as ami:
        assert len([c for c in ami.channels() if c["Channel"].startswith("PJSIP/trunk-")]) == 2
    line.remote, line.remote_port = PBX_OUTSIDE, 5060
    line.hangup(dialog)  # AgentError if the call isn't up any more


def test_an_outside_party_is_handed_to_a_colleague_by_anybody(company: Company, pool: ThreadPoolExecutor) -> None:
    one, three, line = company.phone("201-1"), company.phone("203-1"), company.line
    calling = from_outside(pool, line, MAIN)
    at_one = one.incoming().answer()
    calling.result()
    at_one.hold()
    consultation, at_three = connected(one, three, "203")
    at_one.transfer_to(consultation)
    at_one.closed()

    def no_watcher() -> bool:
        with company.system.ami() as ami:
            return not any("trunk-watch-joined" in channel["Channel"] for channel in ami.channels())

    eventually(no_watcher, "whoever looked is content", 10)
    assert at_three.up
    at_three.hangup()
    eventually(lambda: "BYE" in line.methods(), "BYE at the line")


def test_a_call_that_still_rings_is_handed_on(company: Company) -> None:
    """The phone gives up its consultation and sends the other party there (semi-attended)."""
    one, two, three = (company.phone(f"{number}-1") for number in (201, 202, 203))
    call, at_two = connected(one, two, "202")
    at_two.hold()
    consultation = two.call("203").ringing()
    first = three.incoming()
    consultation.hangup()
    first.closed()
    at_two.transfer("203")
    at_three = three.incoming().answer()
    assert at_three.invite().from_address.uri.user == "201"
    at_two.closed()
    one.hears(three.tone_hz)
    three.hears(one.tone_hz)
    call.hangup()


def test_an_outside_party_is_transferred_and_heard(company: Company, pool: ThreadPoolExecutor) -> None:
    one, three, line = company.phone("201-1"), company.phone("203-1"), company.line
    calling = from_outside(pool, line, MAIN)
    at_one = one.incoming().answer()
    calling.result()
    at_one.transfer("203")
    at_three = three.incoming()
    assert at_three.invite().from_address.uri.user == "00200000777"
    at_three.answer()
    at_one.closed()
    three.hears(three.tone_hz)  # the provider sends back what it hears
    at_three.hangup()
    eventually(lambda: "BYE" in line.methods(), "BYE at the line")


def test_a_provider_isnt_told_whom_its_caller_reached(company: Company, pool: ThreadPoolExecutor) -> None:
    one, two, line = company.phone("201-1"), company.phone("202-1"), company.line
    calling = from_outside(pool, line, MAIN)
    at_one = one.incoming().answer()
    dialog = calling.result()
    at_one.transfer("401")
    at_two = two.incoming().answer()
    responses = [m for m in line.received if isinstance(m, Response) and m.call_id == dialog.call_id]
    assert {180, 200} <= {response.code for response in responses}
    for message in (m for m in line.received if m.call_id == dialog.call_id):
        assert message.headers.get("P-Asserted-Identity") is None
        assert "Desk" not in str(message)
    at_two.hangup()


def test_a_withheld_caller_is_transferred_to_a_group(company: Company, pool: ThreadPoolExecutor) -> None:
    """What the engine would say of an empty number is looked at when the company closes."""
    one, two = company.phone("201-1"), company.phone("202-1")
    calling = from_outside(pool, company.line, MAIN, "anonymous", Privacy="id")
    at_one = one.incoming().answer()
    calling.result()
    at_one.transfer("401")
    at_two = two.incoming()
    assert str(at_two.invite().from_address.uri) == "sip:anonymous@anonymous.invalid"
    at_two.answer().hangup()


def test_behind_a_group_the_caller_has_its_own_name_again(company: Company) -> None:
    two, three, six = (company.phone(f"{number}-1") for number in (202, 203, 206))
    call = six.call("401").ringing()
    at_two = two.incoming()
    assert at_two.invite().from_address.name == "Desk / Desk 206"
    at_two.answer()
    call.established()
    at_two.transfer("203")
    at_three = three.incoming()
    assert at_three.invite().from_address.name == "Desk 206"
    at_three.answer().hangup()


def test_the_time_is_told_to_a_caller_at_no_site(company: Company, pool: ThreadPoolExecutor) -> None:
    from_outside(pool, company.line, TIME).result()
    eventually(lambda: "BYE" in company.line.methods(), "it is told", 25)


def test_no_code_is_the_engines_own(company: Company) -> None:
    company.phone("201-1").call("*8").established().closed(20)


def test_a_providers_redirection_leaves_nothing_behind(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    contact = property(lambda self: f"<sip:0299999@{self.address}:5060>")
    with monkeypatch.context() as patched:
        patched.setattr(Line, "contact", contact)
        for line in (company.line, company.account):
            line.does((0, "302 Moved Temporarily"))
        assert company.phone("201-1").call(DIALLED).closed().startswith("503")
    with company.system.ami() as ami:
        assert "0 results" in ami.command("database show redirect")


def test_a_phone_hands_on_a_call_to_one_that_still_rings(company: Company) -> None:
    """REFER with Replaces to a call that isn't answered yet: whoever answers talks to the one who was handed on."""
    one, two, three = (company.phone(f"{number}-1") for number in (201, 202, 203))
    call, at_two = connected(one, two, "202")
    at_two.hold()
    consultation = two.call("203").ringing()
    at_three = three.incoming()
    at_two.transfer_to(consultation)
    at_two.closed()
    at_three.answer()
    one.hears(three.tone_hz)
    three.hears(one.tone_hz)
    call.hangup()
    at_three.closed()
