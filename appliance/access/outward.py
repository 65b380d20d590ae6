"""Asks others (directories, providers of sign-on) without being held up by them.

Whoever asks waits for so long and no longer: also while a name is being looked up, which has no deadline of its own, or somebody
sends a byte now and then. And only so many ask at once: a peer that falls silent must not use up the threads that everybody else's
requests need.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from appliance.core.errors import UnavailableError

T = TypeVar("T")
MOST: Final = 8
"""Questions at once; the portal has twice as many threads."""


class Outward:
    """Asks in threads of its own, which end with the process whatever they wait for."""

    def __init__(self, most: int = MOST) -> None:
        self._slots = threading.BoundedSemaphore(most)

    def ask(self, question: Callable[[], T], within_s: float) -> T:
        """The answer, or the error that the question raised.

        :raises UnavailableError: ``outside_silent``, after ``within_s``; ``outside_busy``: too many wait already.
        """
        if not self._slots.acquire(blocking=False):
            raise UnavailableError(
                "too many wait for the same answer", "try again in some seconds", error_id="outside_busy"
            )
        answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put((question(), None))
            except Exception as error:  # noqa: BLE001 (raised again where it was asked)
                answers.put((None, error))
            finally:
                self._slots.release()

        threading.Thread(target=ask, name="outward", daemon=True).start()
        try:
            found, error = answers.get(timeout=within_s)
        except queue.Empty:
            raise UnavailableError("there was no answer in time", "try again", error_id="outside_silent") from None
        if error is not None:
            raise error
        return found  # type: ignore[return-value]
