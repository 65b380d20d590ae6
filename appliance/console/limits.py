"""How often somebody may ask: a token bucket for each, in this process's memory."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

KEPT: Final = 10_000
"""Buckets remembered; the one that was idle for longest goes first, and is full by then."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``left``: requests that may follow at once; ``wait_s``: seconds until the next is allowed, 0 if this one is."""

    limit: int
    left: int
    wait_s: int


class Buckets:
    """``burst`` requests at once, ``per_second`` on average. Thread-safe."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str, now: float) -> Verdict:
        """Count one request. ``now``: seconds of a clock that never goes back."""
        with self._lock:
            tokens, then = self._held.pop(who, (float(self._burst), now))
            tokens = min(self._burst, tokens + max(0.0, now - then) * self._per_second)
            allowed = tokens >= 1
            tokens -= allowed
            self._held[who] = tokens, now
            while len(self._held) > KEPT:
                self._held.popitem(last=False)
        wait = 0 if allowed else math.ceil((1 - tokens) / self._per_second)
        return Verdict(self._burst, int(tokens), wait)
