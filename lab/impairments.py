"""What can be wrong with a line, by name; and what kinds of second lines there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Way:
    """What happens to a line's packets in one direction.

    :param delay_ms: each comes that much later. :param jitter_ms: and by so much more on the average, evenly between nothing and twice that; packets overtake each other.
    :param loss: share that is lost, 0 to 1. :param burst_every_s: seconds between two times of ``burst_s`` in which everything is lost, on the average.
    :param rate_kbit: what it carries, kbit/s; what waits longer than :data:`lab.wire.QUEUE_S` is lost. :param longest: octets of the longest packet that passes.
    :param flap_s: dead for so long, well for so long, and so on.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    burst_every_s: float | None = None
    burst_s: float = 0.2
    rate_kbit: float | None = None
    longest: int | None = None
    flap_s: float | None = None


WELL: Final = Way()


@dataclass(frozen=True, slots=True)
class Impairment:
    """One thing that can be wrong. ``up``: from the branch to the centre. ``lying_names``: what asks for names over the line gets wrong addresses."""

    up: Way = WELL
    down: Way = WELL
    lying_names: bool = False


def _both(way: Way) -> Impairment:
    return Impairment(way, way)


IMPAIRMENTS: Final[Mapping[str, Impairment]] = {
    "well": Impairment(),
    "blackhole": _both(Way(loss=1.0)),
    "oneway-up": Impairment(up=Way(loss=1.0)),
    "oneway-down": Impairment(down=Way(loss=1.0)),
    "loss3": _both(Way(loss=0.03)),
    "bursts": _both(Way(burst_every_s=2.0)),
    "jitter60": _both(Way(jitter_ms=60.0)),
    "squeeze": _both(Way(rate_kbit=128.0)),
    "flapping": _both(Way(flap_s=5.0)),
    "small-packets": _both(Way(longest=1400)),
    "wrong-names": Impairment(lying_names=True),
}

PROFILES: Final[Mapping[str, Way]] = {
    "same": WELL,
    "10ms": Way(delay_ms=10.0), "10ms-loss1": Way(delay_ms=10.0, loss=0.01),
    "25ms": Way(delay_ms=25.0), "25ms-loss1": Way(delay_ms=25.0, loss=0.01),
    "45ms": Way(delay_ms=30.0, jitter_ms=15.0), "45ms-loss1": Way(delay_ms=30.0, jitter_ms=15.0, loss=0.01),
    "700ms": Way(delay_ms=700.0), "700ms-loss1": Way(delay_ms=700.0, loss=0.01),
}  # fmt: skip
"""How much slower than the first line others are, each way: the same provider's second line, another provider's, mobile data (45 ± 15 ms), a satellite."""


def together(nature: Way, harm: Way) -> Way:
    """What a line of that nature does to packets when it is harmed as well."""
    return Way(
        nature.delay_ms + harm.delay_ms,
        nature.jitter_ms + harm.jitter_ms,
        1 - (1 - nature.loss) * (1 - harm.loss),
        harm.burst_every_s,
        harm.burst_s,
        harm.rate_kbit,
        harm.longest,
        harm.flap_s,
    )
