"""How much is lost of what comes by a path: its numbers against how many came, over the last seconds (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping
from typing import Any, Final

SPAN_S: Final = 10.0


class Counts:
    """Of paths that a relay tells of, each by a key of the caller's."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, deque[tuple[float, int, int]]] = {}

    def note(self, key: Hashable, path: Mapping[str, Any], now: float) -> None:
        """A path as its relay tells it (``in``: the largest number, and how many came)."""
        counts = self._counts.setdefault(key, deque())
        highest, packets = int(path["in"]["highest"]), int(path["in"]["packets"])
        if counts and (highest < counts[-1][1] or packets < counts[-1][2]):
            counts.clear()  # another session
        if not counts or counts[-1][1:] != (highest, packets):
            counts.append((now, highest, packets))
        while len(counts) > 2 and counts[1][0] <= now - SPAN_S:
            counts.popleft()

    def keep(self, keys: Collection[Hashable]) -> None:
        """Forget all others."""
        for key in self._counts.keys() - set(keys):
            del self._counts[key]

    def loss(self, key: Hashable) -> float | None:
        """Share of what was sent; None: nothing was, or nobody can tell."""
        counts = tuple(self._counts.get(key, ()))  # whoever notes may be another thread
        if len(counts) < 2:
            return None
        sent, came = counts[-1][1] - counts[0][1], counts[-1][2] - counts[0][2]
        return max(0.0, 1 - came / sent) if sent else None
