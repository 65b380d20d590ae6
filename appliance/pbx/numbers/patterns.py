"""Regular expressions of phonenumbers, rewritten for the engine's ``REGEX()`` (POSIX extended, regcomp(3)).

phonenumbers keeps to a small dialect: digits, ``\\d``, ``[…]``, ``(?:…)``, ``|``, ``?`` and ``{…}``. Anything else is
refused, so that a new release of it can't slip something past us that POSIX reads otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

DIGITS: Final = "0123456789"
_DIALECT: Final = re.compile(r"(?:[0-9|?]|\\d|\[[0-9-]+\]|\(\?:|\)|\{[0-9]+(?:,[0-9]*)?\})*")


def posix(pattern: str) -> str:
    """The pattern as a POSIX extended regular expression, not anchored.

    Raises ValueError when it leaves the dialect described above.
    """
    if not _DIALECT.fullmatch(pattern):
        msg = f"{pattern!r} is beyond the dialect of numbering tables"
        raise ValueError(msg)
    return pattern.replace("(?:", "(").replace(r"\d", "[0-9]")


def alternatives(pattern: str) -> list[str]:
    """The parts of a pattern between its outermost ``|``."""
    parts, depth = [""], 0
    for char in pattern:
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


_GROUP: Final = re.compile(r"\(\?:")
_ATOM: Final = re.compile(r"(?P<set>[0-9]|\\d|\[[0-9-]+\])(?P<optional>\?|\{0)?")


@cache
def first_digits(pattern: str) -> frozenset[str]:
    """Digits with which a match of the pattern can begin (an upper bound when a match may be empty)."""
    return frozenset().union(*map(_first_of_sequence, alternatives(pattern)))


def _first_of_sequence(sequence: str) -> frozenset[str]:
    if _GROUP.match(sequence):
        end = _closing(sequence)
        inner, rest = sequence[3:end], sequence[end + 1 :]
        return first_digits(inner) | (_first_of_sequence(rest[1:]) if rest.startswith("?") else frozenset())
    atom = _ATOM.match(sequence)
    if atom is None:
        return frozenset(DIGITS if sequence else "")
    found = frozenset(digit for digit in DIGITS if re.fullmatch(atom["set"], digit))
    return found | _first_of_sequence(sequence[atom.end() :]) if atom["optional"] else found


def _closing(sequence: str) -> int:
    depth = 0
    for position, char in enumerate(sequence):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return position
    msg = f"{sequence!r} has an open bracket"
    raise ValueError(msg)


def starting_with(pattern: str, digit: str) -> str:
    """The alternatives of a pattern that can match something that begins with the digit; empty when there are none."""
    return "|".join(part for part in alternatives(pattern) if digit in first_digits(part))


def of_lengths(lengths: Iterable[int]) -> str:
    """A POSIX expression for digits of these lengths: {6, 7, 8, 10} → ``[0-9]{6,8}|[0-9]{10}``."""
    runs: list[tuple[int, int]] = []
    for length in sorted(set(lengths)):
        if runs and runs[-1][1] == length - 1:
            runs[-1] = (runs[-1][0], length)
        else:
            runs.append((length, length))
    return "|".join(f"[0-9]{{{low},{high}}}" if low < high else f"[0-9]{{{low}}}" for low, high in runs)
