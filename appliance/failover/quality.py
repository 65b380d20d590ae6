"""What people think of what they hear: MOS by the E-model (ITU-T G.107), for G.711 with concealment of losses (G.113 appendix I: Ie 0, Bpl 25.1)."""

from __future__ import annotations

from typing import Final

BUFFER_MS: Final = 60.0
"""A phone's jitter buffer: what comes later than that behind the earliest is lost to it."""
GOOD_MOS: Final = 4.03
FAIR_MOS: Final = 3.6
"""Below these, some and many people are dissatisfied (ITU-T G.107, annex B)."""
IE: Final = 0.0
BPL: Final = 25.1


def heard(rtt_ms: float, late_ms: float, lost: float) -> float:
    """MOS of voice by a line, one way. :param rtt_ms: there and back; :param late_ms: behind the fastest packets, on average; :param lost: share, 0 to 1."""
    return mos(BUFFER_MS + late_ms + rtt_ms / 2, lost)


def mos(one_way_ms: float, lost: float) -> float:
    """Mean opinion score, 1 to 4.4.

    :param one_way_ms: from mouth to ear, the buffer included. :param lost: share of packets that were lost or came too late, 0 to 1.
    """
    percent = 100 * lost
    impaired = IE + (95 - IE) * percent / (percent + BPL)
    worth = 93.2 - 0.024 * one_way_ms - 0.11 * max(0.0, one_way_ms - 177.3) - impaired
    if worth <= 0:
        return 1.0
    return 1 + 0.035 * worth + worth * (worth - 60) * (100 - worth) * 7e-6
