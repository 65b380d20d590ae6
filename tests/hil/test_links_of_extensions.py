"""Thin links: both legs speak their codecs, and calls that are sent on count where the talking parties are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sipmessage import Response

from tests.hil.agents.process import AgentError
from tests.hil.agents.softphone import Call, SoftPhone
from tests.hil.agents.tap import Tap
from tests.hil.office import Office, Row, open_office

BRANCH: list[Row] = [
    row
    for number in ("302", "303")
    for row in (
        ("extension", {"id": f"ext-{number}", "number": number, "label": number, "site": "branch"}),
        ("device", {"id": f"{number}-1", "extension": f"ext-{number}", "secret": f"{number}-1"}),
        ("secret", {"id": f"{number}-1"}),
    )
]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("links"), BRANCH) as office:
        yield office


@pytest.fixture(autouse=True)
def quiet(office: Office) -> Iterator[None]:
    office.forget()
    yield
    office.quiet()


def phone(office: Office, device: str) -> SoftPhone:
    return office.phone(device, codecs=("PCMA", "PCMU"))


def connected(one: SoftPhone, other: SoftPhone, number: str) -> tuple[Call, Call]:
    call = one.call(number).ringing()
    incoming = other.incoming().answer()
    return call.established(), incoming


def is_free(office: Office) -> bool:
    """Whether one more call passes the link."""
    probe = phone(office, "206-1").call("303")
    try:
        probe.ringing()
    except AgentError as error:
        if "503" in str(error):
            return False
        raise
    probe.hangup()
    return True


def test_a_call_that_comes_home_leaves_the_link(office: Office) -> None:
    phone(office, "303-1")
    far, near, home = phone(office, "301-1"), phone(office, "201-1"), phone(office, "302-1")
    _, at_near = connected(far, near, "201")
    assert b"PCMA" not in at_near.invite().body
    assert not is_free(office)
    at_near.transfer("302")
    at_home = home.incoming()
    assert b"PCMA" in at_home.invite().body, "narrowed, although both are at the branch"
    at_home.answer()
    at_near.closed()
    assert is_free(office)
    at_home.hangup()


def test_who_was_called_and_is_sent_back_over_the_link_counts(office: Office) -> None:
    phone(office, "303-1")
    near, far, third = phone(office, "201-1"), phone(office, "301-1"), phone(office, "203-1")
    call, _ = connected(near, far, "301")
    call.transfer("203")
    at_third = third.incoming()
    assert b"PCMA" not in at_third.invite().body
    at_third.answer()
    call.closed()
    assert not is_free(office)
    at_third.hangup()


def test_a_forward_back_to_the_branch_takes_nothing_of_the_link(office: Office) -> None:
    phone(office, "303-1")
    far, home = phone(office, "301-1"), phone(office, "302-1")
    office.ami.command("database put forward ext-204 302")
    call = far.call("204").ringing()
    at_home = home.incoming()
    assert b"PCMA" in at_home.invite().body
    at_home.answer()
    call.established()
    assert is_free(office)
    at_home.hangup()


def test_the_caller_behind_the_thin_line_speaks_its_codec_too(office: Office) -> None:
    far, near = phone(office, "301-1"), phone(office, "201-1")  # both like A-law better
    call, at_near = connected(far, near, "201")
    answers = [m for m in far.messages(call.id) if isinstance(m, Response) and m.code == 200 and m.body]
    assert re.search(rb"^m=audio \d+ \S+ 0 ", answers[0].body, re.M), answers[0].body
    with Tap(office.desk, office.work / "codec.pcap") as tap:
        assert near.hears(far.tone_hz).listen(far.tone_hz).good()
        codecs = {codec for stream in tap.streams(to=office.address) for codec in stream.payload_types}
    assert codecs == {0}
    at_near.hangup()
