"""The short code that somebody reads over the telephone (pure, but for random numbers).

Twenty characters of Crockford's base 32, in five groups: ``7K3M-Q8ZV-0C5X-RTNE-94H2``. They are

* 4 (20 bits), the *locator*: which invitation is meant. It isn't the secret: it only says whose wrong attempts are counted.
* 8 (40 bits), the *secret*. It can be tried at the gate only, and :data:`TRIES` wrong attempts burn the invitation: whoever guesses gets
  in with a chance of 5 / 2^40, one in 220,000,000,000 for each invitation. Nobody can burn an invitation whose locator he doesn't
  know, but by trying a million of them five times; the gate takes ten attempts a second from all the world, which makes six days,
  and an invitation waits a week at most.
* 7 (35 bits), the *tag*: a keyed digest (HMAC-SHA256) of the root's public key under locator and secret, cut to 35 bits. By it the edge knows the centre before it
  says anything. A stranger at the centre's address would need a root with the same tag. He can't look for one in advance, as he could with a
  cut fingerprint (2^35 keys are made in a day): the tag depends on the secret, which he doesn't know and which the edge sends
  to nobody whose root doesn't fit. What is left is one guess for each time that somebody types the code: one in 34,000,000,000.
* 1, the *check character*, Crockford's: the rest as a number, modulo 37. As 37 is a prime above 32, it finds every mistyped character and every
  swap of neighbours. Codes whose check character would be one of ``*~$=U`` aren't given out: nobody can read those aloud.

The appliance keeps scrypt of the secret (16 MiB, about 50 ms): who copies the disk needs 1,700 years of a core for all of its 2^40 values.

The file and the QR code hold locator and secret too, and the whole fingerprint (256 bits) in the tag's place.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import Fault, InvalidError

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CHECKS: Final = ALPHABET + "*~$=U"
LOCATOR: Final = 4
SECRET: Final = 8
TAG: Final = 7
LENGTH: Final = LOCATOR + SECRET + TAG + 1
TRIES: Final = 5
"""Wrong attempts that burn an invitation."""
_GROUP: Final = 4
_ALIKE: Final = str.maketrans("ILO", "110")
_CONTEXT: Final = b"centralino enrolment 1\0"
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
_HINT: Final = "type the code as it was read out: five groups of four letters and digits"


@dataclass(frozen=True, slots=True)
class Secret:
    """What opens the gate. ``repr`` doesn't show it."""

    locator: str
    secret: str

    def __repr__(self) -> str:
        return f"<Secret {self.locator}>"

    @property
    def text(self) -> str:
        """Twelve characters."""
        return self.locator + self.secret


@dataclass(frozen=True, slots=True)
class Code:
    """A whole short code."""

    secret: Secret
    tag: str

    def __repr__(self) -> str:
        return f"<Code {self.secret.locator}>"

    @property
    def text(self) -> str:
        """In groups, as it is read out."""
        plain = self.secret.text + self.tag
        plain += _check(plain)
        return "-".join(plain[at : at + _GROUP] for at in range(0, LENGTH, _GROUP))


def new_code(root: str) -> Code:
    """A code that nobody knows yet. ``root``: fingerprint of the root's public key (SHA-256, hexadecimal)."""
    while True:
        secret = Secret(_random(LOCATOR), _random(SECRET))
        code = Code(secret, tag_of(secret, root))
        if _check(secret.text + code.tag) in ALPHABET:
            return code


def tag_of(secret: Secret, root: str) -> str:
    """The characters by which the holder of a secret knows this root."""
    digest = hmac.digest(secret.text.encode(), _CONTEXT + bytes.fromhex(root), "sha256")
    number = int.from_bytes(digest, "big") >> (256 - 5 * TAG)
    return _written(number, TAG)


def read_code(text: str) -> Code:
    """What somebody typed: upper or lower case, with hyphens, blanks or without, I and L for 1, O for 0.

    :raises InvalidError: ``bad_code``: how long it is, which character can't be, or that one is wrong.
    """
    plain = as_meant(text)
    for place, character in enumerate(plain, 1):
        if character not in ALPHABET:
            raise _wrong(f"has {character!r} at place {place}, which no code has")
    if len(plain) != LENGTH:
        raise _wrong(f"has {len(plain)} characters; a code has {LENGTH}")
    if _check(plain[:-1]) != plain[-1]:
        raise _wrong("is mistyped: a character is wrong, or two have changed places")
    return Code(secret_in(plain[: LOCATOR + SECRET]), plain[LOCATOR + SECRET : -1])


def secret_in(text: str) -> Secret:
    """:raises InvalidError: ``bad_code``: no twelve characters of the alphabet."""
    plain = as_meant(text)
    if len(plain) != LOCATOR + SECRET or not set(plain) <= set(ALPHABET):
        raise _wrong(f"is no secret: {LOCATOR + SECRET} letters and digits are wanted")
    return Secret(plain[:LOCATOR], plain[LOCATOR:])


def digest_of(secret: Secret, salt: bytes) -> bytes:
    """What the appliance keeps of a secret. Takes about 50 ms."""
    return hashlib.scrypt(secret.text.encode(), salt=salt, **_SCRYPT)


def as_meant(text: str) -> str:
    """What somebody typed, as a code is kept: capitals, without hyphens and blanks, I and L for 1, O for 0."""
    return "".join(text.upper().translate(_ALIKE).replace("-", " ").split())


def _random(length: int) -> str:
    return _written(secrets.randbits(5 * length), length)


def _written(number: int, length: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))


def _check(plain: str) -> str:
    number = 0
    for character in plain:
        number = number << 5 | ALPHABET.index(character)
    return CHECKS[number % 37]


def _wrong(message: str) -> InvalidError:
    return InvalidError([Fault("code", message, _HINT, "bad_code")])
