"""Ranges of numbers as patterns of the dialplan (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.pbx.numbers.model import NumberRange


def patterns(ranges: Iterable[NumberRange]) -> tuple[str, ...]:
    """The fewest patterns (``_2XX``, ``_30[0-4]X``) that match exactly the numbers of the ranges."""
    found = dict.fromkeys(pattern for item in ranges for pattern in _cover(item.first, item.last))
    return tuple(f"_{pattern}" for pattern in found)


def _cover(first: str, last: str) -> Iterator[str]:
    """Patterns for ``first`` to ``last``, which have one length."""
    if not first:
        yield ""
        return
    if len(first) != len(last) or first > last:
        return
    head, rest = first[0], len(first) - 1
    if head == last[0]:
        yield from (head + tail for tail in _cover(first[1:], last[1:]))
        return
    low, high = int(head), int(last[0])
    if first[1:] != "0" * rest:
        yield from (head + tail for tail in _cover(first[1:], "9" * rest))
        low += 1
    whole_last = last[1:] == "9" * rest
    if not whole_last:
        high -= 1
    if low <= high:
        yield _digit(low, high) + "X" * rest
    if not whole_last:
        yield from (last[0] + tail for tail in _cover("0" * rest, last[1:]))


def _digit(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return {(0, 9): "X", (1, 9): "Z", (2, 9): "N"}.get((low, high), f"[{low}-{high}]")
