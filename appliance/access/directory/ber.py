"""The Basic Encoding Rules as far as LDAP uses them (ITU-T X.690 section 8; RFC 4511 section 5.1): definite lengths, tags of one
byte. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
OCTETS: Final = 0x04
ENUMERATED: Final = 0x0A
SEQUENCE: Final = 0x30
SET: Final = 0x31
LONGEST: Final = 4 * 1024 * 1024
"""Bytes of the longest element that is read: an answer about one person has some thousands."""


class BadEncodingError(ValueError):
    """What came isn't BER as LDAP uses it."""


def element(tag: int, *content: bytes) -> bytes:
    """One element. ``tag``: its identifier octet."""
    body = b"".join(content)
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    octets = (size.bit_length() + 7) // 8
    return bytes((tag, 0x80 | octets)) + size.to_bytes(octets, "big") + body


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A whole number, or an enumeration's value."""
    return element(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(value: str | bytes, tag: int = OCTETS) -> bytes:
    """Bytes, or text as UTF-8. Raises UnicodeEncodeError for text that isn't any (a lone surrogate)."""
    return element(tag, value.encode() if isinstance(value, str) else value)


def boolean(value: bool, tag: int = BOOLEAN) -> bytes:
    """True is 255 (RFC 4511 section 5.1)."""
    return element(tag, b"\xff" if value else b"\x00")


def header(data: bytes) -> tuple[int, int, int] | None:
    """Tag, size of the header and size of the content of the element that begins here; None: more bytes are needed.

    :raises BadEncodingError: it isn't one, or one that is longer than :data:`LONGEST`.
    """
    if len(data) < 2:
        return None
    tag, first = data[0], data[1]
    if tag & 0x1F == 0x1F:
        raise BadEncodingError("a tag of several bytes")
    if first < 0x80:
        return tag, 2, first
    octets = first & 0x7F
    if not 1 <= octets <= 4:
        raise BadEncodingError("a length that LDAP doesn't use")
    if len(data) < 2 + octets:
        return None
    size = int.from_bytes(data[2 : 2 + octets], "big")
    if size > LONGEST:
        raise BadEncodingError(f"an element of {size} bytes")
    return tag, 2 + octets, size


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of each element, one after the other. Raises BadEncodingError."""
    while data:
        found = header(data)
        if found is None or sum(found[1:]) > len(data):
            raise BadEncodingError("an element that is cut short")
        tag, start, size = found
        yield tag, data[start : start + size]
        data = data[start + size :]


def number(content: bytes) -> int:
    """The value of an integer's or enumeration's content."""
    if not 1 <= len(content) <= 8:
        raise BadEncodingError("a number of a size that LDAP doesn't use")
    return int.from_bytes(content, "big", signed=True)
