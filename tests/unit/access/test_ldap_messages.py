"""LDAP's bytes: what is sent stands in the standard, and nothing that comes breaks the reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access.directory import ber, messages
from appliance.access.directory.ber import BadEncodingError
from appliance.access.directory.messages import Scope


def test_a_bind_as_rfc_4511_writes_it() -> None:
    made = messages.bind(1, "cn=a", "pw")
    assert made.hex() == "3012" + "020101" + "600d" + "020103" + "0404636e3d61" + "80027077"


def test_a_search_holds_what_was_asked_for() -> None:
    filter = messages.both(messages.equal("a", "b"), messages.any_of(messages.equal("c", "*)(d")))
    made = messages.search(2, "o=x", Scope.SUBTREE, filter, ("mail",), most=2, seconds=3)
    ((tag, content),) = ber.elements(made)
    id, (operation, body) = list(ber.elements(content))
    assert (tag, ber.number(id[1]), operation) == (0x30, 2, messages.SEARCH)
    parts = list(ber.elements(body))
    assert [value for _tag, value in parts[:6]] == [b"o=x", b"\x02", b"\x00", b"\x02", b"\x03", b"\x00"]
    assert parts[6] == (0xA0, messages.equal("a", "b") + messages.any_of(messages.equal("c", "*)(d")))
    assert list(ber.elements(parts[7][1])) == [(0x04, b"mail")]


@pytest.mark.parametrize("text", ["*", "a*", "ann)(uid=*", "\\61", "(", ")", "\x00", "a=b,c=d", "è\u202e"])
def test_no_value_is_more_than_a_value(text: str) -> None:
    """There is no filter text that a value could close: it arrives as it is, as one equality."""
    ((tag, content),) = ber.elements(messages.equal("uid", text))
    assert tag == 0xA3
    assert [value for _tag, value in ber.elements(content)] == [b"uid", text.encode()]


def test_nothing_is_proved_without_a_password() -> None:
    for dn, password in (("cn=a", ""), ("", "pw"), ("", "")):
        with pytest.raises(ValueError, match="without"):
            messages.bind(1, dn, password)


@given(st.integers(-(2**31), 2**31))
def test_numbers_come_back(value: int) -> None:
    ((tag, content),) = ber.elements(ber.integer(value))
    assert (tag, ber.number(content)) == (ber.INTEGER, value)


@given(st.lists(st.binary(max_size=300)))
def test_elements_come_back(values: list[bytes]) -> None:
    assert list(ber.elements(b"".join(ber.octets(value) for value in values))) == [(0x04, value) for value in values]


def test_long_ones_too() -> None:
    value = b"x" * 70_000
    assert list(ber.elements(ber.octets(value))) == [(0x04, value)]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for read in (lambda: list(ber.elements(data)), lambda: messages.answer(data)):
        try:
            read()
        except BadEncodingError:
            continue


@given(
    st.binary(max_size=60), st.sampled_from([messages.ENTRY, messages.DONE, messages.BIND_ANSWER, messages.REFERENCE])
)
def test_no_answer_breaks_the_reader(body: bytes, tag: int) -> None:
    try:
        found = messages.answer(ber.integer(3) + ber.element(tag, body))
    except BadEncodingError:
        return
    assert found.id == 3


@pytest.mark.parametrize(
    "data",
    [b"\x1f\x81\x01\x00", b"\x30\x80\x00\x00", b"\x30\x85\x00\x00\x00\x00\x01", b"\x30\x84\x7f\xff\xff\xff", b"\x30\x05\x00"],
)  # fmt: skip
def test_what_ldap_doesn_t_use_is_refused(data: bytes) -> None:
    with pytest.raises(BadEncodingError):
        list(ber.elements(data))


def test_an_entry_is_read() -> None:
    values = ber.element(ber.SET, ber.octets("a@example.com"), ber.octets(b"\xff\xfe"))
    attribute = ber.element(ber.SEQUENCE, ber.octets("Mail;lang-it"), values)
    entry = ber.element(messages.ENTRY, ber.octets("uid=ann"), ber.element(ber.SEQUENCE, attribute))
    found = messages.answer(ber.integer(7) + entry).entry
    assert found is not None
    assert (found.dn, found.attributes) == ("uid=ann", {"mail": ("a@example.com",)})
