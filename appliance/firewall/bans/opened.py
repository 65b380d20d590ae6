"""The database of bans, opened when it is first needed, and again after it couldn't be: the judge begins without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from appliance.core.errors import CorruptError, UnavailableError
from appliance.paths import Paths
from appliance.store.bans import open_bans
from appliance.store.database import Database


class LateDatabase:
    """For one thread. Raises what :func:`~appliance.store.bans.open_bans` raises, at each transaction until it could be opened."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._database: Database | None = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads."""
        with self._whole(), self._opened().read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes."""
        with self._whole(), self._opened().write() as connection:
            yield connection

    def close(self) -> None:
        """Close it, if it was opened."""
        if self._database is not None:
            self._database.close()
            self._database = None

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """A damaged file says what to do here: nobody needs a backup of who was kept out. It is opened anew at each transaction, so the
        next one finds the file that was put in its place."""
        try:
            yield
        except CorruptError as error:
            self.close()
            raise CorruptError(
                error.message,
                f"move {self._paths.bans_db} and what begins with its name away: another is made within seconds, and bans that stand go on",
                error_id=error.error_id,
            ) from error

    def _opened(self) -> Database:
        if self._database is None:
            try:
                self._paths.store.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UnavailableError(
                    f"the database of bans can't be made: {error.strerror or error}", f"see {self._paths.store}",
                    error_id="database_unavailable",
                ) from error  # fmt: skip
            self._database = open_bans(paths=self._paths)
        return self._database
