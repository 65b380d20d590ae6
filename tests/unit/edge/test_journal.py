"""Events of a branch wait for the centre: in order, through restarts, full disks and garbage, and none is lost without a word."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from appliance.edge import journal as module
from appliance.edge.journal import BESIDE, GARBAGE, THINNED, Event, Journal


def numbers(journal: Journal, octets: int = 1 << 30) -> list[int]:
    return [each.about["n"] for each in journal.waiting(octets)[1]]


def filled(file: Path, count: int, kept: int = 1000) -> Journal:
    journal = Journal(file, kept)
    for n in range(count):
        journal.add(Event("line_down" if n % 3 else "line_up", 1000 + n, about={"n": n}))
    return journal


def test_they_come_in_their_order_and_are_forgotten_when_the_centre_has_them(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal.db", 20)
    name, found = journal.waiting(1 << 20)
    assert [each.about["n"] for each in found] == list(range(20))
    assert [each.number for each in found] == list(range(1, 21))
    assert (found[0].what, found[0].at, found[0].sure) == ("line_up", 1000, True)
    journal.delivered(found[11].number)
    another = Journal(tmp_path / "journal.db")  # started anew
    assert numbers(another) == list(range(12, 20))
    another.delivered(20)
    another.add(Event("line_up", 5, sure=False, about={"n": 99}))
    assert another.waiting(1)[0] == name, "its numbers are the same journal's"
    [last] = another.waiting(1)[1]
    assert (last.number, last.sure) == (21, False)
    assert (tmp_path / "journal.db").stat().st_mode & 0o777 == 0o600


def test_so_many_at_once_as_a_request_takes_and_one_at_least(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal.db", 50)
    assert 1 <= len(numbers(journal, 1500)) < 20
    assert numbers(journal, 1) == [0]


def test_what_is_too_much_is_thinned_and_says_so(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal.db", 350, kept=100)
    found = journal.waiting(1 << 20)[1]
    assert len(found) <= 100
    first, *rest = found
    assert first.what == THINNED
    assert [each.about["n"] for each in rest] == list(range(350 - len(rest), 350)), "the newest are whole"
    assert first.about["since"] == 1000
    gone = 350 - len(rest)
    assert Counter(first.about["of"]) == Counter("line_down" if n % 3 else "line_up" for n in range(gone))
    assert first.number < rest[0].number


@pytest.mark.parametrize("garbage", [b"garbage" * 3000, b"SQLite format 3\0" + bytes(5000)])
def test_garbage_is_put_aside_and_that_is_told_first(tmp_path: Path, garbage: bytes) -> None:
    file = tmp_path / "journal.db"
    name, _found = filled(file, 3).waiting(1)
    file.write_bytes(garbage)
    journal = Journal(file)
    journal.add(Event("line_up", 77, about={"n": 1}))
    journal.add(Event("line_down", 78, about={"n": 2}))
    again, found = journal.waiting(1 << 20)
    assert [each.what for each in found] == [GARBAGE, "line_up", "line_down"]
    assert again != name, "its numbers begin anew"
    assert file.with_name("journal.db.bad").read_bytes() == garbage


def test_on_a_full_disk_they_wait_in_memory_and_the_oldest_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database or disk is full")

    file = tmp_path / "journal.db"
    real = sqlite3.connect
    monkeypatch.setattr(module.sqlite3, "connect", full)
    journal = filled(file, BESIDE + 7)
    assert journal.waiting(1 << 20) == ("", [])
    assert len(caplog.records) == 1, "told once"
    monkeypatch.setattr(module.sqlite3, "connect", real)
    found = journal.waiting(1 << 20)[1]
    assert len(found) == BESIDE
    assert found[0].what == THINNED
    assert sum(found[0].about["of"].values()) == 8
    assert [each.about["n"] for each in found[1:]] == list(range(8, BESIDE + 7))


def test_what_is_remembered_outlives_it(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    assert Journal(file).remembered("change") is None
    Journal(file).remember("change", "71-3")
    Journal(file).remember("change", "71-4")
    assert Journal(file).remembered("change") == "71-4"
