"""How good the way to a branch is: echoes sent and answered within the last half minute, as loss and round trip (pure).

Times come in, in seconds of a clock that doesn't go back; nothing here looks at one.

What happens when…

* it never answered one: nothing is claimed. A router of a third party may be told to keep silent. What went out before the first answer
  isn't counted: the tunnel may not have been ready;
* it answered once and then no more: that is loss, until its session ends;
* an answer comes later than :data:`LATE_S`: lost, as it would be for a call;
* an answer comes twice, or to nothing that was asked: it is ignored.
"""

from __future__ import annotations

import statistics
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 30.0
"""Seconds that a figure is taken over."""
LATE_S: Final = 2.0
KEPT_MAX: Final = 64
"""Echoes of one branch that are remembered, whatever the pace."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of a branch's way; ``None``: nothing.

    :param rtt_ms: round trip of the last echo that was answered within the window, ms.
    :param median_ms: of all that were, ms.
    :param loss: share of the echoes that weren't answered in time, 0 to 1.
    """

    rtt_ms: float | None = None
    median_ms: float | None = None
    loss: float | None = None


class Window:
    """The echoes of one session, by number."""

    def __init__(self) -> None:
        self._echoes: OrderedDict[int, tuple[float, float | None]] = OrderedDict()
        self._heard = False

    def sent(self, number: int, at: float) -> None:
        """An echo went out. Numbers are never used twice."""
        self._echoes[number] = (at, None)
        while len(self._echoes) > KEPT_MAX or next(iter(self._echoes.values()))[0] < at - WINDOW_S:
            self._echoes.popitem(last=False)

    def answered(self, number: int, at: float) -> None:
        """Its answer came."""
        sent, trip = self._echoes.get(number, (0.0, 0.0))
        if trip is None and at - sent <= LATE_S:
            while not self._heard and next(iter(self._echoes)) != number:
                self._echoes.popitem(last=False)  # from before it was there
            self._echoes[number] = (sent, max(0.0, at - sent))
            self._heard = True

    def quality(self, now: float) -> Quality:
        """As it is now."""
        if not self._heard:
            return Quality()
        lately = [(sent, trip) for sent, trip in self._echoes.values() if sent >= now - WINDOW_S]
        trips = [1000 * trip for _, trip in lately if trip is not None]
        lost = sum(trip is None and now - sent > LATE_S for sent, trip in lately)
        if not trips and not lost:
            return Quality()
        return Quality(
            trips[-1] if trips else None,
            statistics.median(trips) if trips else None,
            lost / (lost + len(trips)),
        )
