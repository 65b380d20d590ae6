"""LDAP's messages as values and as bytes (RFC 4511). Pure.

A filter is a tree whose leaves hold values as they are: there is no text in which somebody could close a bracket, so nothing
has to be escaped and nothing can be forgotten (RFC 4515 is for people who write filters; nobody does here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from appliance.access.directory.ber import (
    ENUMERATED,
    INTEGER,
    OCTETS,
    SEQUENCE,
    SET,
    BadEncodingError,
    boolean,
    element,
    elements,
    integer,
    number,
    octets,
)

START_TLS: Final = "1.3.6.1.4.1.1466.20037"
IN_CHAIN: Final = "1.2.840.113556.1.4.1941"
"""Active Directory's matching rule that follows groups in groups (LDAP_MATCHING_RULE_IN_CHAIN)."""
DISCONNECTION: Final = "1.3.6.1.4.1.1466.20036"
_VERSION: Final = 3

BIND, BIND_ANSWER, UNBIND = 0x60, 0x61, 0x42
SEARCH, ENTRY, DONE, REFERENCE = 0x63, 0x64, 0x65, 0x73
EXTENDED, EXTENDED_ANSWER = 0x77, 0x78


class Scope(IntEnum):
    """How far a search goes below its base."""

    BASE = 0
    SUBTREE = 2


class Code(IntEnum):
    """Results that mean something to us (RFC 4511 appendix A)."""

    SUCCESS = 0
    SIZE_LIMIT = 4
    REFERRAL = 10
    NO_SUCH_ATTRIBUTE = 16
    NO_SUCH_OBJECT = 32
    INVALID_CREDENTIALS = 49
    BUSY = 51
    UNAVAILABLE = 52
    UNWILLING = 53


Filter = bytes
"""A filter, encoded."""


def equal(attribute: str, value: str) -> Filter:
    """The attribute has this value."""
    return element(0xA3, octets(attribute), octets(value))


def both(*filters: Filter) -> Filter:
    """All of them hold."""
    return element(0xA0, *filters)


def any_of(*filters: Filter) -> Filter:
    """One of them holds."""
    return element(0xA1, *filters)


def matches(rule: str, attribute: str, value: str) -> Filter:
    """An extensible match."""
    return element(0xA9, octets(rule, 0x81), octets(attribute, 0x82), octets(value, 0x83))


@dataclass(frozen=True, slots=True)
class Result:
    """How an operation ended. ``message``: what the server says to whoever looks after it."""

    code: int
    message: str = ""

    @property
    def right(self) -> bool:
        return self.code == Code.SUCCESS


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that was found. Names of attributes in small letters; values that aren't text are left out."""

    dn: str
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of the server. ``id`` 0: nobody had asked."""

    id: int
    tag: int
    result: Result | None = None
    entry: Entry | None = None


def bind(id: int, dn: str, password: str) -> bytes:
    """Prove to be somebody. An empty password would prove nothing and succeed all the same (RFC 4513 section 5.1.2).

    :raises ValueError: the name or the password is empty.
    """
    if not dn or not password:
        raise ValueError("a bind without a name or a password")
    return _message(id, element(BIND, integer(_VERSION), octets(dn), octets(password, 0x80)))


def search(
    id: int, base: str, scope: Scope, filter: Filter, attributes: Sequence[str], *, most: int, seconds: int
) -> bytes:
    """Look for entries. Aliases aren't followed. ``most`` entries, within so many ``seconds``."""
    wanted = element(SEQUENCE, *(octets(name) for name in attributes))
    limits = (integer(most), integer(seconds), boolean(False))
    return _message(
        id, element(SEARCH, octets(base), integer(scope, ENUMERATED), integer(0, ENUMERATED), *limits, filter, wanted)
    )


def start_tls(id: int) -> bytes:
    """From the answer on, TLS (RFC 4511 section 4.14)."""
    return _message(id, element(EXTENDED, octets(START_TLS, 0x80)))


def unbind(id: int) -> bytes:
    """Good bye."""
    return _message(id, element(UNBIND))


def _message(id: int, operation: bytes) -> bytes:
    return element(SEQUENCE, integer(id), operation)


def answer(content: bytes) -> Answer:
    """A server's message, from the content of its outermost sequence. Raises BadEncodingError."""
    parts = list(elements(content))
    if len(parts) < 2 or parts[0][0] != INTEGER:
        raise BadEncodingError("no message of LDAP")
    id, (tag, body) = number(parts[0][1]), parts[1]
    if tag == ENTRY:
        return Answer(id, tag, entry=_entry(body))
    if tag in (BIND_ANSWER, DONE, EXTENDED_ANSWER):
        return Answer(id, tag, result=_result(body))
    return Answer(id, tag)


def _result(body: bytes) -> Result:
    parts = list(elements(body))
    if len(parts) < 3 or parts[0][0] != ENUMERATED or parts[2][0] != OCTETS:
        raise BadEncodingError("no result of LDAP")
    return Result(number(parts[0][1]), parts[2][1].decode(errors="replace"))


def _entry(body: bytes) -> Entry:
    parts = list(elements(body))
    if len(parts) != 2 or parts[0][0] != OCTETS or parts[1][0] != SEQUENCE:
        raise BadEncodingError("no entry of LDAP")
    found: dict[str, tuple[str, ...]] = {}
    for tag, attribute in elements(parts[1][1]):
        inner = list(elements(attribute))
        if tag != SEQUENCE or len(inner) != 2 or inner[0][0] != OCTETS or inner[1][0] != SET:
            raise BadEncodingError("no attribute of LDAP")
        name = _text(inner[0][1]).partition(";")[0].lower()
        values = [value.decode() for _tag, value in elements(inner[1][1]) if _is_text(value)]
        found[name] = (*found.get(name, ()), *values)
    return Entry(_text(parts[0][1]), found)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadEncodingError("a name that isn't text") from None
