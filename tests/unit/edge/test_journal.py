"""Events of a branch wait for the centre: in order, through restarts, full disks and garbage, and none is lost without a word."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from appliance.edge import journal as module
from appliance.edge.journal import BESIDE, GARBAGE, THINNED, TOLD, Event, Journal, recent


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


def about(events: list[Event]) -> list[int]:
    return [each.about["n"] for each in events]


def test_the_last_that_the_centre_has_are_shown_too_the_newest_first(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    journal = filled(file, TOLD + 30)
    assert about(journal.recent(5)) == list(range(TOLD + 29, TOLD + 24, -1))
    journal.delivered(7)
    journal.delivered(TOLD + 20)
    assert numbers(journal) == list(range(TOLD + 20, TOLD + 30)), "nothing is told twice"
    found = journal.recent(10_000)
    assert about(found) == list(range(TOLD + 29, 19, -1)), "ten that wait, and the last that were delivered"
    assert (found[-1].what, found[-1].at, found[-1].number) == ("line_down", 1020, 21)
    journal.delivered(TOLD + 30)
    journal.delivered(TOLD + 30)
    assert about(recent(file, 10_000)) == list(range(TOLD + 29, 29, -1))
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT count(*) FROM told").fetchone() == (TOLD,)
    database.close()


def test_a_journal_of_a_release_that_kept_none_of_them(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    filled(file, 5)
    with sqlite3.connect(file) as database:
        database.execute("DROP TABLE told")
    database.close()
    assert about(recent(file, 3)) == [4, 3, 2]
    Journal(file).delivered(4)
    assert about(Journal(file).recent(9)) == [4, 3, 2, 1, 0]


def test_without_room_for_them_what_is_delivered_is_forgotten_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    journal = filled(file, 5)
    with sqlite3.connect(file) as database:
        full = "CREATE TRIGGER full BEFORE INSERT ON told BEGIN SELECT raise(FAIL, 'no'); END"
        database.execute(full.replace("raise(FAIL, 'no')", "* FROM nowhere"))  # an OperationalError, as a full disk is
    database.close()
    journal.delivered(3)
    assert numbers(journal) == [3, 4]
    assert about(journal.recent(9)) == [4, 3]


def test_who_only_reads_makes_nothing_and_puts_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "journal.db"
    with pytest.raises(FileNotFoundError):
        recent(file, 5)
    file.write_bytes(b"garbage" * 3000)
    with pytest.raises(sqlite3.DatabaseError):
        recent(file, 5)
    journal = Journal(file)
    assert journal.recent(5) == []
    assert [each.name for each in tmp_path.iterdir()] == ["journal.db"]

    def full(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(module.sqlite3, "connect", full)
    for n in range(3):
        journal.add(Event("line_up", n, about={"n": n}))
    assert about(journal.recent(2)) == [2, 1], "those that wait in memory"
