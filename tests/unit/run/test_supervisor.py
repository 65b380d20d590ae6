"""The supervisor with real processes: order, restarts, leftovers, stopping."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.engine.processes import Interrupted, interruptible, started
from appliance.run.supervisor import Program, Supervisor

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def program(tmp_path: Path, name: str, argv: list[str], **more: object) -> Program:
    return Program(name, argv, tmp_path / f"{name}.log", tmp_path / f"{name}.pid", **more)  # type: ignore[arg-type]


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.02)


def test_a_dead_process_is_started_again_and_all_end_at_stop(tmp_path: Path) -> None:
    supervisor, one = Supervisor(tmp_path / "status.json"), program(tmp_path, "one", SLEEPER)
    supervisor.start(one)
    first = one.pid()
    assert first is not None
    told = {"name": "one", "pid": first, "started": started(first)}
    assert json.loads((tmp_path / "status.json").read_text())["services"] == [told]
    os.kill(first, signal.SIGKILL)
    until(lambda: one.pid() is None)

    def restarted() -> bool:
        supervisor.look_after()
        return one.pid() not in (None, first)

    until(restarted)
    second = one.pid()
    supervisor.stop()
    assert one.pid() is None
    assert not Path(f"/proc/{second}").exists()
    assert not (tmp_path / "status.json").exists()


def test_a_program_that_ends_at_start_is_an_error_naming_its_log(tmp_path: Path) -> None:
    bad = program(tmp_path, "bad", [sys.executable, "-c", "raise SystemExit(3)"], ready=lambda: False)
    with pytest.raises(UnavailableError) as caught:
        bad.start()
    assert "ended" in caught.value.message
    assert str(tmp_path / "bad.log") in caught.value.hint


def test_a_program_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    slow = program(tmp_path, "slow", SLEEPER, ready=lambda: False, ready_s=0.3)
    with pytest.raises(UnavailableError):
        slow.start()
    assert slow.pid() is None


def test_what_an_earlier_run_left_is_replaced_but_strangers_are_not_touched(tmp_path: Path) -> None:
    left = program(tmp_path, "left", SLEEPER)
    left.start()
    old = left.pid()
    assert old is not None
    until(lambda: left.leftover() == old)
    again = program(tmp_path, "left", SLEEPER)
    again.start()
    until(lambda: left.pid() is None)
    assert again.pid() not in (None, old)
    stranger = again.pid()
    assert stranger is not None
    until(lambda: again.leftover() == stranger)
    other = program(tmp_path, "left", [sys.executable, "-c", "import time; time.sleep(61)"])
    other.start()
    assert again.pid() == stranger
    again.stop()
    other.stop()


def test_what_an_earlier_run_left_can_be_stopped(tmp_path: Path) -> None:
    left = program(tmp_path, "left", SLEEPER)
    left.start()
    later = program(tmp_path, "left", SLEEPER)
    until(lambda: later.leftover() is not None)
    later.stop()
    until(lambda: left.pid() is None)
    assert later.leftover() is None


def test_interrupted_while_a_program_starts_nothing_is_left(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "status.json")
    pids: list[int | None] = []

    def ready() -> bool:
        pids.append(slow.pid())
        signal.raise_signal(signal.SIGHUP)
        return True

    first, slow = program(tmp_path, "first", SLEEPER), program(tmp_path, "slow", SLEEPER, ready=ready)
    with interruptible():
        supervisor.start(first)
        with pytest.raises(Interrupted):
            supervisor.start(slow)
    assert pids[0] is not None
    assert slow.pid() is None
    assert first.pid() is not None
    supervisor.stop()
    assert first.pid() is None


def test_it_watches_until_it_is_told_to_stop(tmp_path: Path) -> None:
    supervisor, one = Supervisor(tmp_path / "status.json"), program(tmp_path, "one", SLEEPER)
    with interruptible():
        supervisor.start(one)
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        supervisor.run()
        timer.join()
    assert one.pid() is None
