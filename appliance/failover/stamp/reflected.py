"""What a sender makes of a reflector's answers (pure): what was lost each way, how late it came, and how a call would have been heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from appliance.failover.quality import heard
from appliance.failover.stamp.packets import Answer

EVERY_MS: Final = 20
"""Between two packets of a call …"""
OCTETS: Final = 172
"""… each of so many octets of UDP payload: G.711, 160 octets of voice and 12 of RTP's head (RFC 3551, RFC 3550)."""


@dataclass(frozen=True, slots=True)
class OneWay:
    """:param lost: packets; :param gap_ms: the longest time in which nothing came; :param late_ms: behind the fastest, on average; :param jitter_ms: RFC 3550 section 6.4.1."""

    lost: int
    gap_ms: float
    late_ms: float
    jitter_ms: float
    mos: float


@dataclass(frozen=True, slots=True)
class Result:
    """A call's worth of packets, there (``up``, to the centre) and back (``down``).

    :param sent: packets; :param reached: of them, at the centre; :param returned: of these, here again. :param rtt_ms: on average, None: none came back.
    """

    sent: int
    reached: int
    returned: int
    rtt_ms: float | None
    up: OneWay
    down: OneWay


@dataclass(slots=True)
class Reflected:
    """Answers as they come. Times in ns: of ours, and of the reflector's clock."""

    _answers: dict[int, tuple[Answer, int]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Answers that came, each once."""
        return len(self._answers)

    def take(self, answer: Answer, now_ns: int) -> bool:
        """Whether it is the first to that probe."""
        if answer.probe.number in self._answers:
            return False
        self._answers[answer.probe.number] = answer, now_ns
        return True

    def result(self, sent: int, reached: int, up_gap_ms: float) -> Result:
        """:param sent: probes; :param reached: how many the reflector has had, :param up_gap_ms: and its longest time without any, both as it says."""
        reached = max(reached, self.count)
        in_order = [self._answers[number] for number in sorted(self._answers)]
        trips = [(now - each.probe.sent - (each.sent - each.received)) / 1e6 for each, now in in_order]
        rtt = sum(trips) / len(trips) if trips else None
        ups = [(each.received - each.probe.sent) / 1e6 for each, _now in in_order]
        downs = [(now - each.sent) / 1e6 for each, now in in_order]
        came = sorted(now for _each, now in in_order)
        down_gap = max((later - earlier for earlier, later in pairwise(came)), default=0) / 1e6
        return Result(
            sent, reached, self.count, rtt,
            _way(ups, sent, reached, up_gap_ms, rtt), _way(downs, reached, self.count, down_gap, rtt),
        )  # fmt: skip


def _way(transits: list[float], sent: int, came: int, gap_ms: float, rtt_ms: float | None) -> OneWay:
    """``transits``: ms by two clocks that don't agree, in the order of sending."""
    lost = max(0, sent - came)
    if not transits or rtt_ms is None:
        return OneWay(lost, gap_ms, 0.0, 0.0, 1.0)
    fastest = min(transits)
    late = sum(each - fastest for each in transits) / len(transits)
    jitter = 0.0
    for earlier, later in pairwise(transits):
        jitter += (abs(later - earlier) - jitter) / 16
    return OneWay(lost, gap_ms, late, jitter, heard(rtt_ms, late, lost / sent if sent else 1.0))
