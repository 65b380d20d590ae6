"""What happened at a branch, kept until the centre has it: a line died, another became the best, a change was undone.

Events have numbers and come in their order. There are :data:`KEPT` at most; where there are more, the oldest become one that says how many of what they were
(``thinned``), so nothing is lost without a word. The last :data:`TOLD` that the centre has stay too, for who stands before the edge.

What happens when…

* the centre is away, or the machine is started anew: they wait, on the disk;
* the disk is full, or can't be written: they wait in memory, :data:`BESIDE` of them, and are written when they can be; what the centre has may not stay then;
* the file is garbage: it is put aside, another is begun, and that is its first event;
* we are killed after the centre has taken some: it is told them again, and knows them by their numbers;
* the clock isn't sure: an event says so; their order is that of their numbers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

_log = logging.getLogger("centralino.edge")
T = TypeVar("T")

KEPT: Final = 10_000
"""A month of a line that dies every ten minutes, and 4 MB."""
BESIDE: Final = 500
TOLD: Final = 200
THINNED: Final = "thinned"
GARBAGE: Final = "journal_lost"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS event (number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, sure INTEGER NOT NULL, what TEXT NOT NULL, about TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS told (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, sure INTEGER NOT NULL, what TEXT NOT NULL, about TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
_ADD: Final = "INSERT INTO event (at, sure, what, about) VALUES (?, ?, ?, ?)"
_KEEP: Final = (
    "INSERT OR REPLACE INTO told SELECT * FROM event WHERE number <= ? ORDER BY number DESC LIMIT ?",
    "DELETE FROM told WHERE number NOT IN (SELECT number FROM told ORDER BY number DESC LIMIT ?)",
)
_FORGET: Final = "DELETE FROM event WHERE number <= ?"


@dataclass(frozen=True, slots=True)
class Event:
    """:param at: ms since 1970; :param sure: whether the clock was; :param about: what there is to say of it."""

    what: str
    at: int
    sure: bool = True
    about: dict[str, Any] = field(default_factory=dict)
    number: int = 0


class Journal:
    """See this module. ``file``: made if it isn't there. Several threads may use it."""

    def __init__(self, file: Path, kept: int = KEPT) -> None:
        self._file, self._kept = file, kept
        self._lock = threading.Lock()
        self._beside: list[Event] = []
        self._troubled = False

    def add(self, event: Event) -> None:
        """Keep it; where it can't be written, in memory."""
        with self._lock:
            self._beside.append(event)
            if len(self._beside) > BESIDE:
                self._beside[:2] = [_thinned(self._beside[:2])]
        self._do(lambda _database: None, None)

    def waiting(self, octets: int) -> tuple[str, list[Event]]:
        """The journal's name, and its oldest events, of so many octets together; at least one, if there is any."""

        def found(database: sqlite3.Connection) -> tuple[str, list[Event]]:
            made: list[Event] = []
            left = octets
            for number, at, sure, what, about in database.execute("SELECT * FROM event ORDER BY number"):
                left -= len(about) + 100
                if made and left < 0:
                    break
                made.append(Event(what, at, bool(sure), json.loads(about), number))
            return self._name(database), made

        nothing: tuple[str, list[Event]] = ("", [])
        return self._do(found, nothing)

    def delivered(self, number: int) -> None:
        """The centre has all up to this one."""

        def forget(database: sqlite3.Connection) -> None:
            try:
                with database:
                    database.execute("BEGIN IMMEDIATE")
                    database.execute(_KEEP[0], (number, TOLD))
                    database.execute(_KEEP[1], (TOLD,))
                    database.execute(_FORGET, (number,))
            except sqlite3.OperationalError:  # no room for both: what is delivered isn't told for ever
                database.execute(_FORGET, (number,))

        self._do(forget, None)

    def recent(self, count: int) -> list[Event]:
        """The newest of those that wait, and of those that the centre has, the newest first; what can't be read isn't among them."""
        with self._lock:
            beside = self._beside[: -count - 1 : -1]
        try:
            return [*beside, *recent(self._file, count)][:count]
        except (sqlite3.Error, OSError, ValueError, TypeError):
            return beside

    def remembered(self, key: str) -> str | None:
        """What was kept by :meth:`remember`."""

        def found(database: sqlite3.Connection) -> str | None:
            row = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])

        return self._do(found, None)

    def remember(self, key: str, value: str) -> None:
        """For whoever comes after us."""
        self._do(lambda database: database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value)), None)

    def _write(self, database: sqlite3.Connection) -> None:
        """What waits in memory; and thin what is too much."""
        if not self._beside:
            return
        with database:
            database.execute("BEGIN IMMEDIATE")
            rows = [(each.at, each.sure, each.what, json.dumps(each.about)) for each in self._beside]
            database.executemany(_ADD, rows)
            (count,) = database.execute("SELECT count(*) FROM event").fetchone()
            if count > self._kept:
                self._thin(database, max(2, count - self._kept + self._kept // 10))
        self._beside.clear()

    @staticmethod
    def _thin(database: sqlite3.Connection, count: int) -> None:
        oldest = database.execute("SELECT * FROM event ORDER BY number LIMIT ?", (count,)).fetchall()
        made = _thinned([Event(what, at, bool(sure), json.loads(about)) for _number, at, sure, what, about in oldest])
        last = oldest[-1][0]
        database.execute(_FORGET, (last,))
        row = (last, made.at, made.sure, made.what, json.dumps(made.about))
        database.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?)", row)

    @staticmethod
    def _name(database: sqlite3.Connection) -> str:
        """What tells its numbers from those of a journal before it."""
        database.execute("INSERT OR IGNORE INTO meta VALUES ('name', ?)", (secrets.token_hex(8),))
        return str(database.execute("SELECT value FROM meta WHERE key = 'name'").fetchone()[0])

    def _do(self, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """With the file, and what waited in memory in it. What fails is told once, and is another time's."""
        with self._lock:
            try:
                self._make()
                database = sqlite3.connect(f"file:{self._file}?mode=rw", timeout=1.0, uri=True, isolation_level=None)
                with contextlib.closing(database):
                    for table in _TABLES:
                        database.execute(table)
                    self._write(database)
                    found = action(database)
            except sqlite3.OperationalError as error:  # full, read-only, locked
                self._tell(error)
                return otherwise
            except sqlite3.DatabaseError as error:
                self._tell(error)
                self._put_aside()
                return otherwise
            except (OSError, ValueError) as error:
                self._tell(error)
                return otherwise
            self._troubled = False
            return found

    def _make(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    def _put_aside(self) -> None:
        with contextlib.suppress(OSError):
            self._file.replace(self._file.with_name(f"{self._file.name}.bad"))
            last = self._beside[-1] if self._beside else None
            self._beside.insert(0, Event(GARBAGE, last.at if last else 0, sure=False))

    def _tell(self, error: Exception) -> None:
        if not self._troubled:
            _log.warning("events wait in memory: %s: %s", self._file, error)
        self._troubled = True


def recent(file: Path, count: int) -> list[Event]:
    """:meth:`Journal.recent`, for who isn't the agent: nothing is made, written or put aside.

    :raises FileNotFoundError: there is no journal; :raises sqlite3.Error, ValueError, TypeError: it is garbage, or can't be read now.
    """
    file.stat()
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=rw", timeout=1.0, uri=True)) as database:
        known = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE name IN ('event', 'told')")}
        rows: list[tuple[int, int, int, str, str]] = []
        for table in known:
            rows += database.execute(f"SELECT * FROM {table} ORDER BY number DESC LIMIT ?", (count,))  # noqa: S608 (one of two)
    rows.sort(reverse=True)
    return [
        Event(what, at, bool(sure), dict(json.loads(about)), number) for number, at, sure, what, about in rows[:count]
    ]


def _thinned(events: list[Event]) -> Event:
    """One in place of several. Of those that were thinned before, what they counted."""
    counts: Counter[str] = Counter()
    for each in events:
        if each.what == THINNED:
            counts.update(each.about["of"])
        else:
            counts[each.what] += 1
    first = events[0]
    since = first.about["since"] if first.what == THINNED else first.at
    return Event(THINNED, events[-1].at, all(each.sure for each in events), {"since": since, "of": dict(counts)})
