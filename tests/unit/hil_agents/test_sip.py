"""SIP that the agents write themselves, against the examples of the standards."""

from __future__ import annotations

import pytest
from sipmessage import Message, Request

from tests.hil.agents.peer import split_stream
from tests.hil.agents.sip import Dialog, answer, authorize, credentials_match, digest, new_request, wire
from tests.hil.agents.torture import section, torture_message, torture_names


def test_digest_matches_the_example_of_rfc_2617() -> None:
    assert digest(
        "Mufasa", "testrealm@host.com", "Circle Of Life", "GET", "/dir/index.html",
        "dcd98b7102dd2f0e8b11d0f600bfb0c093", "00000001", "0a4f113b",
    ) == "6629fae49393a05397450978507c4ef1"  # fmt: skip


def request() -> Request:
    return new_request("INVITE", "sip:102@192.0.2.1", "<sip:101@192.0.2.1>", "<sip:102@192.0.2.1>", "<sip:c@192.0.2.2:5070>",
                       transport="UDP", via="192.0.2.2:5070")  # fmt: skip


def test_credentials_are_accepted_with_the_right_password_only() -> None:
    challenge = answer(request(), 401, "Unauthorized", tag="x")
    challenge.headers.set("WWW-Authenticate", 'Digest realm="r", nonce="n", opaque="o", algorithm=MD5, qop="auth"')
    first = request()
    again = Message.parse(wire(authorize(first, challenge, "101", "secret")))
    assert isinstance(again, Request)
    assert credentials_match(again, "secret")
    assert not credentials_match(again, "other")
    assert not credentials_match(first, "secret")
    assert again.cseq.sequence == 2
    assert again.call_id == first.call_id
    assert again.via[0].parameters["branch"] != first.via[0].parameters["branch"]


def test_a_dialog_speaks_to_the_remote_target() -> None:
    invite = request()
    ok = answer(invite, 200, "OK", "<sip:far@192.0.2.9:5090>", tag="far")
    for side, mine in ((Dialog.from_response(ok, "<sip:c@x.invalid>", transport="UDP"), "101"),
                       (Dialog.from_request(invite, ok, "<sip:c@x.invalid>", transport="UDP"), "102")):  # fmt: skip
        bye = Message.parse(wire(side.request("BYE")))
        assert isinstance(bye, Request)
        assert bye.from_address.uri.user == mine
        assert bye.cseq.sequence == 2
        assert bye.call_id == invite.call_id


def test_streams_are_cut_into_messages() -> None:
    one, two = request(), request()
    one.body = b"v=0\r\n"
    data = b"\r\n\r\n" + wire(one) + wire(two)
    first, rest = split_stream(data)
    second, rest = split_stream(rest)
    assert (first, second, rest) == (wire(one), wire(two), b"")
    assert split_stream(wire(one)[:-1])[0] is None
    assert split_stream(b"INVITE sip")[0] is None


def test_there_is_a_torture_message_for_each_section_of_rfc_4475() -> None:
    sections = ["3.2.1", "3.4.1", *(f"3.1.1.{n}" for n in range(1, 14)), *(f"3.1.2.{n}" for n in range(1, 20))]
    sections += [f"3.3.{n}" for n in range(1, 16)]
    assert sorted(section(name) for name in torture_names()) == sorted(sections)
    messages = {name: torture_message(name) for name in torture_names()}
    assert len(set(messages.values())) == 49
    for name, message in messages.items():
        head, end, _body = message.partition(b"\r\n\r\n")
        assert end, name
        assert b"SIP/" in head.split(b"\r\n")[0], name
        assert b"\n" not in head.replace(b"\r\n", b""), name


def test_torture_messages_have_the_trait_of_their_section() -> None:
    assert b"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" in torture_message("intmeth")
    assert torture_message("lwsstart").startswith(b"INVITE  sip:desk@example.com  SIP/2.0\r\n")
    assert torture_message("trws").startswith(b"OPTIONS sip:desk@example.com SIP/2.0  \r\n")
    assert torture_message("bigcode").startswith(b"SIP/2.0 4294967301 ")
    assert torture_message("noreason").startswith(b"SIP/2.0 100 \r\n")
    assert b"Content-Length: -999\r\n" in torture_message("ncl")
    assert torture_message("dblreq").count(b" SIP/2.0\r\n") == 2
    assert len(torture_message("longreq")) > 3000
    assert b"From:" not in torture_message("insuf")
    assert torture_message("multi01").count(b"\r\nCall-ID:") == 2
    assert b";branch=" not in torture_message("inv2543")


@pytest.mark.parametrize("name", ["esc01", "zeromf", "mcl01"])
def test_valid_enough_torture_messages_parse(name: str) -> None:
    assert isinstance(Message.parse(torture_message(name)), Request)
