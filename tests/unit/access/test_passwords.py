"""Which passwords are taken, and how they are hashed."""

from __future__ import annotations

import pytest

from appliance.access import passwords
from appliance.access.common_passwords import common_words, is_common
from appliance.access.texts import clean, place
from appliance.organisation.model import Person
from tools.common_passwords import FILE, text_of_list

ANN = Person(id="ann-rossi", name="Anna De Rossi", email="a.rossi77@example.com")


def error_ids(password: str, person: Person = ANN) -> list[str]:
    return [fault.error_id for fault in passwords.faults(password, person)]


def test_parameters_are_those_of_rfc_9106_or_higher() -> None:
    hasher = passwords.HASHER
    assert (hasher.type.name, hasher.time_cost, hasher.memory_cost, hasher.parallelism) == ("ID", 3, 65536, 4)
    assert (hasher.hash_len, hasher.salt_len) == (32, 16)


@pytest.mark.parametrize(
    "password",
    [
        "kestrel-violet-umbra",
        "correct horse battery",
        "tr0ub4dor&3xyQ",
        "9f8a7b6c5d4e3f2a1b",
        "\u4e94\u6708\u96e8\u3092\u96c6\u3081\u3066\u65e9\u3057\u6700\u4e0a\u5ddd",
        "\U0001f98a\U0001f33b\U0001f3b9\U0001f9ed\U0001f9f5\U0001f5fb\U0001f345\U0001f52d\U0001f9ca\U0001fa81\U0001f427\U0001f30b",
        "  spaces count too  ",
        "x7Kq9pass2Lw4word",
        "k" + "\u00e0\u00e8\u00ec\u00f2\u00f9 pq" * 31,
    ],
)
def test_good_ones_are_taken(password: str) -> None:
    assert error_ids(password) == []


@pytest.mark.parametrize(
    ("password", "error_id"),
    [
        ("", "password_short"),
        ("kestrel-vio", "password_short"),
        ("\u212b" * 3 + "bcdefghk", "password_short"),
        ("kv" * 150 + "x", "password_long"),
        ("\ufdfa" * 20, "password_long"),  # eighteen characters each, normalised
        ("x" * 100_000, "password_long"),
        ("kestrel-violet-\ud800", "password_garbled"),
        ("my-ann-rossi-umbra", "password_personal"),
        ("annrossi-violet-umbra", "password_personal"),
        ("violet-A.Rossi77-umbra", "password_personal"),
        ("violet-umbra-ROSSI", "password_personal"),
        ("violet-\uff32\uff4f\uff53\uff53\uff49-umbra", "password_personal"),  # full width
    ],
)
def test_bad_ones_are_refused_saying_why(password: str, error_id: str) -> None:
    assert error_id in error_ids(password)


@pytest.mark.parametrize(
    "password",
    [
        "Password2024!", "Centralino2026", "qwertyuiop123", "1qaz2wsx3edc", "P4ssw0rd!!!!!", "adminadmin12",
        "Welcome-Admin-1", "123456789012", "aaaaaaaaaaaa", "abcabcabcabc", "Juventus1897!", "Milano.2024.Milano",
        "QWERTY!@#$%^", "Benvenuto2025!", "password1234", "giuseppe1975!!", "iloveyou3000!", "2024Password2024",
        "passwordpasswordpas", "!!!changeme!!!", "zaq12wsxcde3", "Asterisk22.10", "ABCDEFGHIJKLMNOP", "987654321098",
        "FORZAJUVE1897", "letmeinnow12", "abababababababab", "estate2026estate",
    ],
)  # fmt: skip
def test_common_ones_are_refused_in_every_dress(password: str) -> None:
    assert is_common(passwords.normalised(password))
    assert "password_common" in error_ids(password)


def test_short_words_of_the_name_stand_in_everything() -> None:
    person = Person(id="x1", name="Li Bo An", email="q@example.com")
    assert error_ids("libation-boat-anvil", person) == []
    assert error_ids("xx LiBoAn xx yy", person) == ["password_personal"]


def test_normalised_the_same_letters_are_the_same_password() -> None:
    kept = passwords.hash_of("caff\u00e8-violet-umbra")
    assert passwords.verify(kept, "caffe\u0300-violet-umbra")
    assert passwords.verify(kept, "\uff43aff\u00e8-violet-umbra")
    assert not passwords.verify(kept, "Caff\u00e8-violet-umbra")
    assert not passwords.verify(None, "caff\u00e8-violet-umbra")
    assert not passwords.verify("garbage", "caff\u00e8-violet-umbra")
    assert not passwords.outdated(kept)
    assert passwords.outdated("$argon2id$v=19$m=65536,t=2,p=4" + kept[kept.rindex("p=4") + 3 :])


def test_the_list_is_made_by_its_tool() -> None:
    assert FILE.read_text("utf-8") == text_of_list(), "run tools/common_passwords"
    assert len(common_words()) > 5000


def test_a_place_is_an_ipv4_address_or_an_ipv6_customer() -> None:
    assert place("192.0.2.1") == place("::ffff:192.0.2.1") == "192.0.2.1"
    assert place("2001:db8:1:2::3") == place("2001:db8:1:2:ffff::1%eth0") == "2001:db8:1:2::/64"
    assert place("2001:db8:1:3::3") != place("2001:db8:1:2::3")
    assert {place(text) for text in ("", "unix:", "x" * 1000, "\x00", "192.0.2")} == {"elsewhere"}


def test_strangers_text_is_one_printable_line() -> None:
    assert clean("a\r\n\x00b\u202ec\x1b[31m  d", 100) == "a b c [31m d"
    assert clean("x" * 1000, 10) == "x" * 10
