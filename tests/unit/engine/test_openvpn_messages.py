from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import CorruptError, InvalidError
from appliance.engine import openvpn_messages
from appliance.engine.openvpn_messages import (
    BLOCK_MAX,
    EVENTS,
    LINE_MAX,
    ByteCount,
    ClientAddress,
    ClientStep,
    End,
    Failure,
    Fatal,
    Hold,
    Info,
    Log,
    Message,
    Other,
    OwnByteCount,
    Parser,
    PasswordAsked,
    PasswordPrompt,
    Row,
    State,
    Success,
    command,
)
from tests.hil.agents.openvpn_replay import heard

SERVER = heard("server")


def parsed(*parts: bytes) -> list[Message]:
    parser = Parser()
    return [message for part in parts for message in parser.feed(part)]


def one(line: str) -> Message:
    (message,) = parsed(f"{line}\r\n".encode())
    return message


def test_what_a_real_server_said() -> None:
    found = parsed(SERVER)
    assert not [message for message in found if isinstance(message, Other)]
    assert isinstance(found[0], Info)
    steps = [message for message in found if isinstance(message, ClientStep)]
    assert [(step.step, step.cid) for step in steps][:3] == [("ESTABLISHED", 0), ("ESTABLISHED", 1), ("ESTABLISHED", 2)]
    assert steps[0].fields["common_name"] == "milan"
    assert steps[0].fields["IV_VER"] == "2.6.14"
    assert steps[0].fields["trusted_ip"].startswith("192.0.2.")
    assert len(steps[0].fields) > 40
    assert {message.cid for message in found if isinstance(message, ByteCount)} >= {0, 1}
    states = [message for message in found if isinstance(message, State)]
    assert states[0].name == "RECONNECTING"
    assert states[0].detail == "SIGUSR1"
    assert states[1].address4 == "10.99.0.1"
    assert states[1].address6 == "fd00:99::1"
    logs = [message for message in found if isinstance(message, Log)]
    assert any(message.text.startswith("MANAGEMENT: >STATE:") for message in logs)
    (fatal,) = (message for message in found if isinstance(message, Fatal))
    assert "Address already in use" in fatal.text
    failures = [message.text for message in found if isinstance(message, Failure)]
    assert failures[0].startswith("unknown command")


def test_what_a_daemon_says_that_waits() -> None:
    found = parsed(heard("held"))
    assert found[1] == Hold("Waiting for hold release", 0)
    assert Failure("The 'status' command is not supported by the current daemon mode") in found
    assert Success("hold release succeeded") in found


def test_what_a_client_says() -> None:
    found = parsed(heard("client"))
    assert OwnByteCount(2064, 2073) in found
    assert [message.name for message in found if isinstance(message, State)] == ["RECONNECTING", "WAIT"]


def test_a_prompt_for_a_password_ends_without_a_line_break() -> None:
    assert parsed(b"ENTER PASS", b"WORD:") == [PasswordPrompt()]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (">HOLD:Waiting for hold release:10", Hold("Waiting for hold release", 10)),
        (">FATAL:no more descriptors", Fatal("no more descriptors")),
        (">PASSWORD:Need 'Auth' username/password", PasswordAsked("Need 'Auth' username/password")),
        (">PASSWORD:Auth-Token:SESS_ID_x", PasswordAsked("Auth-Token")),
        (">CLIENT:ADDRESS,3,10.1.0.0/255.255.0.0,0", ClientAddress(3, "10.1.0.0/255.255.0.0", False)),
        (">CLIENT:ADDRESS,3,10.1.0.1,1", ClientAddress(3, "10.1.0.1", True)),
        (">CLIENT:ADDRESS,3,10.1.0.1", Other("CLIENT", "ADDRESS,3,10.1.0.1")),
        (">CLIENT:ENV,common_name=x", Other("CLIENT", "a variable of no client")),
        (">BYTECOUNT_CLI:1,2", Other("BYTECOUNT_CLI", "1,2")),
        (">BYTECOUNT_CLI:1,2,3SUCCESS: pid=1", Other("BYTECOUNT_CLI", "1,2,3SUCCESS: pid=1")),
        (">BYTECOUNT_CLI:1,2,-3", Other("BYTECOUNT_CLI", "1,2,-3")),
        (">BYTECOUNT_CLI:1,2,\u0663", Other("BYTECOUNT_CLI", "1,2,\u0663")),
        (f">BYTECOUNT:1,{'9' * 5000}", Other("BYTECOUNT", f"1,{'9' * 5000}")),
        (">STATE:soon,CONNECTED", Other("STATE", "soon,CONNECTED")),
        (">STATE:1,CONNECTED", State(1, "CONNECTED")),
        (">LOG:1,I", Other("LOG", "1,I")),
        (">LOG:1,I,a,b", Log(1, "I", "a,b")),
        (">FUTURE:news", Other("FUTURE", "news")),
        (">", Other("", "")),
        ("SUCCESS:", Success("")),
        ("ERROR: no", Failure("no")),
        ("END", End()),
        ("ENDLESS", Row("ENDLESS")),
    ],
)
def test_lines(line: str, message: Message) -> None:
    assert one(line) == message


def test_a_block_about_a_client_may_be_interrupted_and_may_be_cut_off() -> None:
    begun = b">CLIENT:CONNECT,7,2\r\n>CLIENT:ENV,a=1\r\n"
    assert parsed(begun, b">LOG:1,I,x\r\n", b">CLIENT:ENV,b=2=3\r\n>CLIENT:ENV,END\r\n") == [
        Log(1, "I", "x"),
        ClientStep("CONNECT", 7, 2, {"a": "1", "b": "2=3"}),
    ]
    assert parsed(begun, b">CLIENT:DISCONNECT,7\r\n>CLIENT:ENV,END\r\n") == [
        Other("CLIENT", "a block without end"),
        ClientStep("DISCONNECT", 7),
    ]


def test_no_password_is_kept() -> None:
    block = b">CLIENT:CONNECT,7,2\r\n>CLIENT:ENV,password=secret\r\n>CLIENT:ENV,username=x\r\n>CLIENT:ENV,END\r\n"
    (step,) = parsed(block)
    assert isinstance(step, ClientStep)
    assert step.fields == {"username": "x"}


def test_every_byte_alone_makes_the_same_messages() -> None:
    assert parsed(*(SERVER[at : at + 1] for at in range(len(SERVER)))) == parsed(SERVER)


@given(st.lists(st.integers(0, len(SERVER)), max_size=8))
def test_however_the_bytes_come_the_messages_are_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SERVER)]
    assert parsed(*(SERVER[at:until] for at, until in itertools.pairwise(edges))) == parsed(SERVER)


EVENT_LINES = st.sampled_from(
    [b">BYTECOUNT_CLI:0,1,2", b">LOG:1,I,SUCCESS: END", b">STATE:1,EXITING,SIGTERM,,,,,", b">NEWS:END", b">"]
)


@given(st.lists(st.tuples(st.integers(0, 1_000), EVENT_LINES), max_size=30))
def test_events_between_the_lines_of_answers_change_no_answer(events: list[tuple[int, bytes]]) -> None:
    lines = heard("held").splitlines(keepends=True)
    for place, event in events:
        lines.insert(place % (len(lines) + 1), event + b"\r\n")
    answers = [message for message in parsed(b"".join(lines)) if not isinstance(message, EVENTS)]
    assert answers == [message for message in parsed(heard("held")) if not isinstance(message, EVENTS)]


def digest(parts: list[bytes]) -> None:
    """Feed a parser; only its own error may come, and it must stay small."""
    parser = Parser()
    try:
        for part in parts:
            parser.feed(part)
            assert len(parser._buffer) <= LINE_MAX
    except CorruptError as error:
        assert error.error_id == "vpn_protocol"  # noqa: PT017


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_garbage_gives_its_own_error_or_none(parts: list[bytes]) -> None:
    digest(parts)


SPLICES = st.tuples(
    st.integers(0, len(SERVER)), st.integers(0, 200), st.sampled_from([b"", b"\xff", b">", b"\n", b"9" * 99])
)


@given(st.lists(SPLICES, min_size=1, max_size=10))
def test_a_dialogue_that_was_damaged_does_too(splices: list[tuple[int, int, bytes]]) -> None:
    damaged = bytearray(SERVER)
    for at, length, instead in splices:
        damaged[at : at + length] = instead
    digest([bytes(damaged[at : at + 1000]) for at in range(0, len(damaged), 1000)])


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_without_end_is_given_up(end: bytes) -> None:
    with pytest.raises(CorruptError, match="a line without end"):
        parsed(b">LOG:1,I," + b"x" * LINE_MAX + end)


def test_a_block_without_end_is_given_up() -> None:
    block = b">CLIENT:CONNECT,7,2\r\n" + b"".join(b">CLIENT:ENV,%d=x\r\n" % number for number in range(BLOCK_MAX + 1))
    with pytest.raises(CorruptError, match="a block without end"):
        parsed(block)


def test_commands() -> None:
    assert command("status", "3") == b"status 3\n"
    assert command("kill", "site milan") == b'kill "site milan"\n'
    assert command("kill", 'a"b\\c') == b'kill "a\\"b\\\\c"\n'
    assert command("kill", "") == b'kill ""\n'


@pytest.mark.parametrize("bad", ["a\nsignal SIGTERM", "a\rb", "a\0b", "è" * 128])
def test_no_word_can_smuggle_in_a_command_or_be_cut(bad: str) -> None:
    with pytest.raises(InvalidError) as raised:
        command("kill", bad)
    assert raised.value.error_id == "vpn_command"


def test_the_bound_of_a_line_is_above_what_openvpn_sends() -> None:
    assert openvpn_messages.LINE_MAX > 10_240
