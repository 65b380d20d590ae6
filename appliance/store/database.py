"""One database, SQLite or PostgreSQL: connections, transactions, its tables brought up to date, its errors made ours.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit that returned survives a power cut. Writers take turns on
both: ``BEGIN IMMEDIATE`` on SQLite, an advisory lock on PostgreSQL; readers never wait.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from appliance.core.errors import CentralinoError, CorruptError, Fault, InvalidError, UnavailableError

WAIT_SECONDS: Final = 30
"""How long a writer waits for its turn."""

_ADVISORY_LOCK: Final = 0x43_45_4E_54  # "CENT"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a process waits for the database, in seconds.

    :param turn: for its turn.
    :param answer: for all that it reads in one transaction; None: as long as it takes.
    """

    turn: float = WAIT_SECONDS
    answer: float | None = None


PATIENT: Final = Patience()


class Database:
    """An engine with our rules. The tables are made or brought up to date once, under the writers' lock, if the version noted in
    ``version_table`` isn't ``version``.

    :param upgrade: else they are somebody else's to make, and what isn't there is UnavailableError at once: ``database_missing``,
        or ``database_updating``.
    """

    def __init__(
        self, url: str, *, version_table: str, version: str, scripts: Path, upgrade: bool = True,
        patience: Patience = PATIENT,
    ) -> None:  # fmt: skip
        self.url = _url(url)
        self._version_table, self._version, self._scripts = version_table, version, scripts
        self._patience = patience
        self.engine = _engine(self.url, patience, create=upgrade)
        try:
            if upgrade:
                self._upgrade()
            else:
                self._must_be_up_to_date()
        except BaseException:
            self.engine.dispose()
            raise

    @property
    def name(self) -> str:
        """For messages: the URL without its password."""
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only transaction. UnavailableError (``too_slow``) when it takes longer than the process's patience."""
        with self._errors(), self.engine.connect() as connection, connection.begin():
            if self._patience.answer is None:
                yield connection
            else:
                with _within(connection, self._patience.answer):
                    yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that nobody else writes beside; committed at the end, rolled back on any error."""
        options = {"centralino_write": True}
        with self._errors(), self.engine.connect().execution_options(**options) as connection, connection.begin():
            if self.engine.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{int(self._patience.turn * 1000)}ms'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection

    def check(self) -> None:
        """Raises CorruptError if SQLite finds damage in its file. PostgreSQL's server watches over its own."""
        if self.engine.dialect.name != "sqlite":
            return
        with self.read() as connection:
            found = [row[0] for row in connection.execute(text("PRAGMA integrity_check(5)"))]
        if found != ["ok"]:
            raise CorruptError(f"{self.name} is damaged: {'; '.join(found)}", _RESTORE)

    def _upgrade(self) -> None:
        with self.read() as connection:
            if self._noted(connection) == self._version:
                return
        with self.write() as connection:
            noted = self._noted(connection)  # another process may have been faster
            if noted != self._version:
                migrate(connection, self._scripts, self._version_table, noted)

    def _must_be_up_to_date(self) -> None:
        with self.read() as connection:
            noted = self._noted(connection)
        if noted is None:
            raise _missing(self.name)
        if noted != self._version:
            raise UnavailableError(
                f"{self.name}: its tables are being brought up to date", "it may take some minutes: try again",
                error_id="database_updating",
            )  # fmt: skip

    def _noted(self, connection: Connection) -> str | None:
        if not inspect(connection).has_table(self._version_table):
            return None
        return connection.execute(text(f"SELECT version_num FROM {self._version_table}")).scalar()  # noqa: S608

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PoolTimeout) as error:
            raise explained(error, self.name) from error


@contextmanager
def _within(connection: Connection, seconds: float) -> Iterator[None]:
    """Have the database end what takes longer."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))
        yield
        return
    driver: Any = connection.connection.driver_connection
    end = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


def migrate(connection: Connection, scripts: Path, version_table: str, noted: str | None) -> None:
    """Bring the tables up to date, inside the caller's transaction. Raises CorruptError if they are newer than we are."""
    # Alembic takes a tenth of a second to import and is needed once in the life of a release.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = version_table
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if noted is not None and noted not in known:
        raise CorruptError(
            f"the database has tables of a newer release (version {noted})",
            "start the release that wrote it, or restore a backup made by this one",
            error_id="too_new",
        )
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise CorruptError(f"the tables can't be brought up to date: {error}", _RESTORE) from error


def _url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The text is not repeated: a password may stand in it.
        raise _bad_url("is not a database URL") from None
    if url.drivername in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise _bad_url("names no file")
        return url
    if url.drivername != "postgresql+psycopg":
        raise _bad_url(f"names an unknown kind of database, {url.drivername}")
    return url


def _bad_url(message: str) -> InvalidError:
    hint = "sqlite:////path/to/document.db or postgresql://user@host/database"
    return InvalidError([Fault("store/url", message, hint, "bad_url")])


def _engine(url: URL, patience: Patience, *, create: bool) -> Engine:
    """``hide_parameters``: an error must not carry what was to be written into a log."""
    if url.get_backend_name() == "sqlite":
        assert url.database is not None  # noqa: S101 - checked by _url, for mypy
        if create:
            _create(Path(url.database))
        elif not Path(url.database).exists():
            raise _missing(url.render_as_string())
        engine = create_engine(url, connect_args={"timeout": patience.turn}, hide_parameters=True)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10}, hide_parameters=True)
    except (NoSuchModuleError, ImportError) as error:
        raise UnavailableError("the PostgreSQL client library can't be loaded", "run make venv") from error


def _create(path: Path) -> None:
    """An empty file that the world can't read, before SQLite would make one that it can."""
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660))
    except PermissionError:
        if path.exists():
            return  # a read-only database can still be read
        raise _os_error(path, "may not be created by this user") from None
    except OSError as error:
        raise _os_error(path, error.strerror or str(error)) from error


def _missing(name: str) -> UnavailableError:
    return UnavailableError(
        f"{name}: there is nothing in it yet", "is the process running that makes it?", error_id="database_missing"
    )


def _os_error(path: Path, what: str) -> UnavailableError:
    return UnavailableError(f"{path}: {what}", "check the directory, its owner and the disk", error_id="read_only")


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver's guess
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("centralino_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


_RESTORE: Final = "restore the database from a backup, or import the last export into a new one"

_STEPS: Final = 20_000
"""Steps of SQLite's machine between two looks at the clock: a millisecond or so."""
_SLOW: Final = ("too_slow", "this takes too long", "ask for a shorter time, or for something rarer")

_SQLITE: Final[dict[int, tuple[type[CentralinoError], str, str, str]]] = {
    sqlite3.SQLITE_FULL: (UnavailableError, "disk_full", "the disk is full", "free some space, then try again"),
    sqlite3.SQLITE_IOERR: (UnavailableError, "disk_error", "the disk doesn't take it", "check the disk and its free space"),
    sqlite3.SQLITE_BUSY: (UnavailableError, "database_busy", "another process keeps it locked", "try again"),
    sqlite3.SQLITE_LOCKED: (UnavailableError, "database_busy", "another process keeps it locked", "try again"),
    sqlite3.SQLITE_READONLY: (UnavailableError, "read_only", "can't be written to by this user", "check its owner and mode"),
    sqlite3.SQLITE_CANTOPEN: (UnavailableError, "read_only", "can't be opened by this user", "check its directory's owner and mode"),
    sqlite3.SQLITE_PERM: (UnavailableError, "read_only", "may not be opened by this user", "check its owner and mode"),
    sqlite3.SQLITE_INTERRUPT: (UnavailableError, *_SLOW),
    sqlite3.SQLITE_CORRUPT: (CorruptError, "corrupt", "is damaged", _RESTORE),
    sqlite3.SQLITE_NOTADB: (CorruptError, "corrupt", "is not a database", _RESTORE),
}  # fmt: skip

_POSTGRESQL: Final[tuple[tuple[str, type[CentralinoError], str, str, str], ...]] = (
    ("53100", UnavailableError, "disk_full", "the server's disk is full", "free some space, then try again"),
    ("55P03", UnavailableError, "database_busy", "another process keeps it locked", "try again"),
    ("57014", UnavailableError, *_SLOW),
    ("25006", UnavailableError, "read_only", "is read-only", "is it a standby server?"),
    ("42501", UnavailableError, "read_only", "this user has no right to it", "grant it to the user of the URL"),
    ("XX00", CorruptError, "corrupt", "is damaged", _RESTORE),
)


def explained(error: DBAPIError | PoolTimeout, name: str) -> CentralinoError:
    """A database's error as one of ours: what it was, and what to do."""
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF
        if code in _SQLITE:
            kind, error_id, message, hint = _SQLITE[code]
            return kind(f"{name}: {message}", hint, error_id=error_id)
    state = getattr(original, "sqlstate", None) or ""
    for start, kind, error_id, message, hint in _POSTGRESQL:
        if state.startswith(start):
            return kind(f"{name}: {message}", hint, error_id=error_id)
    reason = str(original or error).strip().splitlines() or ["no reason given"]
    hint = "is the server running, and are address, user and database right?"
    if isinstance(error, InterfaceError | PoolTimeout) or not state:
        return UnavailableError(f"{name}: {reason[0]}", hint, error_id="database_unavailable")
    return UnavailableError(f"{name}: {reason[0]} ({state})", hint, error_id="database_unavailable")
