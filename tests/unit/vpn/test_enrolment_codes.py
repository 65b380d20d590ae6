"""Codes that are read over the telephone: mistakes are found, and a stranger's root isn't taken for the centre's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.errors import InvalidError
from appliance.vpn.enrolment.codes import ALPHABET, LENGTH, TAG, new_code, read_code, tag_of
from appliance.vpn.enrolment.invitation import Centre, Invitation, by_code, read_centre, read_file

ROOT = "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"
OTHER = ROOT[::-1]


def test_a_code_reads_back_however_it_is_typed() -> None:
    for _ in range(50):
        code = new_code(ROOT)
        assert len(code.text) == LENGTH + 4
        assert set(code.text) <= {*ALPHABET, "-"}
        typed = code.text.lower().replace("-", " ").replace("1", "l").replace("0", "o")
        assert read_code(typed) == read_code(code.text.replace("-", "")) == code
        assert code.secret.secret not in repr(code) + repr(code.secret)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, LENGTH - 1), st.sampled_from(ALPHABET))
def test_every_mistyped_character_and_every_swap_of_neighbours_is_found(place: int, wrong: str) -> None:
    right = new_code(ROOT).text.replace("-", "")
    typed = right[:place] + wrong + right[place + 1 :]
    swapped = right[:place] + right[place : place + 2][::-1] + right[place + 2 :]
    for text in {typed, swapped} - {right}:
        with pytest.raises(InvalidError, match="mistyped"):
            read_code(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has 0 characters; a code has 20"),
        ("7K3M", "has 4 characters; a code has 20"),
        ("U" + "0" * 19, "has 'U' at place 1"),
        ("0" * 12 + "é", "has 'É' at place 13"),
        ("0" * 5000, "has 5000 characters"),
    ],
)
def test_what_is_no_code_is_told_what_is_wrong_with_it(text: str, why: str) -> None:
    with pytest.raises(InvalidError, match=why) as caught:
        read_code(text)
    assert caught.value.error_id == "bad_code"


def test_the_root_is_known_by_the_tag_and_the_tag_depends_on_the_secret() -> None:
    one, two = new_code(ROOT), new_code(ROOT)
    centres = (Centre("vpn.example.com", 1194),)
    assert by_code(one, centres).knows(ROOT)
    assert not by_code(one, centres).knows(OTHER)
    assert one.tag != two.tag, "nobody can look for a root in advance"
    assert len(tag_of(one.secret, ROOT)) == TAG
    by_file = Invitation(centres, one.secret, root=ROOT)
    assert by_file.knows(ROOT)
    assert not by_file.knows(OTHER)


def test_a_file_reads_back_and_holds_no_private_key() -> None:
    made = Invitation(
        (Centre("vpn.example.com", 1194), Centre("2001:db8::1", 5000)), new_code(ROOT).secret, "torino", ROOT
    )
    assert read_file(made.file()) == made
    assert b"PRIVATE" not in made.file()
    assert len(made.file()) < 400, "it fits a QR code"


GOOD = Invitation((Centre("vpn.example.com", 1194),), new_code(ROOT).secret, "torino", ROOT).file().decode()


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ('"enrolment"', '"backup"', "file"),
        ("{", "[", "file"),
        ('"format":1', '"format":2', "format"),
        ('[["vpn.example.com",1194]]', "[]", "centres"),
        ('[["vpn.example.com",1194]]', '[["-x",1194]]', "centres"),
        ('[["vpn.example.com",1194]]', '[["vpn.example.com",70000]]', "centres"),
        ("7f83", "7g83", "root"),
        ('"secret":"', '"secret":"0', "secret"),
        ('"secret":"', '"secret":7,"x":"', "secret"),
        ('"until":""', '"until":"soon"', "until"),
        ('"site":"torino"', '"site":7', "site"),
    ],
)
def test_what_is_no_invitation_is_told_which_field_is_wrong(before: str, after: str, field: str) -> None:
    assert before in GOOD
    with pytest.raises(InvalidError) as caught:
        read_file(GOOD.replace(before, after).encode())
    assert [each.path for each in caught.value.faults] == [field]
    assert caught.value.error_id == "bad_invitation"


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.recursive(st.none() | st.text(max_size=5), st.lists).map(str).map(str.encode))
)
def test_garbage_is_refused_in_our_own_terms(content: bytes) -> None:
    with pytest.raises(InvalidError):
        read_file(content)


def test_addresses_of_the_centre_as_people_write_them() -> None:
    assert read_centre("vpn.example.com") == Centre("vpn.example.com", 1194)
    assert read_centre(" 192.0.2.7:5000 ") == Centre("192.0.2.7", 5000)
    assert read_centre("2001:db8::7") == Centre("2001:db8::7", 1194)
    assert read_centre("[2001:db8::7]:5000") == Centre("2001:db8::7", 5000)
    assert str(read_centre("[2001:db8::7]")) == "[2001:db8::7]:1194"
    for wrong in ("", "vpn.example.com:x", "vpn.example.com:0", "a b", "https://vpn.example.com", "[::1"):
        with pytest.raises(InvalidError):
            read_centre(wrong)
