"""The engine as a service of the supervisor. It outlives the supervisor: one that still runs is taken over, not restarted."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from appliance.core.errors import CentralinoError
from appliance.engine.launch import Engine, EngineLauncher
from appliance.engine.processes import alive, end, started
from appliance.engine.unix import listening_process

_log = logging.getLogger("centralino.supervisor")

STOP_S: Final = 10.0


class EngineService:
    """Starts, adopts and stops one engine."""

    def __init__(self, name: str, launcher: EngineLauncher) -> None:
        self.name = name
        self._launcher = launcher
        self._engine: Engine | None = None
        self._adopted: tuple[int, str] | None = None

    def start(self) -> None:
        """Take over the engine that runs already, or start one. Raises UnavailableError."""
        self._engine, self._adopted = None, None
        pid = running_engine(self._launcher.paths.control_socket)
        if pid is not None:
            self._adopted = pid, started(pid)
            _log.warning("%s: process %d goes on from an earlier run", self.name, pid)
            return
        self._engine = self._launcher.start()

    def pid(self) -> int | None:
        """Process id of Asterisk while it runs."""
        if self._engine is not None:
            return self._engine.pid if self._engine.running else None
        return self._adopted[0] if self._adopted is not None and alive(*self._adopted) else None

    def tend(self) -> None:
        """Its logs are rotated by the history's daemon, which watches the disk."""

    def stop(self) -> None:
        """End the engine and its calls, whoever started it."""
        engine = self._engine or self._launcher.attach()
        if engine is not None:
            try:
                engine.stop(STOP_S)
            except CentralinoError as error:
                _log.error("%s: %s", self.name, error)
        elif self._adopted is not None and alive(*self._adopted):
            end(self._adopted[0], STOP_S)


def running_engine(control_socket: Path) -> int | None:
    """Process id of the engine that listens at a control socket; None if there is none."""
    return listening_process(control_socket)
