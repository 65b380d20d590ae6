"""The secrets that credentials are made from: a small SQLite database that coturn looks into at each request.

Two are good at any time: the newest, from which credentials are made, and the one before, so that those made from it live out their
time. A new one comes once a day. Nobody else ever learns them.

What happens when…

* the process is killed, or the disk is full: the database is as before; credentials go on being made from the newest secret;
* the clock jumps forward: a new secret a little early; all credentials have ended, and clients ask for new ones;
* the clock jumps back: a new secret at once, for the age of the newest can't be told any more;
* the file is garbage or gone: another one is made, with new secrets; whoever uses the old one must be started anew.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.core.errors import UnavailableError
from appliance.turn.credentials import LIFETIME_S
from appliance.turn.plan import REALM

AGE_S: Final = 24 * 3600
"""A secret is replaced at this age. It is good for as long again: longer than any credentials made from it."""
SLACK_S: Final = 300
"""A clock that is set by NTP goes back by seconds, not by minutes."""
KEPT: Final = 2
BYTES: Final = 32
WAIT_S: Final = 2.0
assert LIFETIME_S < AGE_S  # noqa: S101

_TABLES: Final = (
    # coturn's own table and columns; the second one is ours.
    "CREATE TABLE IF NOT EXISTS turn_secret (realm varchar(127) default '', value varchar(127), primary key (realm, value))",
    "CREATE TABLE IF NOT EXISTS made (serial INTEGER PRIMARY KEY AUTOINCREMENT, value TEXT NOT NULL, at REAL NOT NULL)",
)


class Keys:
    """The secrets in one file. ``group``: numeric group that may read it (coturn's), None: ours alone."""

    def __init__(self, file: Path, group: int | None = None) -> None:
        self._file, self._group = file, group

    def tend(self, now: float) -> bool:
        """Make what is missing, replace what is too old. ``now``: seconds since 1970.

        :returns: whether the file is another one than before, which whoever reads it doesn't notice.
        :raises UnavailableError: ``turn_secrets``: it can't be written.
        """
        fresh = not self._file.exists()
        try:
            with self._open() as database:
                self._renew(database, now)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_garbage(error):
                raise _unavailable(error) from error
            for file in (self._file, self._file.with_name(f"{self._file.name}-journal")):
                file.unlink(missing_ok=True)
            return self.tend(now) or True
        return fresh

    def newest(self) -> str:
        """The secret that credentials are to be made from. :raises UnavailableError: ``turn_secrets``: there is none."""
        try:
            with self._open(create=False) as database:
                found = database.execute("SELECT value FROM made ORDER BY serial DESC LIMIT 1").fetchone()
        except sqlite3.Error as error:
            raise _unavailable(error) from error
        if found is None:
            raise _unavailable("it is empty")
        return str(found[0])

    @staticmethod
    def _renew(database: sqlite3.Connection, now: float) -> None:
        with database:
            database.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                database.execute(table)
            found = database.execute("SELECT at FROM made ORDER BY serial DESC LIMIT 1").fetchone()
            if found is not None and -SLACK_S <= now - found[0] < AGE_S:
                return
            value = secrets.token_hex(BYTES)
            database.execute("INSERT INTO made (value, at) VALUES (?, ?)", (value, now))
            database.execute("INSERT INTO turn_secret VALUES (?, ?)", (REALM, value))
            database.execute(
                "DELETE FROM made WHERE serial NOT IN (SELECT serial FROM made ORDER BY serial DESC LIMIT ?)", (KEPT,)
            )
            database.execute("DELETE FROM turn_secret WHERE value NOT IN (SELECT value FROM made)")

    @contextlib.contextmanager
    def _open(self, *, create: bool = True) -> Iterator[sqlite3.Connection]:
        if create:
            self._make()
        database = sqlite3.connect(f"file:{self._file}?mode=rw", timeout=WAIT_S, uri=True, isolation_level=None)
        try:
            yield database
        finally:
            database.close()

    def _make(self) -> None:
        """An empty file is a database to SQLite; nobody else may read it from the first moment on."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            if self._group is not None:
                os.chown(self._file, -1, self._group)
                self._file.chmod(0o640)
        except OSError as error:
            raise _unavailable(error.strerror or str(error)) from error


def _is_garbage(error: sqlite3.OperationalError) -> bool:
    """A table of another shape: not what we wrote."""
    return "no such column" in str(error) or "has no column" in str(error)


def _unavailable(why: object) -> UnavailableError:
    return UnavailableError(
        f"the TURN server's secrets can't be kept: {why}",
        "free space on the disk that holds the state directory, check its owner: centralino doctor",
        error_id="turn_secrets",
    )
