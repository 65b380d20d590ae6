"""Runtime values of deleted objects (do not disturb, forwards …) are removed from the engine's database."""

from __future__ import annotations

import time
from typing import Final

from appliance.applier.journal import Journal
from appliance.applier.link import EngineLink, Run
from appliance.core.document import Document

FLUSHED_S: Final = 5.0
"""Seconds after which the engine has written a change of its database to the disk (seen: 0.3 s not yet, 3 s yes)."""


class Collector:
    """Works off the journal's list once a missing confirm can't bring the objects back.

    The engine writes its database some time after it says so: the list stays in the journal, and an engine that was
    started anew is told again, until that time is over.
    """

    def __init__(self, journal: Journal, link: EngineLink) -> None:
        self._journal = journal
        self._link = link
        self._told: tuple[Run | None, float] | None = None

    def begin(self, document: Document) -> None:
        """There may be more to remove than last time. :raises CentralinoError: the engine doesn't answer."""
        self._told = None
        self.go_on(document)

    def go_on(self, document: Document) -> None:
        """Do what is due. Objects that are back in the document keep their values."""
        state, link = self._journal.state, self._link
        if not state.collect or state.confirm is not None:
            return
        if self._told is not None and self._told[0] == link.run:
            if time.monotonic() - self._told[1] > FLUSHED_S:
                self._journal.update(collect=())
            return
        gone = [each for each in state.collect if each.id not in document.objects.get(each.kind, {})]
        if gone and not link.answers:
            return
        for each in gone:
            link.forget(each.kind, each.id)
        self._told = link.run, time.monotonic()
