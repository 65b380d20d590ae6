from __future__ import annotations

import logging
import signal
import sys
import time
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.engine.processes import Interrupted, interruptible
from appliance.engine.runner import CommandError, run


def test_output_exit_code_and_lines() -> None:
    lines: list[str] = []
    done = run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"], on_line=lines.append)
    assert done.exit_code == 0
    assert sorted(done.output.split()) == ["err", "out"]
    assert sorted(lines) == ["err", "out"]


def test_input_is_passed() -> None:
    assert run([sys.executable, "-c", "print(input()[::-1])"], input_text="abc\n").output == "cba\n"


@pytest.mark.parametrize("code", ["print('x' * 200_000)", "import sys; sys.stdin.close(); print('x' * 200_000)"])
def test_a_program_that_never_reads_and_talks_much_hangs_nobody(code: str) -> None:
    done = run([sys.executable, "-c", code], input_text="rule\n" * 200_000, timeout_s=20)
    assert (done.exit_code, len(done.output)) == (0, 200_001)


def test_a_program_may_talk_much_before_it_reads() -> None:
    code = "import sys; print('x' * 200_000); print(len(sys.stdin.read()))"
    assert run([sys.executable, "-c", code], input_text="y" * 1_000_000, timeout_s=20).output.endswith("\n1000000\n")


def test_a_failure_carries_the_last_words() -> None:
    code = "print('first'); print('it broke'); raise SystemExit(3)"
    with pytest.raises(CommandError, match="exit code 3: it broke") as caught:
        run([sys.executable, "-c", code])
    assert caught.value.completed.output == "first\nit broke\n"
    assert run([sys.executable, "-c", code], check=False).exit_code == 3


def test_a_missing_program_is_told() -> None:
    with pytest.raises(UnavailableError, match="no-such-program is not installed") as caught:
        run(["no-such-program"])
    assert caught.value.error_id == "program_missing"


def test_nothing_goes_through_a_shell() -> None:
    text = "$(id) `id` ; id | id > /dev/null"
    assert run([sys.executable, "-c", "import sys; print(sys.argv[1])", text]).output == text + "\n"


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import pathlib, subprocess; child = subprocess.Popen(['sleep', '600']); "
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); child.wait()"
    )
    with pytest.raises(UnavailableError, match="didn't end within") as caught:
        run([sys.executable, "-c", code], timeout_s=2)
    assert caught.value.error_id == "command_timeout"
    deadline = time.monotonic() + 10
    while alive(int(note.read_text())):
        assert time.monotonic() < deadline, "the child goes on"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_every_command_is_logged_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "centralino.runner"):
        run([sys.executable, "-c", "pass", "hunter2"], redact=["hunter2"])
    assert "exit code 0" in caplog.text
    assert "hunter2" not in caplog.text


def test_an_interruption_ends_the_command(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); print('up', flush=True); time.sleep(60)"
    with interruptible(), pytest.raises(Interrupted):
        run([sys.executable, "-c", code], on_line=lambda _: signal.raise_signal(signal.SIGTERM))
    assert not Path(f"/proc/{pid.read_text()}").exists()
