"""Finds known secrets in a text (pure), in whatever form somebody may have written them: as text, in hexadecimal, in base64 of either alphabet; with or without
line ends, quotes, colons and commas in between; within something larger that was encoded as a whole; and pieces of them, of :data:`PIECE` characters at least.
"""

from __future__ import annotations

import base64
import re
import string
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

SHORTEST: Final = 6
"""Characters of a form that is looked for: what is shorter stands in every text."""
GRAM: Final = 16
PIECE: Final = 2 * GRAM - 1
"""A piece of so many characters has one of :data:`GRAM` at a place that is looked at."""
SAME: Final = 8
"""Places of one form that have the same characters, and are all tried."""
_BETWEEN: Final = re.compile(r"(?:\\[nrt]|[\s\\\"',:])+")
_BASE64: Final = frozenset(string.ascii_letters + string.digits + "+/-_")
_UNRESERVED: Final = frozenset(string.ascii_letters + string.digits + "-._~")
"""Characters of addresses that stand for themselves (RFC 3986 §2.3)."""
_ONE_ALPHABET: Final = str.maketrans("-_", "+/")
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

Span = tuple[int, int]


class Traces:
    """See this module. ``secrets``: what nobody may find."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        found = sorted({secret for secret in secrets if secret})
        self._plain = _Forms(form for secret in found for form in _texts(secret))
        self._hex = _Forms(secret.hex() for secret in found)
        self._base64 = _Forms(form for secret in found for form in _encoded(secret))

    def spans(self, text: str) -> list[Span]:
        """Where there is any of them, in order, none touching another."""
        dense, places = _dense(text)
        found = [(*_back(span, places), False) for span in self._plain.spans(dense)]
        found += [(*_back(span, places), False) for span in self._hex.spans(dense.translate(_LOWER))]
        found += [(*_back(span, places), True) for span in self._base64.spans(dense.translate(_ONE_ALPHABET))]
        return _merged(_wider(text, begin, end) if encoded else (begin, end) for begin, end, encoded in found)


class _Forms:
    """Several texts that are looked for in one that is written in the same way."""

    def __init__(self, forms: Iterable[str]) -> None:
        self._all = sorted({form for form in forms if len(form) >= SHORTEST})
        self._grams: dict[str, list[tuple[str, int]]] = {}
        for form in self._all:
            for at in range(len(form) - PIECE + GRAM):
                known = self._grams.setdefault(form[at : at + GRAM], [])
                if len(known) < SAME and len(form) >= PIECE:
                    known.append((form, at))

    def spans(self, text: str) -> list[Span]:
        found: list[Span] = []
        for form in self._all:
            at = text.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = text.find(form, at + len(form))
        if self._grams:
            for at in range(0, len(text) - GRAM + 1, GRAM):
                for form, where in self._grams.get(text[at : at + GRAM], ()):
                    begin, end = _as_far_as_it_goes(text, at, form, where)
                    if end - begin >= PIECE:
                        found.append((begin, end))
        return found


def _as_far_as_it_goes(text: str, at: int, form: str, where: int) -> Span:
    begin, end = at, at + GRAM
    back = where
    while begin and back and text[begin - 1] == form[back - 1]:
        begin, back = begin - 1, back - 1
    on = where + GRAM
    while end < len(text) and on < len(form) and text[end] == form[on]:
        end, on = end + 1, on + 1
    return begin, end


def _texts(secret: bytes) -> list[str]:
    """As it is, and as in an address."""
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return []
    in_address = "".join(chr(octet) if chr(octet) in _UNRESERVED else f"%{octet:02X}" for octet in secret)
    return [_dense(form)[0] for form in (text, in_address)]


def _encoded(secret: bytes) -> list[str]:
    """What base64 makes of it by itself; and whatever stands before and after it: only characters that hold nothing else."""
    made = [base64.b64encode(secret).decode().rstrip("=")]
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        octets = before + len(secret)
        whole = base64.b64encode(bytes(before) + secret).decode()
        made.append(whole[skipped : 8 * octets // 6])
    return made


def _dense(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Without what may stand between a secret's characters; and which place there is which here, for each stretch."""
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    length = last = 0
    for found in _BETWEEN.finditer(text):
        if found.start() > last:
            places.append((length, last))
            parts.append(text[last : found.start()])
            length += found.start() - last
        last = found.end()
    places.append((length, last))
    parts.append(text[last:])
    return "".join(parts), places


def _back(span: Span, places: list[tuple[int, int]]) -> Span:
    """The same span in the text as it was."""

    def there(at: int) -> int:
        dense, plain = places[bisect_right(places, (at, 1 << 62)) - 1]
        return plain + at - dense

    return there(span[0]), there(span[1] - 1) + 1


def _wider(text: str, begin: int, end: int) -> Span:
    """With the characters at its ends that hold a part of it."""
    if begin and text[begin - 1] in _BASE64:
        begin -= 1
    if end < len(text) and text[end] in _BASE64:
        end += 1
    while end < len(text) and text[end] == "=":
        end += 1
    return begin, end


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged
