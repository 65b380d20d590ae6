"""Signals as one interruption, PID files, ending processes: with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.engine.processes import (
    ENDING,
    NICE,
    Interrupted,
    alive,
    command_of,
    end,
    held_together,
    interruptible,
    note,
    noted,
    started,
    urgent,
)
from tests.hil.agents.process import eventually

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
]  # fmt: skip


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_each_signal_interrupts_once_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptible():
        with pytest.raises(Interrupted):
            signal.raise_signal(number)
        signal.raise_signal(number)  # while it cleans up: not again
    assert signal.getsignal(number) is before


def test_what_belongs_together_is_not_interrupted_in_between() -> None:
    done = []

    def together() -> None:
        with held_together():
            with held_together():
                signal.raise_signal(signal.SIGTERM)
            done.append("all of it")
        done.append("never")

    with interruptible(), pytest.raises(Interrupted):
        together()
    assert done == ["all of it"]


def test_a_pid_file_names_its_process_and_no_later_one(tmp_path: Path) -> None:
    file = tmp_path / "run" / "x.pid"
    process = subprocess.Popen(SLEEPER)
    try:
        note(file, process.pid)
        assert noted(file) == process.pid
        # Popen returns while the kernel still exchanges the program: for a moment it has no arguments.
        eventually(lambda: command_of(process.pid) == SLEEPER, "the process has its arguments")
        file.write_text(f"{os.getpid()} 1\n")  # the number now belongs to another process: us
        assert noted(file) is None
        file.write_text("garbage\n")
        assert noted(file) is None
        note(file, process.pid)
    finally:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        zombie = noted(file)
        process.wait()
    assert zombie is None
    assert noted(file) is None
    assert noted(tmp_path / "none") is None


def test_who_does_not_end_politely_is_ended() -> None:
    process = subprocess.Popen(STUBBORN, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    end(process.pid, 0.2)
    assert process.wait(10) == -signal.SIGKILL
    process.stdout.close()
    end(process.pid, 0.2)  # gone: fine


def test_what_has_left_the_group_ends_with_it() -> None:
    """As a sandbox's inside has, in a session of its own; here one that its parent's death doesn't end."""
    inner = "import time; time.sleep(60)"
    outer = (
        "import subprocess, sys, time;"
        f"print(subprocess.Popen([sys.executable, '-c', {inner!r}], start_new_session=True).pid, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", outer], start_new_session=True, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        when = started(child)
        assert alive(child, when)
        end(process.pid, 5, group=True)
        assert not alive(child, when)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_sandbox_s_program_is_told_first_and_ends_as_it_likes(tmp_path: Path) -> None:
    """bubblewrap itself dies at once by the signal, and has its inside killed."""
    mark = tmp_path / "mark"
    program = (
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), open({str(mark)!r}, 'w').write('done'), sys.exit(0)))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    sandbox = [
        "bwrap",
        "--unshare-pid",
        "--die-with-parent",
        "--new-session",
        "--dev-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--",
    ]
    process = subprocess.Popen(
        [*sandbox, sys.executable, "-c", program], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        end(process.pid, 5, group=True)
        assert mark.read_text() == "done"
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may go first")
def test_what_is_urgent_goes_first() -> None:
    done = subprocess.run([*urgent(), "nice"], capture_output=True, text=True, check=True)
    assert (int(done.stdout), done.stderr) == (NICE, "")


def test_who_isnt_root_leaves_that_to_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert urgent() == []
