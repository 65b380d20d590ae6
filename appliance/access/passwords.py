"""Passwords: which are taken, and how they are kept.

Rules of NIST SP 800-63B §5.1.1.2: at least 12 and at most 256 characters, any Unicode, normalised to NFKC (the same
letters typed on another keyboard are the same password), no rules of composition, none that many people use, none that
holds the account's own name.

Kept as Argon2id with RFC 9106 §4's second recommended parameters: 3 passes, 64 MiB, 4 lanes. One hash takes about 120 ms
on the machine this was measured on (2 cores, 50–150 ms are the target). At most as many are computed at once as there
are cores, so sign-ins can't take all the memory. When the parameters rise, a password is hashed anew at its next use.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import unicodedata
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import Type

from appliance.access.common_passwords import is_common
from appliance.core.errors import Fault, InvalidError
from appliance.organisation.model import Person

SHORTEST: Final = 12
LONGEST: Final = 256
_RAW_MAX: Final = 4 * LONGEST
"""Longer input isn't even normalised: that takes time, and one character may become eighteen."""

HASHER: Final = PasswordHasher(
    time_cost=3, memory_cost=64 * 1024, parallelism=4, hash_len=32, salt_len=16, encoding="utf-8", type=Type.ID
)
_at_once: Final = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
_log: Final = logging.getLogger(__name__)


def normalised(password: str) -> str:
    """The password as it is compared: NFKC."""
    return unicodedata.normalize("NFKC", password[:_RAW_MAX])


def check(password: str, person: Person) -> None:
    """Raises InvalidError with every fault of a password that ``person`` wants."""
    found = faults(password, person)
    if found:
        raise InvalidError(found)


def faults(password: str, person: Person) -> list[Fault]:
    """What speaks against a password."""
    text = normalised(password)
    if len(password) > _RAW_MAX or len(text) > LONGEST:
        return [Fault("password", f"has more than {LONGEST} characters", "a shorter one", "password_long")]
    if any(unicodedata.category(char) == "Cs" for char in text):
        return [Fault("password", "holds something that is no character", "type it anew", "password_garbled")]
    found = []
    if len(text) < SHORTEST:
        hint = "a few words that don't belong together are easy to remember"
        found.append(Fault("password", f"has fewer than {SHORTEST} characters", hint, "password_short"))
    if is_common(text):
        hint = "a few words that don't belong together"
        found.append(Fault("password", "is one of those that are tried first", hint, "password_common"))
    if any(word in _plain(text) for word in personal_words(person)):
        hint = "one that has nothing to do with the account"
        found.append(Fault("password", "holds the name, id or e-mail of its owner", hint, "password_personal"))
    return found


def personal_words(person: Person) -> set[str]:
    """What must not stand in a person's password: id and e-mail's local part from 3 characters on, words of the name
    from 4 on (shorter ones stand in everything)."""
    email = (person.email or "").partition("@")[0]
    whole = {_plain(text) for text in (person.id, email, person.name)}
    words = {_plain(word) for word in person.name.split()}
    return {text for text in whole if len(text) >= 3} | {word for word in words if len(word) >= 4}


def _plain(text: str) -> str:
    """Letters and digits alone, without capitals: m.rossi, M-Rossi and mrossi are one."""
    return "".join(char for char in normalised(text).casefold() if char.isalnum())


def hash_of(password: str) -> str:
    """What is kept of a password."""
    with _at_once:
        return HASHER.hash(_bytes(password))


def verify(kept: str | None, password: str) -> bool:
    """Whether it is the one. Without any kept (an account that there isn't, or one without a password) it takes as long,
    and the answer is no. So it is, with a line in the log, if what is kept is garbage."""
    try:
        with _at_once:
            return HASHER.verify(kept or dummy(), _bytes(password)) and kept is not None
    except VerifyMismatchError:
        return False
    except (InvalidHashError, VerificationError):
        _log.error("a stored password can't be read: its owner needs a new one (centralino access link)")
        return verify(None, password)


def outdated(kept: str) -> bool:
    """Whether it was hashed with lower parameters than today's."""
    return HASHER.check_needs_rehash(kept)


@cache
def dummy() -> str:
    """The hash of a password that nobody knows."""
    return HASHER.hash(secrets.token_bytes(32))


def _bytes(password: str) -> bytes:
    return normalised(password).encode("utf-8", "surrogatepass")
