"""What the applier's operations pass to each other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from appliance.applier.apply import Progress
from appliance.applier.plan import Files
from appliance.core.document import Document
from appliance.core.plan import Effect

ALL_EFFECTS: Final = tuple(effect.value for effect in Effect)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A committed revision: its document and the files made of it.

    ``kept``: names of files that stand on the disk as they were made before, when secrets could still be opened.
    """

    revision: int
    document: Document
    files: Files
    kept: frozenset[str] = frozenset()

    @property
    def known(self) -> Files:
        """The files of which what is on the disk is known: what the engine can be asked about."""
        return {name: file for name, file in self.files.items() if name not in self.kept}


@dataclass(frozen=True, slots=True)
class Options:
    """How a revision is to be applied.

    ``allow``: effects beyond *live* that are wanted. ``confirm_s``: go back unless confirmed within so many seconds.
    ``offline``: when the engine doesn't run, write the files for its next start.
    ``keep_open``: the proposal isn't marked failed when it can't be applied: whoever asks tries it again.
    """

    allow: tuple[str, ...] = ()
    confirm_s: float | None = None
    offline: bool = False
    keep_open: bool = False


def quiet(_: str) -> None:
    """No progress shown."""


class Timed:
    """A progress that also takes the time of each step."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._began: list[tuple[str, float]] = []

    def step(self, text: str) -> None:
        """The step before has ended, this one begins."""
        self._began.append((text, time.monotonic()))
        self._progress(text)

    def seconds(self) -> dict[str, float]:
        """Step → seconds it took; the last one until now."""
        ends = [*(began for _, began in self._began[1:]), time.monotonic()]
        return {text: round(end - began, 4) for (text, began), end in zip(self._began, ends, strict=True)}
