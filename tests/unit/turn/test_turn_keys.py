"""Secrets of the TURN server: two at any time, never lost halfway, and another pair instead of garbage."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.turn.keys import AGE_S, Keys

NOW = 1_800_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "served" / "secrets.db"


def good(file: Path) -> set[str]:
    """What coturn finds, by its own question."""
    database = sqlite3.connect(file)
    try:
        return {value for (value,) in database.execute("select value from turn_secret where realm='centralino'")}
    finally:
        database.close()


def test_the_first_look_makes_one_that_only_its_owner_can_read(file: Path) -> None:
    assert Keys(file).tend(NOW)
    assert good(file) == {Keys(file).newest()}
    assert len(Keys(file).newest()) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_day_later_there_is_another_and_the_former_is_good_for_one_more(file: Path) -> None:
    keys = Keys(file)
    keys.tend(NOW)
    first = keys.newest()
    assert keys.tend(NOW + AGE_S - 1) is False
    assert keys.newest() == first
    keys.tend(NOW + AGE_S)
    second = keys.newest()
    assert good(file) == {first, second}
    keys.tend(NOW + 2 * AGE_S)
    assert good(file) == {second, keys.newest()}


def test_a_clock_that_jumps_back_makes_a_new_one_and_a_small_step_doesnt(file: Path) -> None:
    keys = Keys(file)
    keys.tend(NOW)
    first = keys.newest()
    keys.tend(NOW - 60)
    assert keys.newest() == first
    keys.tend(NOW - AGE_S)
    assert good(file) == {first, keys.newest()}
    assert keys.newest() != first
    second = keys.newest()
    keys.tend(NOW - AGE_S + 60)
    assert keys.newest() == second, "its age counts from the clock as it is now"


@pytest.mark.parametrize("garbage", [b"garbage" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_garbage_gives_way_to_new_secrets(file: Path, garbage: bytes) -> None:
    keys = Keys(file)
    keys.tend(NOW)
    first = keys.newest()
    file.write_bytes(garbage)
    with pytest.raises(UnavailableError):
        keys.newest()
    assert keys.tend(NOW) is True, "whoever reads the old file must be told"
    assert good(file) == {keys.newest()}
    assert keys.newest() != first


def test_tables_of_somebody_else_give_way_too(file: Path) -> None:
    file.parent.mkdir()
    database = sqlite3.connect(file)
    database.execute("CREATE TABLE made (something TEXT)")
    database.commit()
    database.close()
    assert Keys(file).tend(NOW) is True
    assert good(file) == {Keys(file).newest()}


def test_what_can_not_be_written_leaves_what_there_was(file: Path) -> None:
    keys = Keys(file)
    keys.tend(NOW)
    first = keys.newest()
    blocker = sqlite3.connect(file, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(UnavailableError) as refused:
            keys.tend(NOW + AGE_S)
        assert refused.value.error_id == "turn_secrets"
        assert keys.newest() == first
    finally:
        blocker.close()
    keys.tend(NOW + AGE_S)
    assert keys.newest() != first


def test_without_a_file_there_is_no_secret(file: Path) -> None:
    with pytest.raises(UnavailableError):
        Keys(file).newest()
    assert not file.exists()
