"""Starts the appliance's processes in order, restarts those that die, stops them in reverse order.

What happens when…

* a process dies: it is started again after 1 s, 2 s, 4 s … at most 30 s; a minute of good life resets the wait;
* a process doesn't become ready in time: everything started so far is stopped and the error names its log;
* the supervisor itself is killed: the engine goes on with its calls (law 1), the others end with their pipe to us or
  are found by their PID file and replaced at the next start.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from appliance.core.errors import UnavailableError

_log = logging.getLogger("centralino.supervisor")

BACKOFF_MAX_S: Final = 30.0
GOOD_LIFE_S: Final = 60.0
POLL_S: Final = 0.2


class Service(Protocol):
    """Something the supervisor keeps alive."""

    name: str

    def start(self) -> None:
        """Start it and return once it is ready. Raises CentralinoError."""

    def pid(self) -> int | None:
        """Process id while it runs, else None."""

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
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
                start_new_session=True,
            )
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        self.pid_file.write_text(f"{self._process.pid}\n")
        deadline = time.monotonic() + self.ready_s
        while self.ready is not None and not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                how = "ended" if self._process.poll() is not None else f"was not ready within {self.ready_s:g} s"
                self.stop()
                raise UnavailableError(
                    f"{self.name} {how} at start", f"its log says why: {self.log}", error_id="start_failed"
                )
            time.sleep(POLL_S / 4)

    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to its whole process group."""
        if self._process is not None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if self._process.poll() is None:
                    _signal_group(self._process.pid, number)
                try:
                    self._process.wait(self.stop_s)
                    break
                except subprocess.TimeoutExpired:
                    continue
        self.pid_file.unlink(missing_ok=True)

    def _end_leftover(self) -> None:
        pid = read_pid(self.pid_file)
        if pid is None or not is_same_program(pid, self.argv):
            return
        _log.warning("%s: ending process %d that an earlier run left", self.name, pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(pid, number)
            deadline = time.monotonic() + self.stop_s
            while time.monotonic() < deadline:
                if not is_same_program(pid, self.argv):  # gone, or a zombie that its parent will reap
                    return
                time.sleep(POLL_S / 4)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError) as error:
        _log.debug("signal %d to group %d: %s", number, pid, error)


def read_pid(path: Path) -> int | None:
    """The process id in a PID file, or None when there is none or it is garbage."""
    try:
        return int(path.read_text().strip())
    except (OSError, ValueError):
        return None


def is_same_program(pid: int, argv: Sequence[str]) -> bool:
    """Whether process ``pid`` was started with these arguments (a PID file may outlive its process)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return False
    return [word.decode(errors="replace") for word in words] == [str(word) for word in argv]


@dataclass
class _Kept:
    service: Service
    started: float = 0.0
    backoff_s: float = 1.0
    restart_at: float | None = None


class Supervisor:
    """Keeps services alive until told to stop. ``status`` is a JSON file that ``centralino status`` reads."""

    def __init__(self, status: Path) -> None:
        self._status = status
        self._kept: list[_Kept] = []
        self._stopping = False

    def start(self, service: Service) -> None:
        """Start one service and keep it from now on."""
        service.start()
        self._kept.append(_Kept(service, started=time.monotonic()))
        self._publish()

    def run(self) -> None:
        """Watch until SIGINT or SIGTERM comes; returns then, with everything stopped."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            while not self._stopping:
                self.look_after()
                time.sleep(POLL_S)
        finally:
            self.stop()

    def look_after(self) -> None:
        """Restart what has died, when its wait is over."""
        now = time.monotonic()
        for kept in self._kept:
            if kept.restart_at is not None:
                if now >= kept.restart_at:
                    self._restart(kept)
            elif kept.service.pid() is None:
                if now - kept.started > GOOD_LIFE_S:
                    kept.backoff_s = 1.0
                _log.error("%s died; starting it again in %g s", kept.service.name, kept.backoff_s)
                kept.restart_at = now + kept.backoff_s
                kept.backoff_s = min(kept.backoff_s * 2, BACKOFF_MAX_S)
                self._publish()

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
            kept.restart_at = time.monotonic() + kept.backoff_s
            kept.backoff_s = min(kept.backoff_s * 2, BACKOFF_MAX_S)
        else:
            kept.started, kept.restart_at = time.monotonic(), None
        self._publish()

    def _publish(self) -> None:
        state = {
            "supervisor": os.getpid(),
            "services": [{"name": kept.service.name, "pid": kept.service.pid()} for kept in self._kept],
        }
        self._status.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._status.with_suffix(".new")
        fresh.write_text(json.dumps(state) + "\n")
        fresh.replace(self._status)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        _log.info("stopping on %s", signal.Signals(number).name)
        self._stopping = True
