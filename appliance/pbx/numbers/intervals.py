"""Ranges of numbers, and fast answers to what lies in them. Numbers of one length compare as text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers ``first`` to ``last``, of one length: where they stand in the document, and what to call them."""

    first: str
    last: str
    path: str
    label: str

    def may_begin_with(self, prefix: str) -> bool:
        """Whether one of the numbers begins with the prefix, or the prefix with one of them."""
        length = min(len(prefix), len(self.first))
        return self.first[:length] <= prefix[:length] <= self.last[:length]


class Intervals:
    """Intervals by length, sorted, so that a number is found by bisection even where they overlap."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self.by_length: dict[int, list[Interval]] = {}
        for interval in intervals:
            self.by_length.setdefault(len(interval.first), []).append(interval)
        self._firsts: dict[int, list[str]] = {}
        self._reach: dict[int, list[str]] = {}
        for length, found in self.by_length.items():
            found.sort(key=lambda interval: (interval.first, interval.last, interval.path))
            self._firsts[length] = [interval.first for interval in found]
            reach: list[str] = []
            for interval in found:
                reach.append(max(interval.last, reach[-1]) if reach else interval.last)
            self._reach[length] = reach

    def around(self, number: str) -> Iterator[Interval]:
        """Every interval that holds the number."""
        found = self.by_length.get(len(number), [])
        at = bisect_right(self._firsts.get(len(number), []), number) - 1
        # Nothing further left reaches the number once the greatest end so far is before it.
        while at >= 0 and self._reach[len(number)][at] >= number:
            if found[at].last >= number:
                yield found[at]
            at -= 1

    def find(self, number: str, field: str) -> Interval | None:
        """One that holds the number and stands in a field of the number plan (``ranges[``, ``site_prefixes[``)."""
        return next((interval for interval in self.around(number) if f"/{field}" in interval.path), None)

    def holding(self, numbers: Mapping[str, object]) -> Iterator[Interval]:
        """Every interval that holds one of the numbers, once each."""
        yield from dict.fromkeys(interval for number in numbers for interval in self.around(number))

    def beginning_with(self, prefix: str) -> Interval | None:
        """One with longer numbers that begin with the prefix."""
        for length in sorted(self.by_length):
            if length > len(prefix):
                for interval in self.by_length[length]:
                    if interval.may_begin_with(prefix):
                        return interval
        return None


def overlaps(space: Intervals) -> Iterator[tuple[Interval, Interval]]:
    """Each interval that overlaps with one before it, with the one of those that reaches furthest."""
    for length in sorted(space.by_length):
        furthest: Interval | None = None
        for interval in space.by_length[length]:
            if furthest is not None and interval.first <= furthest.last:
                yield furthest, interval
            if furthest is None or interval.last > furthest.last:
                furthest = interval
