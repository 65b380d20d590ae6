"""Star codes: what is heard, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.office import Office, open_office


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    english = ("extension", {"id": "ext-203", "number": "203", "site": "hq", "language": "en"})
    with open_office(tmp_path_factory.mktemp("services"), [english]) as office:
        yield office


@pytest.fixture(autouse=True)
def quiet(office: Office) -> Iterator[None]:
    office.forget()
    yield
    office.quiet()


def heard_out(office: Office, phone: SoftPhone, code: str) -> list[str]:
    """Dial a code to its end; the prompts that were played, with their language."""
    with office.events("dialplan,call") as events:
        phone.call(code).established().closed(25)
        office.quiet()
        played = []
        while (event := events.next_event(0.5)) is not None:
            if event["Event"] == "Newexten" and event["Application"] in ("Playback", "SayDigits", "SayUnixTime"):
                played.append(f"{event['Language']} {event['Application']} {event['AppData']}")
    return played


def test_the_echo_test_sends_back_what_it_hears(office: Office) -> None:
    phone = office.phone("201-1")
    call = phone.call("*43").established()
    assert phone.hears(phone.tone_hz).listen(phone.tone_hz).good()
    call.hangup()


def test_music_is_played(office: Office) -> None:
    phone = office.phone("201-1")
    call = phone.call("*55").established()
    mark = phone.mark()
    eventually(lambda: phone.since(mark, 440).dominant_hz > 0, "music is heard", 10)
    call.hangup()


def test_the_number_and_the_time_are_told_in_the_extension_s_language(office: Office) -> None:
    italian, english = office.phone("201-1"), office.phone("203-1")
    assert heard_out(office, italian, "*65") == ["it Playback extension", "it SayDigits 201"]
    assert heard_out(office, english, "*65") == ["en Playback extension", "en SayDigits 203"]
    assert heard_out(office, italian, "*60") == ["it SayUnixTime ,Europe/Rome,AdBkM"]


@pytest.mark.parametrize(
    ("family", "on", "value", "off"),
    [("dnd", "*78", "1", "*79"), ("lock", "*51", "1", "*52"), ("forward", "*72205", "205", "*73")],
)
def test_what_a_phone_sets_is_kept(office: Office, family: str, on: str, value: str, off: str) -> None:
    phone = office.phone("201-1")
    phone.call(on).established().closed(20)
    assert office.ami.db_get(family, "ext-201") == value
    phone.call(off).established().closed(20)
    assert office.ami.db_get(family, "ext-201") is None


def test_a_forward_can_be_keyed_in_after_the_prompt(office: Office) -> None:
    phone = office.phone("201-1")
    call = phone.call("*72").established()
    for digit in "205#":
        call.dtmf(digit)
    call.closed(30)
    assert office.ami.db_get("forward", "ext-201") == "205"
