"""How lines were in the last ten minutes, asked of the agent every two seconds. In memory: who opens the page sees what was before."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import CentralinoError

_log = logging.getLogger("centralino.edge.console")

EVERY_S: Final = 2.0
KEPT: Final = 300


@dataclass(frozen=True, slots=True)
class Sample:
    """A line at a moment. :param at: seconds of a clock that nobody sets. ``to``, ``back``: MOS to the centre and from it, and the share that was lost; None: nobody can tell."""

    at: float
    up: bool
    to: float | None
    back: float | None
    lost: float | None
    rtt_ms: float | None


class Samples:
    """See this module. ``status``: how the edge stands. Several threads may use it."""

    def __init__(self, status: Callable[[], Mapping[str, Any]], now: Callable[[], float] = time.monotonic) -> None:
        self._status, self._now = status, now
        self._lock = threading.Lock()
        self._lines: dict[int, deque[Sample]] = {}
        self._over = threading.Event()

    def start(self) -> None:
        """Ask from now on, by a thread of its own."""
        threading.Thread(target=self._run, daemon=True, name="samples").start()

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()

    def of(self, line: int) -> list[Sample]:
        """The oldest first."""
        with self._lock:
            return list(self._lines.get(line, ()))

    def look(self) -> None:
        """Once. An edge that doesn't answer leaves a gap."""
        try:
            told = self._status()
        except CentralinoError:
            return
        now = self._now()
        found = best_ways(told)
        with self._lock:
            for gone in self._lines.keys() - found.keys():
                del self._lines[gone]
            for line, way in found.items():
                self._lines.setdefault(line, deque(maxlen=KEPT)).append(_sample(way, now))

    def _run(self) -> None:
        said = False
        while not self._over.wait(EVERY_S):
            try:
                self.look()
            except Exception:  # noqa: BLE001 (garbage of an agent of another release: the page says so, and we go on)
                if not said:
                    _log.exception("how lines stand can't be read")
                said = True
            else:
                said = False


def best_ways(told: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """By line the way by it that works, of several addresses of the centre's; the cut one where it is cut."""
    found: dict[int, Mapping[str, Any]] = {}
    for each in told.get("lines", ()):
        known = found.get(each["line"])
        if known is None or _rank(each) > _rank(known):
            found[each["line"]] = each
    return dict(sorted(found.items()))


def _rank(way: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    return way["up"], way["best"], way["cut"]


def _sample(way: Mapping[str, Any], now: float) -> Sample:
    to, back = way["to_centre"], way["from_centre"]
    if not way["up"]:
        return Sample(now, False, None, None, None, None)
    losses = [each["loss"] for each in (to, back) if each is not None and each["loss"] is not None]
    return Sample(
        now, True, None if to is None else to["mos"], None if back is None else back["mos"], max(losses, default=None), way["rtt_ms"]
    )  # fmt: skip
