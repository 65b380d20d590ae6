"""Ring groups, with real phones and real audio."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
from sipmessage import Request

from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import Call, SoftPhone
from tests.hil.office import Office, Row, open_office, talk


def group(number: str, strategy: str, members: Sequence[tuple[str, int]], **more: object) -> Row:
    fields = {
        "id": f"group-{number}",
        "name": "Sales; ${EXTEN} & [co]",
        "number": number,
        "site": "hq",
        "strategy": strategy,
        "ring_seconds": 6,
        "members": [{"extension": f"ext-{member}", "delay_seconds": delay} for member, delay in members],
        **more,
    }
    return "ring_group", fields


GROUPS = [
    group("400", "all", [("203", 0), ("204", 0), ("206", 0)]),
    group("401", "sequential", [("203", 0), ("204", 0)]),
    group("402", "round_robin", [("203", 0), ("204", 0), ("205", 0)], no_answer={"type": "extension", "extension": "ext-202"}),
    group("403", "all", [("203", 0), ("204", 3)], ring_seconds=20),
    group("405", "all", [("203", 0), ("301", 0)]),
    group("406", "all", [("203", 0), ("205", 0), ("204", 1)], ring_seconds=20),
    ("extension", {"id": "ext-205", "number": "205", "label": "Desk 205", "site": "hq", "busy_policy": "busy"}),
    group("404", "all", [("206", 0)], no_answer={"type": "hangup", "reason": "busy"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("groups"), GROUPS) as office:
        for device in ("201-1", "202-1", "203-1", "204-1", "205-1"):
            office.phone(device)
        yield office


@pytest.fixture(autouse=True)
def quiet(office: Office) -> Iterator[None]:
    office.forget()
    yield
    office.quiet()


def ringing(phone: SoftPhone) -> bool:
    """Whether the phone has got a call since the last one it was asked for."""
    try:
        phone.incoming(0.3)
    except Exception:  # noqa: BLE001 (nothing came: that is the answer)
        return False
    return True


def test_all_members_ring_and_see_caller_and_group(office: Office) -> None:
    one, three, four = (office.phone(f"{number}-1") for number in (201, 203, 204))
    call = one.call("400").ringing()
    first, second = three.incoming(), four.incoming()
    for incoming in (first, second):
        sender = incoming.invite().from_address
        assert sender.uri.user == "201"
        assert sender.name == "Sales; ${EXTEN} & [co] / Desk 201"
    second.answer()
    call.established()
    first.closed()
    call.hangup()
    second.closed()
    again = one.call("400").ringing()
    four.incoming().reject()
    three.incoming().answer()
    again.established().hangup()


def test_members_who_don_t_want_calls_are_left_out(office: Office) -> None:
    one, three, four = (office.phone(f"{number}-1") for number in (201, 203, 204))
    office.ami.db_put("dnd", "ext-203", "1")
    office.ami.db_put("forward", "ext-204", "205")
    call = one.call("400").ringing()
    four.incoming().answer()  # a forward isn't followed
    call.established()
    assert not ringing(three)
    call.hangup()


def test_one_after_the_other(office: Office) -> None:
    one, three, four = (office.phone(f"{number}-1") for number in (201, 203, 204))
    call = one.call("401").ringing()
    first = three.incoming()
    assert not ringing(four)
    first.closed(10)
    talk_to = four.incoming()
    talk_to.answer()
    call.established().hangup()
    talk_to.closed()
    again = one.call("401").ringing()
    three.incoming().reject()
    four.incoming(3).answer()  # at once
    again.established().hangup()


def test_round_robin_begins_with_the_next_and_ends_at_the_destination(office: Office) -> None:
    one = office.phone("201-1")
    for number in (203, 204, 205, 203):
        phone = office.phone(f"{number}-1")
        call = one.call("402").ringing()
        incoming = phone.incoming(3)
        incoming.answer()
        call.established().hangup()
        incoming.closed()
    for number in (203, 204, 205):
        office.ami.db_put("dnd", f"ext-{number}", "1")
    talk(one, office.phone("202-1"), one.call("402"))


def test_a_delayed_member_rings_later_and_talks_as_well(office: Office) -> None:
    one, three, four = (office.phone(f"{number}-1") for number in (201, 203, 204))
    begun = time.monotonic()
    call = one.call("403").ringing()
    first = three.incoming()
    late = four.incoming(10)
    assert time.monotonic() - begun > 2.5
    sender = late.invite().from_address
    assert (sender.uri.user, sender.name) == ("201", "Sales; ${EXTEN} & [co] / Desk 201")
    late.answer()
    call.established()
    first.closed()
    heard = one.hears(four.tone_hz).listen(four.tone_hz), four.hears(one.tone_hz).listen(one.tone_hz)
    assert all(report.good() for report in heard), heard
    assert all("Local/" not in channel["Channel"] for channel in office.ami.channels())
    call.hangup()


def test_who_lost_a_group_s_call_is_told_that_it_was_answered_elsewhere(office: Office) -> None:
    """Also a member whose ringing began later: no phone shows a missed call (RFC 3326)."""
    one, three, four = (office.phone(f"{number}-1") for number in (201, 203, 204))
    call = one.call("403").ringing()
    early, late = three.incoming(), four.incoming(10)
    late.answer()
    early.closed()
    assert "cause=200" in cancelled(three, early)
    call.hangup()
    late.closed()
    call = one.call("403").ringing()
    early, late = three.incoming(), four.incoming(10)
    early.answer()
    late.closed()
    assert "cause=200" in cancelled(four, late)
    call.hangup()
    early.closed()


def cancelled(phone: SoftPhone, call: Call) -> str:
    """The reason that a phone was given for the end of its ringing."""
    return next(
        m.headers.get("Reason") or ""
        for m in phone.messages(call.id)
        if isinstance(m, Request) and m.method == "CANCEL"
    )


def test_an_extension_that_takes_one_call_at_a_time(office: Office) -> None:
    """Busy policy ``busy``: for its own calls, and as a member of a group."""
    one, two, three, five = (office.phone(f"{number}-1") for number in (201, 202, 203, 205))
    mine = five.call("202").ringing()
    two.incoming().answer()
    mine.established()
    assert one.call("205").closed(20).startswith("486")
    call = one.call("406").ringing()
    incoming = three.incoming().answer()
    call.established()
    assert not ringing(five)
    call.hangup()
    incoming.closed()
    mine.hangup()
    office.quiet()
    talk(one, five, one.call("205"))
    call = one.call("406").ringing()
    other = three.incoming()
    five.incoming().answer()
    call.established()
    other.closed()
    call.hangup()


def test_a_group_that_nobody_can_answer_goes_to_its_destination(office: Office) -> None:
    assert office.phone("201-1").call("404").closed(10).startswith("486")


def test_the_caller_s_own_phone_doesn_t_ring(office: Office) -> None:
    three, four = office.phone("203-1"), office.phone("204-1")
    call = three.call("400").ringing()
    incoming = four.incoming()
    assert not ringing(three)
    call.hangup()
    incoming.closed()
    eventually(lambda: not office.ami.channels(), "all is quiet", 5)


def test_members_behind_a_thin_link_ring_in_its_codec_while_there_is_room(office: Office) -> None:
    one, two, three = (office.phone(f"{number}-1") for number in (201, 202, 203))
    far = office.phone("301-1", codecs=("PCMA", "PCMU", "G722"))
    call = one.call("405").ringing()
    near, incoming = three.incoming(), far.incoming()
    assert b"PCMU" in incoming.invite().body
    assert b"PCMA" not in incoming.invite().body
    assert b"PCMA" in near.invite().body
    incoming.answer()
    call.established()
    near.closed()
    again = two.call("405").ringing()  # the link carries one call
    three.incoming().answer()
    again.established()
    assert not ringing(far)
    again.hangup()
    call.hangup()
    incoming.closed()
    talk(one, far, one.call("405"))
