"""How long to wait after failures: three times as long each time, up to an hour, give or take a fifth so that endpoints that failed
together aren't tried together."""

from __future__ import annotations

import random
from typing import Final

from appliance.notifications.queue import LONGEST_WAIT_S

FIRST_WAIT_S: Final = 2.0
FACTOR: Final = 3.0
JITTER: Final = 0.2


def wait_s(failures: int, asked_s: float | None = None) -> float:
    """Seconds to wait after so many failures in a row (1 or more); ``asked_s``: what the receiver asks for, within our limits."""
    wait = FIRST_WAIT_S * FACTOR ** min(max(0, failures - 1), 20)
    if asked_s is not None:
        wait = max(wait, asked_s)
    return min(wait, LONGEST_WAIT_S) * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (no secret depends on it)
