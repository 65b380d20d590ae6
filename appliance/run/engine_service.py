"""The engine as a service of the supervisor. It outlives the supervisor: one that still runs is taken over, not restarted."""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Final

from appliance.core.errors import CentralinoError
from appliance.engine.launch import Engine, EngineLauncher

_log = logging.getLogger("centralino.supervisor")

STOP_S: Final = 10.0


class EngineService:
    """Starts, adopts and stops one engine."""

    def __init__(self, name: str, launcher: EngineLauncher) -> None:
        self.name = name
        self._launcher = launcher
        self._engine: Engine | None = None
        self._adopted: int | None = None

    def start(self) -> None:
        """Take over the engine that runs already, or start one. Raises UnavailableError."""
        self._engine, self._adopted = None, running_engine(self._launcher.paths.control_socket)
        if self._adopted is not None:
            _log.warning("%s: process %d goes on from an earlier run", self.name, self._adopted)
            return
        self._engine = self._launcher.start()

    def pid(self) -> int | None:
        """Process id of Asterisk while it runs."""
        if self._engine is not None:
            return self._engine.pid if self._engine.running else None
        if self._adopted is not None and _is_asterisk(self._adopted):
            return self._adopted
        return None

    def stop(self) -> None:
        """End the engine and its calls."""
        if self._engine is not None:
            try:
                self._engine.stop(STOP_S)
            except CentralinoError as error:
                _log.error("%s: %s", self.name, error)
        elif self._adopted is not None and _is_asterisk(self._adopted):
            for number in (signal.SIGTERM, signal.SIGKILL):
                os.kill(self._adopted, number)
                deadline = time.monotonic() + STOP_S
                while time.monotonic() < deadline:
                    if not _is_asterisk(self._adopted):
                        return
                    time.sleep(0.05)


def running_engine(control_socket: Path) -> int | None:
    """Process id of the engine that listens at a control socket, from the kernel (SO_PEERCRED); None if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(control_socket))
        except OSError:
            return None
        pid, _uid, _gid = struct.unpack(
            "3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
    return int(pid) or None


def _is_asterisk(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "asterisk"
    except OSError:
        return False
