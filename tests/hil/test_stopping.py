"""Stopping at any moment: whatever signal comes, however far the start is, no process is left; nor after a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.engine.processes import command_of
from appliance.paths import Paths
from appliance.run.engine_service import running_engine
from tests.hil.agents.network import Host, Network
from tests.hil.agents.network import command as network
from tests.hil.agents.process import Child, eventually
from tests.hil.command import PROGRAM

UP = "Ctrl-C stops everything"


class Start:
    """``centralino run`` in a state directory too deep for the name of a Unix socket."""

    def __init__(self, host: Host, work: Path) -> None:
        self.host, self.work = host, work
        self.paths = Paths(state=work / ("deep" * 30) / "state", cache=Paths.default().cache)
        self.environment = {**os.environ, "CENTRALINO_STATE": str(self.paths.state), "LC_ALL": "C.UTF-8",
                            "CENTRALINO_CACHE": str(self.paths.cache), "COLUMNS": "200"}  # fmt: skip

    def until(self, said: str) -> Child:
        """Start it and wait until it says this."""
        child = self.host.start(
            [PROGRAM, "run"], self.work / f"run-{len(list(self.work.glob('run-*')))}.log", env=self.environment
        )

        def there() -> bool:
            assert child.running, child.text()
            return said in child.text()

        eventually(there, f"it says {said}", 120)
        return child

    def processes(self) -> dict[int, str]:
        """Everything that runs on the host."""
        pids = network(["ip", "netns", "pids", self.host.namespace]).stdout.split()
        return {int(pid): " ".join(words)[:90] for pid in pids if (words := command_of(int(pid)))}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with Network() as net:
        yield Start(net.host("appliance"), tmp_path)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGTERM, "Configuration applier …"),
        (signal.SIGHUP, "Simulated provider …"),
        (signal.SIGINT, "Engine …"),
        (signal.SIGHUP, "Call history …"),
        (signal.SIGINT, UP),
    ],
)
def test_a_signal_at_any_moment_leaves_no_process(start: Start, number: signal.Signals, moment: str) -> None:
    child = start.until(moment)
    os.kill(_python(start, child), number)  # to the supervisor alone, as `kill` does
    assert child.wait(60) == 0, child.text()
    assert start.processes() == {}
    assert not (start.paths.state / "run" / "supervisor.pid").exists()


def test_stop_while_it_starts(start: Start) -> None:
    child = start.until("Engine …")
    done = start.host.run(["env", *_assigned(start), PROGRAM, "stop"], timeout_s=90)
    assert done.stdout == "Stopped.\n"
    assert child.wait(60) == 0, child.text()
    assert start.processes() == {}


def test_stop_ends_what_a_killed_supervisor_left(start: Start) -> None:
    child = start.until(UP)
    os.kill(_python(start, child), signal.SIGKILL)
    child.wait()
    assert running_engine(start.paths.engine.control_socket), "calls go on"
    assert len(start.processes()) >= 4
    done = start.host.run(["env", *_assigned(start), PROGRAM, "stop"], timeout_s=90)
    assert done.stdout == "Stopped.\n"
    assert start.processes() == {}
    done = start.host.run(["env", *_assigned(start), PROGRAM, "stop"], timeout_s=90, check=False)
    assert (done.returncode, "is not running here" in done.stderr) == (1, True)


def _python(start: Start, child: Child) -> int:
    """The supervisor's own process: ``ip netns exec`` becomes it."""
    assert child.process.pid in start.processes()
    return child.process.pid


def _assigned(start: Start) -> list[str]:
    return [f"{name}={start.environment[name]}" for name in ("CENTRALINO_STATE", "CENTRALINO_CACHE", "LC_ALL")]
