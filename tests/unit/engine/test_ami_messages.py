from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import CorruptError, InvalidError
from appliance.engine import ami_messages
from appliance.engine.ami_messages import Message, Parser, serialise

BYTES = (
    b"Response: Success\r\nActionID: c1\r\nMessage: Command output follows\r\n"
    b"Output: Name/ID          Host\r\nOutput: \r\nOutput: Key: value\r\n\r\n"
    b"Event: VarSet\r\nVariable: NOTE\r\nValue: first\r\nsecond line\r\nUniqueid: 1.2\r\n\r\n"
    b"Event: Newchannel\r\nCallerIDName: Caff\xc3\xa8: \xe2\x98\x95\r\nEmpty:\r\nBroken: \xff\r\n\r\n"
)


def test_messages_of_the_engine() -> None:
    first, second, third = Parser().feed(BYTES)
    assert first.succeeded
    assert first.event == ""
    assert first.all("output") == ["Name/ID          Host", "", "Key: value"]
    assert second["Value"] == "first\nsecond line"
    assert second["uniqueid"] == "1.2"
    assert third.event == "Newchannel"
    assert third.get("CallerIDName") == "Caffè: ☕"
    assert third["Empty"] == ""
    assert third["Broken"] == "\ufffd"
    assert third.get("Nothing", "x") == "x"
    assert "Nothing" not in third
    assert third.as_dict()["Event"] == "Newchannel"
    with pytest.raises(KeyError):
        third["Nothing"]


@given(st.lists(st.integers(0, len(BYTES)), max_size=8))
def test_however_the_bytes_come_the_messages_are_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(BYTES)]
    parser = Parser()
    found = [message for at, until in itertools.pairwise(edges) for message in parser.feed(BYTES[at:until])]
    assert found == list(Parser().feed(BYTES))


def test_a_message_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ami_messages, "MESSAGE_MAX", 100)
    with pytest.raises(CorruptError, match="without end"):
        list(Parser().feed(b"Output: " + b"x" * 200))


def test_actions() -> None:
    assert serialise("Ping") == b"Action: Ping\r\n\r\n"
    sent = serialise("PJSIPNotify", {"Endpoint": "è", "Variable": ["a=1", "b=2"]})
    assert sent == "Action: PJSIPNotify\r\nEndpoint: è\r\nVariable: a=1\r\nVariable: b=2\r\n\r\n".encode()


@pytest.mark.parametrize("bad", ["a\r\nAction: Originate", "a\nb", "a\rb", "a\0b"])
def test_no_value_can_smuggle_in_a_line(bad: str) -> None:
    with pytest.raises(InvalidError, match="line breaks"):
        serialise("Getvar", {"Variable": bad})
    with pytest.raises(InvalidError):
        serialise("Getvar", {"Variable": ["good", bad]})
    with pytest.raises(InvalidError):
        serialise(bad)
    with pytest.raises(InvalidError):
        serialise("Getvar", {bad: "x"})
    with pytest.raises(InvalidError):
        serialise("Getvar", {"Variable: x": "x"})


@given(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])))
def test_every_other_text_arrives_as_it_is(text: str) -> None:
    (message,) = Parser().feed(serialise("Setvar", {"Value": text}))
    assert message == Message((("Action", "Setvar"), ("Value", text)))
