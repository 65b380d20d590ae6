"""When a program that died is started again: after 1 s, 2 s, 4 s … at most 30 s; a minute of good life resets the pause.

So one that can't live doesn't take the processor from those that can, and one that died once is back at once.
"""

from __future__ import annotations

import logging
import time
from typing import Final

FIRST_S: Final = 1.0
LONGEST_S: Final = 30.0
GOOD_LIFE_S: Final = 60.0


class Revival:
    """The pauses of one program. ``name``: as ``log`` calls it."""

    def __init__(self, name: str, log: logging.Logger) -> None:
        self._name, self._log = name, log
        self._began: float | None = None
        self._at: float | None = None
        self._pause_s = FIRST_S

    @property
    def waiting(self) -> bool:
        """Whether its death is known and its pause goes on, or is over and nobody has started it yet."""
        return self._at is not None

    def began(self) -> None:
        """It was started just now."""
        self._began, self._at = time.monotonic(), None

    def due(self) -> bool:
        """It doesn't run: whether to start it. Once it ran, that takes a pause, which begins with the first question."""
        now = time.monotonic()
        if self._began is not None and self._at is None:
            if now - self._began > GOOD_LIFE_S:
                self._pause_s = FIRST_S
            self._log.error("%s died; starting it again in %g s", self._name, self._pause_s)
            self._wait(now)
        return self._at is None or now >= self._at

    def failed(self) -> None:
        """It couldn't be started: the next pause."""
        self._wait(time.monotonic())

    def forget(self) -> None:
        """It was ended, and nobody waits for it: as if it had never run."""
        self._began, self._at, self._pause_s = None, None, FIRST_S

    def _wait(self, now: float) -> None:
        self._at = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_S)
