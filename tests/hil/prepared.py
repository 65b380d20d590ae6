"""Daemons that have their imports done: each is a fork of one process that did them, for tests that start a hundred.

``python -m tests.hil.prepared MODULE`` is that process. It is told by lines of JSON on standard input, ``[log, further
environment]``; it answers each with the daemon's process id, and with that and the exit code when one has ended.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.hil.agents.process import Child


class Forked:
    """One of the daemons: what :class:`Child` uses of :class:`subprocess.Popen`."""

    stdin = stdout = None

    def __init__(self, prepared: Prepared, pid: int) -> None:
        self._prepared, self.pid = prepared, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float) -> int:
        if self.returncode is None:
            self.returncode = self._prepared.code(self.pid, timeout)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkedChild(Child):
    """The same as a process of the tests: it is in a process group of its own, too."""

    def __init__(self, prepared: Prepared, log: Path, pid: int) -> None:
        self.argv, self.log = prepared.child.argv, log
        self.process = Forked(prepared, pid)  # type: ignore[assignment]


class Prepared:
    """The process with the imports, seen from a test. ``child``: itself, with pipes."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._codes: dict[int, int] = {}

    def start(self, log: Path, environment: Mapping[str, str]) -> Child:
        """A daemon."""
        stdin = self.child.process.stdin
        assert stdin is not None
        stdin.write(json.dumps([str(log), dict(environment)]).encode() + b"\n")
        stdin.flush()
        while len(words := self._line()) > 1:
            self._codes[words[0]] = words[1]
        return ForkedChild(self, log, words[0])

    def code(self, pid: int, timeout_s: float) -> int:
        """The exit code of a daemon, waited for.

        :raises subprocess.TimeoutExpired: it still runs.
        """
        stdout = self.child.process.stdout
        while pid not in self._codes:
            if not select.select([stdout], [], [], timeout_s)[0]:
                raise subprocess.TimeoutExpired(self.child.argv, timeout_s)
            ended, code = self._line()
            self._codes[ended] = code
        return self._codes[pid]

    def _line(self) -> list[int]:
        """A line, read byte by byte: what is left must be seen by select()."""
        stdout = self.child.process.stdout
        assert stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(stdout.fileno(), 1)
            assert byte, f"it has ended: {self.child.text()}"
            line += byte
        return [int(word) for word in line.split()]


def serve(module: str) -> None:
    """Import the daemon's ``__main__``; run it in forks until standard input ends."""
    main = importlib.import_module(f"{module}.__main__").main
    living: dict[int, int] = {}  # by what select() is given for each
    with open(0, "rb", buffering=0, closefd=False) as told:
        while True:
            for ready in select.select([0, *living], [], [])[0]:
                if ready in living:
                    pid = living.pop(ready)
                    os.close(ready)
                    print(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201 (the protocol)
                elif line := told.readline():
                    pid = os.fork()
                    if not pid:
                        become(*json.loads(line))
                        sys.exit(main())
                    living[os.pidfd_open(pid)] = pid
                    print(pid, flush=True)  # noqa: T201
                else:
                    return


def become(log: str, environment: Mapping[str, str]) -> None:
    """Be as a process that was started for itself."""
    os.setsid()
    os.closerange(3, 256)
    with Path(os.devnull).open("rb") as nothing, Path(log).open("ab") as out:
        for own, taken in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(own.fileno(), taken)
    os.environ.update(environment)


if __name__ == "__main__":
    serve(sys.argv[1])
