"""Starts the appliance's processes in order, restarts those that die, stops them in reverse order.

What happens when…

* a process dies: it is started again after 1 s, 2 s, 4 s … at most 30 s; a minute of good life resets the wait;
* a process doesn't become ready in time: everything started so far is stopped and the error names its log;
* the supervisor is told to stop, at any moment, also while something starts: what was started so far is stopped;
* the supervisor itself is killed: all but the web processes go on, the engine with its calls (law 1); the next start takes the
  engine over and replaces the others, found by their PID files; ``centralino stop`` ends them all.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from appliance.core.errors import UnavailableError
from appliance.engine.logs import bound_ours
from appliance.engine.processes import Interrupted, command_of, end, held_together, note, noted, started
from appliance.engine.revival import Revival

_log = logging.getLogger("centralino.supervisor")

POLL_S: Final = 0.2
TEND_S: Final = 10.0


class Service(Protocol):
    """Something the supervisor keeps alive."""

    name: str

    def start(self) -> None:
        """Start it and return once it is ready. Raises CentralinoError."""

    def pid(self) -> int | None:
        """Process id while it runs, else None."""

    def tend(self) -> None:
        """What is to be done now and then while it runs. May raise OSError."""

    def stop(self) -> None:
        """Stop it, politely first. Never raises."""


@dataclass
class Program:
    """A service that is one program in the foreground; its output goes to a log file.

    ``ready`` is polled until true, ``ready_s`` seconds at most.
    """

    name: str
    argv: Sequence[str]
    log: Path
    pid_file: Path
    ready: Callable[[], bool] | None = None
    ready_s: float = 20.0
    stop_s: float = 10.0
    env: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, replacing one that an earlier supervisor left behind."""
        self._end_leftover()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with held_together(), self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    list(self.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.env},
                    start_new_session=True,
                )
                note(self.pid_file, self._process.pid)
            self._wait_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.ready_s
        while self.ready is not None and not self.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                how = "ended" if process.poll() is not None else f"was not ready within {self.ready_s:g} s"
                raise UnavailableError(
                    f"{self.name} {how} at start", f"its log says why: {self.log}", error_id="start_failed"
                )
            time.sleep(POLL_S / 4)

    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def tend(self) -> None:
        """Keep its log from filling the disk."""
        if bound_ours(self.log):
            _log.info("%s: log rotated", self.name)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to its whole process group; also to one that an earlier supervisor left."""
        if self._process is None:
            self._end_leftover()
            return
        if self._process.poll() is None:
            end(self._process.pid, self.stop_s, group=True)
        with contextlib.suppress(subprocess.TimeoutExpired):  # killed, but the kernel can't let it go yet
            self._process.wait(self.stop_s)
        self.pid_file.unlink(missing_ok=True)

    def leftover(self) -> int | None:
        """The process of an earlier supervisor, if it still runs."""
        pid = noted(self.pid_file)
        return pid if pid is not None and command_of(pid) == [str(word) for word in self.argv] else None

    def _end_leftover(self) -> None:
        pid = self.leftover()
        if pid is not None:
            _log.warning("%s: ending process %d that an earlier run left", self.name, pid)
            end(pid, self.stop_s, group=True)
            self.pid_file.unlink(missing_ok=True)


@dataclass
class _Kept:
    service: Service
    revival: Revival


def _told(service: Service) -> dict[str, str | int | None]:
    """``started``: with the process id, it names the process for good."""
    pid = service.pid()
    return {"name": service.name, "pid": pid, "started": started(pid) if pid is not None else ""}


class Supervisor:
    """Keeps services alive until told to stop. ``status`` is a JSON file that ``centralino status`` reads."""

    def __init__(self, status: Path) -> None:
        self._status = status
        self._kept: list[_Kept] = []
        self._next_tend = 0.0

    def start(self, service: Service) -> None:
        """Start one service and keep it from now on."""
        kept = _Kept(service, Revival(service.name, _log))
        self._kept.append(kept)  # before it starts: interrupted anywhere, stop() knows of it
        service.start()
        kept.revival.began()
        self._publish()

    def run(self) -> None:
        """Watch until :class:`Interrupted`; returns then, with everything stopped."""
        try:
            while True:
                self.look_after()
                time.sleep(POLL_S)
        except Interrupted:
            _log.info("stopping")
        finally:
            self.stop()

    def look_after(self) -> None:
        """Restart what has died, when its wait is over."""
        now = time.monotonic()
        for kept in self._kept:
            known = kept.revival.waiting
            if not known and kept.service.pid() is not None:
                continue
            if kept.revival.due():
                self._restart(kept)
            elif not known:
                self._publish()
        if now >= self._next_tend:
            self._next_tend = now + TEND_S
            for kept in self._kept:
                with contextlib.suppress(OSError):
                    kept.service.tend()

    def stop(self) -> None:
        """Stop everything, last started first."""
        while self._kept:
            self._kept.pop().service.stop()
        self._status.unlink(missing_ok=True)

    def _restart(self, kept: _Kept) -> None:
        try:
            kept.service.start()
        except Exception as error:  # noqa: BLE001 (whatever it was: it is tried again later, and said)
            _log.error("%s: %s", kept.service.name, error)
            kept.revival.failed()
        else:
            kept.revival.began()
        self._publish()

    def _publish(self) -> None:
        state = {
            "supervisor": os.getpid(),
            "services": [_told(kept.service) for kept in self._kept],
        }
        self._status.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._status.with_suffix(".new")
        fresh.write_text(json.dumps(state) + "\n")
        fresh.replace(self._status)
