"""Time, in two kinds: the wall clock, which people and time servers set, and the time since the machine started, which
nobody can set. What must not open or shut when the clock jumps (throttling) counts by the second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

SLACK: Final = 5 * MINUTE
"""A time this far in the future is a matter of clocks; beyond it, the clock was set back."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now. ``wall``: ms since the epoch, UTC. ``uptime``: ms since the start of the machine, sleep included; ``boot``
    tells that start from others."""

    wall: int
    uptime: int
    boot: str


Clock = Callable[[], Moment]


def system_clock() -> Moment:
    """The machine's."""
    uptime = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Moment(time.time_ns() // 1_000_000, uptime // 1_000_000, _boot())


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def over(begun: int, lasts: int, now: int) -> bool:
    """Whether what began at ``begun`` and lasts ``lasts`` ms has ended. What began in the future has: the clock was set
    back, and it would last for as long as that was."""
    return now - begun > lasts or begun - now > SLACK
