"""How long each process of a running appliance takes to be at work: it is killed, and the supervisor starts another one."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import CentralinoError
from appliance.engine.processes import descendants, started
from appliance.history.spool import Spool
from appliance.hub.client import HubClient
from appliance.paths import Paths
from bench import Say

WAIT_S: Final = 60.0
POLL_S: Final = 0.01
TICKS: Final = os.sysconf("SC_CLK_TCK")


def start_seconds(paths: Paths, status: Path, names: Sequence[str], say: Say) -> dict[str, float]:
    """Seconds from the start of each process, Python and sandbox included, until it does its work.

    Raises TimeoutError when one doesn't within a minute.
    """
    found = {}
    for name in names:
        before = told(status)[name]
        os.kill(before["pid"], signal.SIGKILL)
        found[name] = round(_seconds(paths, status, name, before["pid"]), 2)
        say(f"{name}: at work {found[name]} s after its start")
    return found


def told(status: Path) -> dict[str, dict[str, Any]]:
    """What a supervisor tells of its services: name → ``pid`` and more."""
    return {each["name"]: each for each in json.loads(status.read_text())["services"]}


def _seconds(paths: Paths, status: Path, name: str, before: int) -> float:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        pid = told(status)[name]["pid"]  # of applier, console, engine and gate it is told when they are ready
        if pid not in (None, before) and _works(paths, name, pid):
            ticks = int(started(pid))
            return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / TICKS
        time.sleep(POLL_S)
    raise TimeoutError(f"{name} isn't at work {WAIT_S:g} s after it was killed")


def _works(paths: Paths, name: str, pid: int) -> bool:
    checks: Mapping[str, Callable[[], bool]] = {
        "history": lambda: Spool(paths.engine.cel).is_read(),
        "hub": lambda: _live(paths),
        "notifications": lambda: _has_open(pid, paths.history_db.name),
    }
    return checks.get(name, lambda: True)()


def _live(paths: Paths) -> bool:
    try:
        return bool(HubClient(paths.hub_socket).health()["state"] == "live")
    except CentralinoError:
        return False


def _has_open(pid: int, file: str) -> bool:
    """Whether a process, or one that it started, has a file of this name open."""
    for each in (pid, *descendants(pid)):
        for link in Path(f"/proc/{each}/fd").glob("*"):
            try:
                if link.readlink().name == file:
                    return True
            except OSError:
                continue
    return False
