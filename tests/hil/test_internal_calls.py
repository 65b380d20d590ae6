"""Calls from extension to extension, with real phones and real audio."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from sipmessage import Request, Response

from appliance.history.model import Call as Recorded
from appliance.history.model import Outcome
from appliance.history.service import History
from appliance.store.history import open_history
from tests.hil.agents.peer import SipPeer
from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import Call, SoftPhone
from tests.hil.office import Office, open_office, talk


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("internal")) as office:
        yield office


@pytest.fixture(autouse=True)
def quiet(office: Office) -> Iterator[None]:
    office.forget()
    yield
    office.quiet()


def service(phone: SoftPhone, code: str) -> None:
    """Dial a star code and hear it out."""
    call = phone.call(code).established()
    call.closed(20)


def refused(phone: SoftPhone, number: str) -> str:
    return phone.call(number).closed(20)


def of(call: Call, kind: type[Request] | type[Response], first: str) -> list[Request | Response]:
    return [
        m
        for m in call.phone.messages(call.id)
        if isinstance(m, kind) and first == (m.method if isinstance(m, Request) else str(m.code))
    ]


def test_two_phones_talk_and_see_each_other(office: Office) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    call = one.call("203").ringing()
    incoming = two.incoming()
    sender = incoming.invite().from_address
    assert (sender.name, sender.uri.user) == ("Desk 201", "201")
    incoming.answer()
    call.established()
    for code in ("180", "200"):
        shown = of(call, Response, code)[-1].headers["P-Asserted-Identity"]
        assert '"Desk 203" <sip:203@' in shown
    call.hangup()
    incoming.closed()
    talk(one, two, one.call("203"))
    talk(two, one, two.call("201"))


def test_an_internal_call_takes_at_most_twelve_steps(office: Office) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    with office.events("dialplan") as events:
        talk(one, two, one.call("203"))
        office.quiet()
        steps = []
        while (event := events.next_event(1.0)) is not None:
            if event["Event"] == "Newexten":
                steps.append((event["Context"], event["Priority"], event["Application"]))
    assert any(step[2] == "Dial" for step in steps)
    assert sum(step[0] == "leg-ended" for step in steps) == 4
    assert len(steps) <= 12, steps


def test_all_devices_ring_and_the_losers_show_no_missed_call(office: Office) -> None:
    one, desk, second = office.phone("201-1"), office.phone("202-1"), office.phone("202-2")
    call = one.call("202").ringing()
    losing, winning = desk.incoming(), second.incoming()
    winning.answer()
    call.established()
    losing.closed()
    assert "cause=200" in of(losing, Request, "CANCEL")[0].headers["Reason"]
    call.hangup()
    winning.closed()
    talk(one, desk, one.call("202"))


def test_numbers_that_nobody_has_or_nobody_answers_end_clearly(office: Office) -> None:
    one = office.phone("201-1")
    assert refused(one, "249").startswith("404")  # within the plan, nobody's
    assert refused(one, "999").startswith("404")  # outside of it
    assert refused(one, "206").startswith("480")  # nothing registered
    assert refused(one, "201").startswith("486")  # one's own


def test_a_number_that_nobody_knows_is_in_the_history(office: Office) -> None:
    one = office.phone("201-1")
    office.system.start_history()
    database = open_history(f"sqlite:///{office.system.paths.history_db}")
    with contextlib.closing(database):
        for number in ("999", "*99", "5"):
            assert refused(one, number).startswith("404")

            def recorded(number: str = number) -> Recorded | None:
                calls = (stored.call for stored in History(database).calls().calls)
                return next((call for call in calls if call.dialled == number), None)

            call = eventually(recorded, f"the call to {number}", 20)
            assert (call.outcome, call.from_device) == (Outcome.FAILED, "201-1")
            assert [leg.cause for leg in call.legs] == [1]


def test_only_registered_devices_ring(office: Office) -> None:
    """The engine's log is looked at when the office closes: nothing is said of the device that isn't there."""
    from appliance.organisation.model import Secret
    from appliance.pbx.extensions.model import Device

    one, two = office.phone("201-1"), office.phone("203-1")
    for slot in (2, 3):
        id = f"203-{slot}"
        office.system.commit(Secret(id=id), Device(id=id, extension="ext-203", slot=slot, secret=id))
        talk(one, two, one.call("203"))


def test_do_not_disturb(office: Office) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    service(two, "*78")
    assert refused(one, "203").startswith("486")
    service(two, "*79")
    talk(one, two, one.call("203"))


def test_forwarding_follows_and_keeps_the_caller(office: Office) -> None:
    one, two, three = office.phone("201-1"), office.phone("203-1"), office.phone("204-1")
    service(two, "*72204")
    call = one.call("203").ringing()
    incoming = three.incoming()
    assert incoming.invite().from_address.uri.user == "201"
    assert "<sip:203@" in incoming.invite().headers["Diversion"]
    incoming.answer()
    call.established().hangup()
    incoming.closed()
    service(two, "*73")
    talk(one, two, one.call("203"))


def test_forwarding_is_refused_to_where_calls_may_not_go(office: Office) -> None:
    two = office.phone("203-1")
    for target in ("00200000999", "112", "203"):
        service(two, f"*72{target}")
        assert office.ami.db_get("forward", "ext-203") is None


def test_forwarding_in_a_circle_is_ended(office: Office) -> None:
    one = office.phone("201-1")
    office.ami.db_put("forward", "ext-203", "204")
    office.ami.db_put("forward", "ext-204", "203")
    begun = time.monotonic()
    assert refused(one, "203")[:3] in ("486", "503")
    assert time.monotonic() - begun < 5


def test_a_locked_phone_calls_inside_only(office: Office) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    service(one, "*51")
    assert refused(one, "00200000999").startswith("403")
    assert refused(one, "+390200000999").startswith("403")
    talk(one, two, one.call("203"))
    service(one, "*52")
    assert not refused(one, "00200000999").startswith("403")


def test_a_thin_link_carries_so_many_calls_in_its_own_codec(office: Office) -> None:
    everything = ("PCMA", "PCMU", "G722")
    far = office.phone("301-1", codecs=everything)
    near, other = office.phone("205-1", codecs=everything), office.phone("201-1")
    call = near.call("301").ringing()
    incoming = far.incoming().answer()
    call.established()
    assert b"m=audio" in incoming.invite().body
    assert b"PCMU" in incoming.invite().body
    assert b"PCMA" not in incoming.invite().body
    assert refused(other, "301").startswith("503")
    call.hangup()
    incoming.closed()
    eventually(lambda: not office.ami.channels(), "the first call is gone", 10)
    again = far.call("205").ringing()
    near.incoming().answer()
    again.established().hangup()


def test_lamps_follow_the_extension(office: Office) -> None:
    one, two = office.phone("201-1"), office.phone("202-1")
    with SipPeer(office.desk, office.address) as lamp:
        watch = lamp.subscribe("204-1", office.password("204-1"), "202", "dialog")
        assert b"terminated" in watch.next().body
        call = one.call("202").ringing()
        assert b"early" in watch.next().body
        two.incoming().answer()
        eventually(lambda: b"confirmed" in watch.all()[-1].body, "the lamp is on", 10)
        office.ami.reload("pbx_config.so")
        call.hangup()
        eventually(lambda: b"terminated" in watch.all()[-1].body, "the lamp is out", 10)


def test_lamps_follow_devices_that_come_and_go(office: Office) -> None:
    from appliance.organisation.model import Secret
    from appliance.pbx.extensions.model import Device

    one = office.phone("201-1")
    with SipPeer(office.desk, office.address) as lamp:
        watch = lamp.subscribe("204-1", office.password("204-1"), "205", "dialog")
        assert b"terminated" in watch.next().body
        office.system.commit(Secret(id="205-2"), Device(id="205-2", extension="ext-205", slot=2, secret="205-2"))
        two = office.phone("205-2")
        call = one.call("205").ringing()
        assert "early" in watch.until("early").body.decode()
        two.incoming().answer()
        watch.until("confirmed")
        call.hangup()
        watch.until("terminated")


def test_a_name_changes_without_a_reload(office: Office) -> None:
    from appliance.pbx.extensions.model import Extension

    one, two = office.phone("201-1"), office.phone("203-1")
    name = 'Rossi; "Mario" ${EXTEN} [x](+) => \\ ;-- é'
    office.system.commit(Extension(id="ext-201", number="201", label=name, site="hq"))
    call = one.call("203").ringing()
    incoming = two.incoming()
    assert incoming.invite().from_address.name == name
    call.hangup()
    incoming.closed()
