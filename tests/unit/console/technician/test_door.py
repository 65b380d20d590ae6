"""The technician's code: who comes in, how often one may guess, and for how long somebody stays."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest

from appliance.console.technician.door import FREE, IDLE_S, LASTS_S, SESSIONS, WAIT_MAX_S, Door, new_code
from appliance.core.errors import RefusedError, UnavailableError
from appliance.vpn.enrolment.codes import ALPHABET


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "code.json"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused(door: Door, code: str) -> str:
    with pytest.raises(RefusedError) as error:
        door.sign_in(code)
    return error.value.error_id


def test_the_code_opens_however_it_is_typed(file: Path, clock: Clock) -> None:
    code = new_code(file)
    assert [len(group) for group in code.split("-")] == [4, 4, 4]
    assert set(code) <= {*ALPHABET, "-"}
    door = Door(file, clock)
    for typed in (
        code,
        code.lower(),
        code.replace("-", ""),
        f" {code.replace('-', '  ')} ",
        code.replace("1", "l").replace("0", "o"),
    ):
        assert door.session(door.sign_in(typed).token) is not None


def test_what_is_kept_is_not_the_code(file: Path) -> None:
    code = new_code(file)
    kept = file.read_text()
    assert code not in kept
    assert code.replace("-", "") not in kept
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert new_code(file) != code


def test_another_code_ends_the_former_and_whoever_is_in_stays(file: Path, clock: Clock) -> None:
    first = new_code(file)
    door = Door(file, clock)
    session = door.sign_in(first)
    second = new_code(file)
    assert refused(door, first) == "wrong_code"
    assert door.sign_in(second)
    assert door.session(session.token) is not None


def test_without_a_code_and_with_garbage_nobody_comes_in_and_hears_the_same(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    new_code(file)
    good = json.loads(file.read_text())
    said = set()
    for content in (
        None,
        "",
        "{",
        "[]",
        "[" * 100_000,
        json.dumps({**good, "salt": "zz"}),
        json.dumps({**good, "digest": "00"}),
        json.dumps({}),
    ):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_text(content)
        door = Door(file, clock)
        with caplog.at_level(logging.ERROR), pytest.raises(RefusedError) as error:
            door.sign_in("")
        said.add((error.value.error_id, error.value.message, error.value.hint))
    assert len(said) == 1
    assert caplog.text.count("make another code") == 7, "not for a file that isn't there"


def test_who_guesses_waits_longer_and_longer_and_a_minute_at_most(file: Path, clock: Clock) -> None:
    code = new_code(file)
    door = Door(file, clock)
    for _ in range(FREE):
        assert refused(door, "0000-0000-0000") == "wrong_code"
    assert refused(door, code) == "wait", "the right one too: nobody learns anything meanwhile"
    waits = []
    for _ in range(9):
        began = clock.now
        while refused(door, "0000-0000-0000") == "wait":
            clock.now += 0.5
        waits.append(clock.now - began)
    assert waits[0] < waits[3] < waits[5]
    assert max(waits) <= WAIT_MAX_S
    clock.now += WAIT_MAX_S
    assert door.sign_in(code)
    assert refused(door, "0000-0000-0000") == "wrong_code", "a right one starts anew"


def test_attempts_while_one_has_to_wait_shorten_nothing(file: Path, clock: Clock) -> None:
    new_code(file)
    door = Door(file, clock)
    for _ in range(FREE + 4):
        while refused(door, "0000-0000-0000") == "wait":
            clock.now += 1
    clock.now += 7.0
    assert {refused(door, "0000-0000-0000") for _ in range(3000)} == {"wait"}, "eight seconds after the ninth"


def test_failures_are_forgotten(file: Path, clock: Clock) -> None:
    code = new_code(file)
    door = Door(file, clock)
    for _ in range(20):
        assert refused(door, "0000-0000-0000") == "wrong_code"
        clock.now += WAIT_MAX_S
    assert door.sign_in(code)


def test_a_session_ends(file: Path, clock: Clock) -> None:
    code = new_code(file)
    door = Door(file, clock)
    idle, busy, out = (door.sign_in(code) for _ in range(3))
    assert len({each.token for each in (idle, busy, out)} | {each.csrf for each in (idle, busy, out)}) == 6
    assert idle.token not in repr(idle)
    door.sign_out(out.token)
    assert door.session(out.token) is None
    assert door.session("") is None
    began = clock.now
    while clock.now - began < LASTS_S - 1:
        assert door.session(busy.token) is busy
        clock.now += IDLE_S / 2
    assert door.session(idle.token) is None
    assert door.session(busy.token) is None, "whatever he does"


def test_so_many_are_in_at_most(file: Path, clock: Clock) -> None:
    code = new_code(file)
    door = Door(file, clock)
    sessions = []
    for _ in range(SESSIONS + 1):
        sessions.append(door.sign_in(code))
        clock.now += 1
    assert door.session(sessions[0].token) is None
    assert all(door.session(each.token) for each in sessions[1:])


def test_a_disk_that_is_full_leaves_the_former_code(file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    code = new_code(file)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("appliance.vpn.files.put", full)
    with pytest.raises(UnavailableError) as error:
        new_code(file)
    assert error.value.error_id == "disk_full"
    assert Door(file, clock).sign_in(code)
