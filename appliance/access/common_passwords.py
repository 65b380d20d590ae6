"""Passwords that are tried first: common words, names, keyboard walks, product words, in every usual dress.

``common_passwords.txt`` holds the words (made by ``tools/common_passwords``); the dress is taken off here: capitals,
letters written as digits (p4ssw0rd), digits and punctuation before, after and between, a word said twice, two common
words in a row.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

_LEET: Final = str.maketrans("013457@$!", "oieastasi")
_OTHER_LEET: Final = str.maketrans("1!|689", "lllbgg")
FEW: Final = 4
"""So many different characters are no password, however long."""
UNIT_MAX: Final = 8
"""Something this short, over and over, is no password."""


def is_common(password: str) -> bool:
    """Whether a password (normalised) is common. Its length doesn't matter."""
    text = password.casefold()
    if len(set(text)) <= FEW or _repeats(text):
        return True
    return any(_said(form) for form in _forms(text))


def _forms(text: str) -> set[str]:
    """What may be meant: as it stands, with digits read as letters; each without its dress."""
    read = {text, text.translate(_LEET), text.translate(_OTHER_LEET).translate(_LEET)}
    forms = set(read)
    for form in read:
        forms.add(_stripped(form))
        forms.add(_stripped(text).translate(_LEET))
        letters = "".join(filter(str.isalpha, form))
        if 3 * len(letters) >= 2 * len(form):  # else the digits are the greater part of it
            forms.add(letters)
        forms.add("".join(filter(str.isalnum, form)))
    return {form for form in forms if form}


def _stripped(text: str) -> str:
    """Without the digits and punctuation before and after."""
    inner = [position for position, char in enumerate(text) if char.isalpha()]
    return text[inner[0] : inner[-1] + 1] if inner else ""


def _said(form: str) -> bool:
    """Whether it is one common word, one over and over, or two in a row."""
    words = common_words()
    if form in words or _repeats(form, words):
        return True
    return any(form[:cut] in words and form[cut:] in words for cut in range(3, len(form) - 2))


def _repeats(text: str, words: frozenset[str] = frozenset()) -> bool:
    """Whether it is something short, or a common word, over and over; the last time perhaps not to its end."""
    length = next((size for size in range(1, len(text) // 2 + 1) if text[size:] == text[:-size]), 0)
    return 0 < length <= UNIT_MAX or (length > 0 and text[:length] in words)


@cache
def common_words() -> frozenset[str]:
    """The list."""
    text = files("appliance.access").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))
