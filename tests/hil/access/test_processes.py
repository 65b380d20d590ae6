"""Several processes at once, one that is killed, a full disk: on both databases."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.access import passwords
from appliance.access.access import password_of
from appliance.access.throttle import STRANGERS
from appliance.core.errors import CorruptError
from tests.unit.access.ground import ABROAD, HOME, PASSWORD, Ground, open_ground

ROOT = Path(__file__).parents[3]
AT_ONCE = 4


def command(what: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.hil.access.child", what, *arguments]


@contextmanager
def started(argv: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()


def at_once(argvs: Sequence[Sequence[str]]) -> list[int]:
    """What each of the processes says, once all of them were let go at the same moment."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        running = [stack.enter_context(started(argv)) for argv in argvs]
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [int(process.stdout.readline()) for process in running if process.stdout]
        assert [process.wait(60) for process in running] == [0] * len(running)
    return said


@pytest.fixture
def real(either: str, tmp_path: Path) -> Iterator[Ground]:
    with open_ground(either, tmp_path) as ground:
        yield ground


def test_a_recovery_code_is_good_for_one_of_many_processes(real: Ground) -> None:
    _, codes = real.with_totp()
    said = at_once([command("recovery", real.url, str(real.state), *codes)] * AT_ONCE)
    assert sum(said) == len(codes)
    assert real.access.held("ann").recovery_codes == 0


def test_a_step_of_an_app_is_good_for_one_of_many_processes(real: Ground) -> None:
    app, _ = real.with_totp()
    codes = [real.shown(app, step) for step in range(20)]
    said = at_once([command("steps", real.url, str(real.state), str(real.clock.wall), *codes)] * AT_ONCE)
    assert sum(said) == len(codes)


def test_a_code_signs_one_of_many_processes_in(real: Ground) -> None:
    app, codes = real.with_totp()
    for code in (real.shown(app), codes[0]):
        argv = command("sign-in", real.url, str(real.state), str(real.clock.wall), code)
        assert sorted(at_once([argv] * AT_ONCE)) == [0] * (AT_ONCE - 1) + [1]


def test_a_link_is_good_for_one_of_many_processes(real: Ground) -> None:
    token = real.access.links.make("ann")
    tried = [f"{PASSWORD} {number}" for number in range(AT_ONCE)]
    said = at_once([command("link", real.url, str(real.state), token, password) for password in tried])
    assert sorted(said) == [0] * (AT_ONCE - 1) + [1]
    assert real.signin.password("ann", tried[said.index(1)], HOME).session.person == "ann"


def test_guesses_of_many_processes_are_counted_together(real: Ground) -> None:
    real.enter("bob", ABROAD)
    at_once([command("guess", real.url, str(real.state), "5")] * AT_ONCE)
    assert len(real.events("failed")) == STRANGERS.free


def test_killed_at_any_moment_a_link_is_used_with_its_password_or_not_at_all(either: str, tmp_path: Path) -> None:
    chance = random.Random(11)
    number, last = 0, None
    with open_ground(either, tmp_path) as ground:
        for _ in range(6):
            with started(command("for-ever", either, str(tmp_path))) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(f"{number}\n")
                process.stdin.flush()
                for _ in range(2 * chance.randint(1, 3) - 1):
                    said = process.stdout.readline().split()
                for _ in range(chance.randint(0, 3_000_000)):  # somewhere within what it does next
                    pass
                process.send_signal(signal.SIGKILL)
                rest = [line.split() for line in process.stdout if line.endswith("\n")]
                assert process.wait() == -signal.SIGKILL
            begun = max(int(words[1]) for words in [said, *rest])
            done = [int(words[1]) for words in [said, *rest] if words[0] == "done"]
            with ground.access.database.read() as connection:
                kept = password_of(connection, "ann")
            good = [n for n in {last or begun, begun - 1, begun} if passwords.verify(kept, f"{PASSWORD} {n}")]
            assert len(good) == (1 if kept else 0)
            assert not done or good[0] >= max(done)
            last = good[0] if good else None
            used, changed, entered = (
                len(ground.events(name)) for name in ("link_used", "password_changed", "signed_in")
            )
            assert used == changed == entered
            assert len(ground.access.sessions.listed("ann")) == (1 if used else 0)
            assert ground.access.audit.verify().broken is None
            number = begun
            ground.clock.pass_(60_000)


def test_on_a_full_disk_nobody_signs_in_and_sessions_go_on(tmp_path: Path) -> None:
    namespace = ["unshare", "--mount"] + (["--map-root-user"] if os.geteuid() else [])
    argv = [*namespace, *command("fill", "", str(tmp_path))]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300)
    told = json.loads(done.stdout)
    assert told == {"errors": ["disk_full", "disk_full"], "going_on": [True, True], "again": "ann", "broken": None}


def test_a_file_that_is_garbage_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "access.db"
    path.write_bytes(b"garbage\n" * 1000)
    with pytest.raises(CorruptError, match=r"access\.db") as caught:
        Ground(f"sqlite:///{path}", tmp_path)
    assert caught.value.error_id == "corrupt"
    assert path.read_bytes() == b"garbage\n" * 1000
