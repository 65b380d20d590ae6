"""Invitations: each opens the gate once, for a time, whatever the clock, the disk and the process do meanwhile."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from appliance.clock import DAY, HOUR, MINUTE, Moment
from appliance.core.errors import CentralinoError, UnavailableError
from appliance.paths import VpnPaths
from appliance.vpn.enrolment import codes
from appliance.vpn.enrolment.codes import TRIES, Secret, new_code
from appliance.vpn.enrolment.waiting import AGAIN, Invitations, Standing, Waiting
from tests.unit.vpn.ground import Killed
from tests.unit.vpn.trap import TRAP

ROOT = "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"
KEY, OTHER = "a" * 64, "b" * 64


class Times:
    """A machine's clock and running time."""

    def __init__(self) -> None:
        self.now = Moment(1_800_000_000_000, 5_000, "one")

    def __call__(self) -> Moment:
        return self.now

    def pass_(self, ms: int) -> None:
        self.now = replace(self.now, wall=self.now.wall + ms, uptime=self.now.uptime + ms)

    def set_clock(self, by: int) -> None:
        self.now = replace(self.now, wall=self.now.wall + by)

    def restart(self) -> None:
        self.now = replace(self.now, uptime=100, boot=self.now.boot + "+")


class Ground:
    def __init__(self, directory: Path) -> None:
        self.clock = Times()
        self.directory = directory / "vpn"
        self.secret = new_code(ROOT).secret
        self.again()

    def again(self) -> Invitations:
        """As another process finds it."""
        self.invitations = Invitations(VpnPaths(self.directory), self.clock)
        return self.invitations

    def wrong(self) -> Secret:
        return Secret(self.secret.locator, "00000000")

    @property
    def standing(self) -> Standing:
        return self.invitations.all()["torino"].standing(self.clock())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here guards a secret, or cuts the power."""
    monkeypatch.setattr(codes, "_SCRYPT", {**codes._SCRYPT, "n": 2})
    monkeypatch.setattr(os, "fsync", lambda _handle: None)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    made = Ground(tmp_path)
    made.invitations.make("torino", made.secret, DAY)
    return made


def admitted(ground: Ground) -> Waiting:
    found = ground.invitations.admit(ground.secret)
    assert found is not None
    return found


def test_it_opens_the_gate_for_one_key_which_may_come_again_for_a_while(ground: Ground) -> None:
    assert list(ground.invitations.open()) == ["torino"]
    assert ground.invitations.bind(admitted(ground), KEY)
    assert ground.standing is Standing.USED
    assert ground.again().bind(admitted(ground), KEY), "the answer was lost"
    assert not ground.invitations.bind(admitted(ground), OTHER)
    found = admitted(ground)
    ground.clock.pass_(AGAIN + 1)
    assert ground.invitations.admit(ground.secret) is None
    assert not ground.invitations.bind(found, KEY)
    assert ground.invitations.open() == {}


def test_only_a_digest_of_the_secret_is_kept_and_nobody_else_reads_it(ground: Ground) -> None:
    (file,) = ground.directory.rglob("torino.json")
    assert ground.secret.secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_five_wrong_attempts_burn_it_and_another_locator_counts_for_nothing(ground: Ground) -> None:
    stranger = Secret("0000" if ground.secret.locator != "0000" else "1111", "00000000")
    for _ in range(20):
        assert ground.invitations.admit(stranger) is None
    for _ in range(TRIES - 1):
        assert ground.again().admit(ground.wrong()) is None
    assert ground.invitations.admit(ground.secret) is not None
    assert ground.again().admit(ground.wrong()) is None
    assert ground.standing is Standing.BURNED
    assert ground.invitations.admit(ground.secret) is None
    assert ground.invitations.open() == {}


def test_wrong_attempts_at_once_are_all_counted(ground: Ground) -> None:
    all_ = [threading.Thread(target=ground.invitations.admit, args=(ground.wrong(),)) for _ in range(TRIES - 1)]
    for each in all_:
        each.start()
    for each in all_:
        each.join()
    assert ground.invitations.all()["torino"].tries == TRIES - 1


def test_a_second_one_ends_the_first_and_one_that_is_withdrawn_is_gone(ground: Ground) -> None:
    second = new_code(ROOT).secret
    ground.invitations.make("torino", second, HOUR)
    assert ground.invitations.admit(ground.secret) is None
    assert ground.invitations.admit(second) is not None
    assert ground.invitations.withdraw("torino")
    assert not ground.invitations.withdraw("torino")
    assert not ground.invitations.withdraw("../../etc/passwd")
    assert ground.invitations.admit(second) is None


@pytest.mark.parametrize(
    ("what", "opens"),
    [
        (lambda clock: clock.pass_(DAY - 1), True),
        (lambda clock: clock.pass_(DAY), False),
        (lambda clock: clock.set_clock(2 * DAY), False),
        (lambda clock: (clock.set_clock(-365 * DAY), clock.pass_(DAY - 1)), True),
        (lambda clock: (clock.set_clock(-365 * DAY), clock.pass_(DAY)), False),
        (lambda clock: (clock.pass_(HOUR), clock.restart(), clock.pass_(HOUR)), True),
        (lambda clock: (clock.restart(), clock.set_clock(DAY)), False),
        (lambda clock: (clock.restart(), clock.set_clock(-365 * DAY)), False),
        (lambda clock: (clock.restart(), clock.set_clock(-MINUTE)), True),
    ],
)
def test_its_time_is_over_by_running_time_or_by_the_clock(ground: Ground, what: object, opens: bool) -> None:
    what(ground.clock)  # type: ignore[operator]
    assert (list(ground.invitations.open()) == ["torino"]) is opens
    assert (ground.again().admit(ground.secret) is not None) is opens
    assert ground.standing is (Standing.WAITING if opens else Standing.OVER)


def test_a_clock_that_is_set_back_over_a_restart_gives_back_what_was_not_noted_at_most(ground: Ground) -> None:
    for _ in range(20):
        ground.clock.pass_(HOUR)
        ground.invitations.open()
    ground.clock.restart()
    ground.clock.set_clock(-19 * HOUR)
    assert list(ground.invitations.open()) == ["torino"]
    ground.clock.pass_(4 * HOUR + 1)
    assert ground.invitations.open() == {}


def use(ground: Ground) -> bool:
    found = ground.invitations.admit(ground.secret)
    return found is not None and ground.invitations.bind(found, KEY)


def miss(ground: Ground) -> bool:
    return ground.invitations.admit(ground.wrong()) is not None


def renew(ground: Ground) -> bool:
    ground.invitations.make("torino", ground.secret, HOUR)
    return True


@pytest.fixture
def scenes(ground: Ground) -> Iterator[int]:
    kept = ground.directory.with_name("kept")
    shutil.copytree(ground.directory, kept)

    def each() -> Iterator[int]:
        for at in count(1):
            shutil.rmtree(ground.directory)
            shutil.copytree(kept, ground.directory)
            ground.again()
            yield at

    return each()


@pytest.mark.parametrize("step", [use, miss, renew])
def test_killed_at_any_moment(ground: Ground, scenes: Iterator[int], step: object) -> None:
    assert callable(step)
    for at in scenes:
        try:
            with TRAP.set(ground.directory, at, full=False):
                step(ground)
        except Killed:
            ground.again()
            tries = ground.invitations.all()["torino"].tries
            assert tries in ((0, 1) if step is miss else (0,))
            assert step(ground) is (step is not miss), at
            assert not [each for each in ground.directory.rglob("*.new") if each.stat().st_mode & 0o077]
            if step is use:
                assert not ground.invitations.bind(admitted(ground), OTHER)
        else:
            assert at > 1
            return


@pytest.mark.parametrize("step", [use, miss, renew])
def test_a_disk_that_is_full_lets_nobody_in_and_nobody_try_for_nothing(
    ground: Ground, scenes: Iterator[int], step: object
) -> None:
    assert callable(step)
    next(scenes)
    with TRAP.set(ground.directory, 2, full=True):  # the first is the lock's
        if step is miss:
            assert step(ground) is False
        else:
            with pytest.raises(UnavailableError) as caught:
                step(ground)
            assert caught.value.error_id == "disk_full"
    ground.again()
    if step is miss:
        assert ground.invitations.all() == {}, "an attempt that can't be counted ends it"
    else:
        assert ground.standing is Standing.WAITING
        assert step(ground) is True


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 100, b"[]", b"{}", b'{"site": "torino"}', b"9" * 5000, b"[" * 100_000],
)
def test_a_file_of_garbage_opens_nothing_and_gives_way(ground: Ground, content: bytes) -> None:
    (file,) = ground.directory.rglob("torino.json")
    for garbage in (
        content,
        file.read_bytes().replace(b'"tries": 0', b'"tries": -7'),
        file.read_bytes().replace(b'"lasts": 8', b'"lasts": 998'),
    ):
        file.write_bytes(garbage)
        assert ground.invitations.all() == {}
        assert ground.invitations.admit(ground.secret) is None
        ground.invitations.make("torino", ground.secret, HOUR)
        assert ground.standing is Standing.WAITING


def test_where_the_directory_can_not_be_made_it_is_told(tmp_path: Path) -> None:
    made = Ground(tmp_path)
    made.directory.write_text("a file")
    with pytest.raises(CentralinoError) as caught:
        made.invitations.make("torino", made.secret, HOUR)
    assert caught.value.error_id == "storage"
    assert made.invitations.open() == {}
