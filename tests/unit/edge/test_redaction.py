"""Whatever secret is planted in a text is gone; addresses, times, fingerprints and certificates stay."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import textwrap
from collections.abc import Callable
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.edge.redaction import GONE, Redaction, redacted, unfinished
from appliance.edge.traces import PIECE
from appliance.vpn.pki import certificates
from appliance.vpn.pki.tls_crypt import new_client_key, new_server_key
from tests.unit.vpn.ground import Ground

FINGERPRINT = ":".join(f"{number:02X}" for number in range(100, 132))
HARMLESS = (
    "2027-03-01 12:00:00 UDPv4 link remote: [AF_INET]198.51.100.7:1194",
    "2027-03-01T12:00:00.123Z peer at 2001:0db8:0003:0000:0000:0000:0000:0001, 10.3.0.1/24, 02:00:5e:10:00:01",
    f"VERIFY OK: depth=0, CN=torino.1, SHA256 Fingerprint={FINGERPRINT}",
    f"sha256 fingerprint of the certificate: {FINGERPRINT.replace(':', '').lower()}",
    "Control Channel: TLSv1.3, cipher TLSv1.3 TLS_AES_256_GCM_SHA384, server temp key: 253 bits X25519, 40 packets",
    "NOTE: --persist-key is used; line 1 (wan0) is the best; MOS 4.2, 0.5 % lost",
)
FORMS: dict[str, Callable[[bytes], str]] = {
    "hex": lambda secret: secret.hex(),
    "HEX": lambda secret: secret.hex().upper(),
    "he:x": lambda secret: secret.hex(":"),
    "base64": lambda secret: base64.b64encode(secret).decode(),
    "bare": lambda secret: base64.b64encode(secret).decode().rstrip("="),
    "url": lambda secret: base64.urlsafe_b64encode(secret).decode(),
    "lines": lambda secret: "\n".join(textwrap.wrap(base64.b64encode(secret).decode(), 64)),
    "quoted": lambda secret: json.dumps("\r\n".join(textwrap.wrap(base64.b64encode(secret).decode(), 64))),
    "hex lines": lambda secret: "\n".join(textwrap.wrap(secret.hex(), 64)),
}
around = st.lists(st.sampled_from(HARMLESS), max_size=4).map(lambda lines: "".join(f"{line}\n" for line in lines))
word = st.text("abcdefghijkmnopqrstuvwxyzABCDEF0123456789!$%&/()*+.,;", min_size=4, max_size=24)

keys = st.integers(0, 1 << 64).map(lambda n: hashlib.shake_128(n.to_bytes(9, "big")).digest(60 + n % 20))
"""Octets among which none stand out, as in keys."""


def letters(text: str) -> str:
    """Without all that may stand in between."""
    return re.sub(r"\\[nrt]|[\s\\\"',:]", "", text).translate(str.maketrans("-_", "+/"))


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_no_secret_stays(line: str) -> None:
    assert Redaction([os.urandom(32)]).text(f"{line}\n") == f"{line}\n"


@given(st.binary(min_size=12, max_size=300), st.sampled_from(sorted(FORMS)), around, around, st.booleans())
@example(bytes(32), "base64", "", "", False)
@example(b"\xfb\xff\xfe" * 8, "url", "", "", False)
def test_a_known_secret_is_gone_in_every_form(secret: bytes, form: str, before: str, after: str, close: bool) -> None:
    shown = FORMS[form](secret)
    redaction = Redaction([b"another secret of ours", secret])
    text = redaction.text(f"{before}{'=' if close else ' '}{shown}\n{after}")
    assert shown not in text
    for each in FORMS.values():
        assert letters(each(secret)) not in letters(text)
    assert GONE in text
    assert not redaction.holds(text)
    for line in before.splitlines()[:-1]:
        assert line in text or len(set(secret)) < 8, "all else stays"


@given(keys, st.binary(max_size=40), st.binary(max_size=40))
def test_a_known_secret_within_something_encoded(secret: bytes, before: bytes, after: bytes) -> None:
    whole = base64.b64encode(before + secret + after).decode()
    text = Redaction([secret]).text(whole)
    assert GONE in text
    begin, end = (4 * len(before) + 2) // 3, 4 * (len(before) + len(secret)) // 3
    assert whole[begin : min(end, begin + 12)] not in text


@given(
    keys,
    st.sampled_from(["hex", "base64"]),
    st.data(),
)
def test_a_piece_of_one_is_gone_too(secret: bytes, form: str, data: st.DataObject) -> None:
    whole = FORMS[form](secret).rstrip("=")
    begin = data.draw(st.integers(0, len(whole) - PIECE))
    piece = whole[begin : begin + data.draw(st.integers(PIECE, PIECE + 20))]
    assert piece not in Redaction([secret]).text(f"the line was cut: {piece}|")


@given(word.filter(lambda text: len(letters(text)) >= 8))
def test_a_known_password_is_gone(secret: str) -> None:
    redaction = Redaction([secret.encode()])
    assert secret not in redaction.text(f"tried {secret}?")
    assert quote(secret, safe="") not in redaction.text(f"https://192.0.2.1/?p={quote(secret, safe='')}")


@given(
    st.sampled_from([
        "password={}", "Password: {}", '"password": "{}"', "db_passwd = '{}'", "SECRET={}", "client_secret: {}", "token={}", "auth-token {}", "--auth-user-pass {}",
        "--askpass {} --verb 3", "passphrase: {} {}", "apiKey={}", "key: {}", "key => {}", "Authorization: Basic {}", "http://user:{}@192.0.2.1/", "PIN={}",
        "Cookie: session={}", '{{"user":"x","pass":"{}"}}', r"{{\"token\": \"{}\"}}", "push 'auth-token {}'",
    ]),
    word.map(lambda text: f"Zq{text}"), around, around,
)  # fmt: skip
def test_what_stands_behind_a_word_for_secrets_is_gone(form: str, secret: str, before: str, after: str) -> None:
    if "@" in form or '"' in form:
        secret = secret.replace("/", "")
    text = redacted(before + form.format(secret, secret) + "\n" + after)
    assert secret not in text
    assert "Zq" not in text
    assert text.startswith(before)
    assert text.endswith(after)
    assert redacted(text) == text


@pytest.mark.parametrize("form", ["hex", "HEX", "he:x", "base64", "url"])
@given(secret=keys)
def test_what_looks_like_a_key_behind_such_a_word_is_gone(form: str, secret: bytes) -> None:
    shown = FORMS[form](secret)
    for line in (f"the key is now {shown}, from 10.0.0.1", f"token of 198.51.100.7 {shown}", f"secret:\n  {shown}\n"):
        text = redacted(line)
        assert shown[:20] not in text, text


@given(st.sampled_from(["PRIVATE KEY", "EC PRIVATE KEY", "OpenVPN Static key V1", "OpenVPN tls-crypt-v2 client key", "CERTIFICATE REQUEST"]), st.binary(min_size=32, max_size=200), around, around)  # fmt: skip
def test_blocks_are_gone_even_if_an_end_is_missing(label: str, secret: bytes, before: str, after: str) -> None:
    body = FORMS["lines"](secret)
    begin, end = f"-----BEGIN {label}-----\n", f"\n-----END {label}-----\n"
    whole = redacted(f"{before}{begin}{body}{end}{after}")
    assert whole == f"{before}{GONE}\n{after}"
    assert redacted(json.dumps(f"{begin}{body}{end}")) == f'"{GONE}\\n"'
    assert redacted(f"{before}{begin}{body}\n") == before + GONE
    assert redacted(f"{body}{end}{after}") == f"{GONE}\n{after}"
    assert unfinished(f"{before}{begin}{body}\n") == begin.strip()
    assert unfinished(f"{before}{begin}{body}{end}") == ""
    inline = redacted(f"{before}<auth-user-pass>\n{body}\n</auth-user-pass>\n{after}")
    assert inline == f"{before}{GONE}\n{after}"


def test_certificates_stay_whole_and_only_they(ground: Ground) -> None:
    key = certificates.new_key()
    granted = ground.authority.enrol("milan", certificates.request(key))
    chain = granted.chain.decode() + granted.root.decode()
    assert redacted(chain) == chain
    hidden = key.private_numbers().private_value.to_bytes(48, "big")
    assert Redaction([hidden]).text(chain) == chain, "a key's own number isn't in its certificate"
    pem = certificates.key_pem(key).decode()
    assert redacted(pem + chain) == f"{GONE}\n{chain}"
    body = "".join(pem.splitlines()[1:-1])
    assert Redaction([hidden]).holds(body)
    old = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())  # fmt: skip
    assert Redaction([hidden]).holds(old.decode())
    tunnel = new_client_key(new_server_key(), "milan.1").decode()
    assert redacted(tunnel) == f"{GONE}\n"
    disguised = "-----BEGIN CERTIFICATE-----\npassword: Zq\n-----END CERTIFICATE-----\n"
    assert "Zq" not in redacted(disguised)


def test_what_json_says_stays_json() -> None:
    pem = ["-----BEGIN PRIVATE KEY-----", "QUJDREVG", "-----END PRIVATE KEY-----", "verb 3"]
    value = {
        "host": "198.51.100.7", "password": "Zq1", "tokens": [{"x": "Zq2"}], "keys": 3, "key": "Zq3", "secret": False, "lines": pem,
        "text": 'said "password=Zq4', "deep": [[{"why": "token: Zq5 Zq6\nnext"}]], "octets": os.urandom(32).hex(), "n": None, "end": "key:",
    }  # fmt: skip
    redaction = Redaction([bytes.fromhex(str(value["octets"]))])
    found = json.loads(redaction.json(value))
    assert "Zq" not in json.dumps(found)
    assert found == {
        "host": "198.51.100.7", "password": GONE, "tokens": GONE, "keys": 3, "key": GONE, "secret": False,
        "lines": [GONE, "verb 3"], "text": f'said "password={GONE}', "deep": [[{"why": f"token: {GONE}\nnext"}]], "octets": GONE, "n": None, "end": "key:",
    }  # fmt: skip


def test_a_hostile_log_is_done_with() -> None:
    size = 256 * 1024
    for unit in ("key", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN A-----", "password=", "a", '"\\', "--key ", "fingerprint key ", "0f:", "eyJ", "://a:", "secret " + "aB3/" * 30, "<key>"):  # fmt: skip
        redacted(unit * (size // len(unit)), [os.urandom(48)])
