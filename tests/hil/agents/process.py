"""Background processes and waiting, the two things every agent does.

Processes are started from argv lists, write to a log file, and end with whoever started them: on `stop()`, at the
end of a `with`, and at the latest when the interpreter exits.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
DEADLINE_S = 15.0


class AgentError(AssertionError):
    """A peer didn't do what the test expects of it. An AssertionError, so that pytest shows it as a failed test."""


def eventually(probe: Callable[[], T | None], what: str, deadline_s: float = DEADLINE_S, every_s: float = 0.02) -> T:
    """Poll `probe` until it returns something true and return that; AgentError naming `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() >= end:
            raise AgentError(f"not within {deadline_s:g} s: {what}")
        time.sleep(every_s)


class Child:
    """One process of ours in its own process group, stopped by that group's id."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pipes: bool = False,
    ) -> None:
        """Start `argv`; stdout and stderr go to `log`. With `pipes`, stdin and stdout are binary pipes instead."""
        self.argv = list(argv)
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else out,
                stderr=out,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        atexit.register(self.stop)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def text(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace")

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Its exit code; AgentError when it still runs after the deadline."""
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AgentError(f"{self.argv[0]} still runs after {deadline_s:g} s\n{self.text()[-2000:]}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process group (ignored when it is gone)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self, grace_s: float = 3.0) -> None:
        """End it: TERM, and KILL after the grace time. Harmless when it has ended already."""
        atexit.unregister(self.stop)
        if self.running:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self.process.wait(grace_s)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
