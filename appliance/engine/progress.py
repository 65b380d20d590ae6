"""Progress of long work: real steps with their times; moving on a terminal, elsewhere a line when a step begins and ends."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status


class Steps(AbstractContextManager["Steps"]):
    """Steps one after another: each :meth:`step` ends the one before it and says how long that took."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._current = ""
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        """Begin the step ``text``."""
        self._finish("✓", "green")
        self._current, self._began = text, time.monotonic()
        if self._console.is_terminal:
            self._status = self._console.status(f"{escape(text)} …")
            self._status.start()
        else:
            self._console.print(f"  {escape(text)} …")

    def _finish(self, mark: str, colour: str) -> None:
        if self._status:
            self._status.stop()
            self._status = None
        if self._current:
            seconds = time.monotonic() - self._began
            self._console.print(f"[{colour}]{mark}[/] {escape(self._current)} [dim]{seconds:.1f} s[/]")
            self._current = ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish("✗" if kind else "✓", "red" if kind else "green")
