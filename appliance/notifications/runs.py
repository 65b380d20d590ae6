"""The files of scheduled exports in the database: which calls each holds, and whether it has arrived.

Which calls a file holds and how they are written is settled once, before the first attempt. So a file that is sent again is the same
file, under the same name; and the next one begins behind it, by the order in which calls were recorded, whatever the clock did.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from appliance.notifications.queue import AHEAD_MS, ERROR_MAX
from appliance.store import history as table
from appliance.store.database import Database

KEPT: Final = 1000
"""Files of one export that are remembered."""


class RunState(StrEnum):
    """``begun``: no file, but where the first one begins. ``waiting``: it hasn't arrived yet."""

    BEGUN = "begun"
    WAITING = "waiting"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Run:
    """One file. Times in milliseconds; ``settings``: JSON of how calls are chosen and written."""

    number: int
    export: str
    first_call: int
    last_call: int
    since: int
    until: int
    file: str
    settings: str
    state: RunState
    attempts: int
    next_try: int
    tried: int | None
    finished: int | None
    error: str

    def ready(self, now: int) -> bool:
        """Whether it is to be tried now."""
        return self.state is RunState.WAITING and (self.next_try <= now or self.next_try > now + AHEAD_MS)


class Runs:
    """Reads and writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self) -> dict[str, Run]:
        """The newest of each export."""
        t = table.export_run.c
        last = select(func.max(t.number)).group_by(t.export)
        with self._database.read() as connection:
            rows = connection.execute(select(table.export_run).where(t.number.in_(last))).all()
        return {row.export: _run(row) for row in rows}

    def listed(self, export: str | None = None, limit: int = 50) -> list[Run]:
        """Files, newest first."""
        t = table.export_run.c
        query = select(table.export_run).where(t.state != RunState.BEGUN.value).order_by(t.number.desc()).limit(limit)
        if export is not None:
            query = query.where(t.export == export)
        with self._database.read() as connection:
            return [_run(row) for row in connection.execute(query)]

    def begin(self, export: str, now: int) -> None:
        """From now on calls are for this export's first file."""
        with self._database.write() as connection:
            last = self._last_call(connection)
            self._add(
                connection, export, RunState.BEGUN, first_call=last + 1, last_call=last, since=now, until=now, now=now
            )

    def add(self, export: str, after: Run, until: int, file: str, settings: str, now: int) -> None:
        """A file with everything recorded since the one before."""
        with self._database.write() as connection:
            last = self._last_call(connection)
            self._add(
                connection, export, RunState.WAITING, first_call=after.last_call + 1, last_call=last, since=after.until,
                until=until, now=now, file=file, settings=settings,
            )  # fmt: skip
            t = table.export_run.c
            old = select(t.number).where(t.export == export).order_by(t.number.desc()).offset(KEPT).limit(100)
            numbers = list(connection.execute(old).scalars())
            connection.execute(delete(table.export_run).where(t.number.in_(numbers)))

    def arrived(self, number: int, now: int) -> None:
        """The file is where it was to go."""
        values = {"state": RunState.DELIVERED.value, "finished": now, "tried": now, "error": ""}
        self._set(number, values)

    def failed(self, number: int, error: str, wait_ms: int, now: int) -> None:
        """It isn't there yet."""
        self._set(number, {"error": error[:ERROR_MAX], "tried": now, "next_try": now + wait_ms})

    def retry(self, export: str, now: int) -> int:
        """Try what waits of an export now. How many files that are."""
        t = table.export_run.c
        where = (t.export == export) & (t.state == RunState.WAITING.value)
        with self._database.write() as connection:
            return connection.execute(update(table.export_run).where(where).values(next_try=now)).rowcount

    def _set(self, number: int, values: dict[str, Any]) -> None:
        t = table.export_run.c
        with self._database.write() as connection:
            connection.execute(
                update(table.export_run).where(t.number == number).values(**values, attempts=t.attempts + 1)
            )

    @staticmethod
    def _last_call(connection: Connection) -> int:
        return connection.execute(select(func.max(table.reader.c.last_call))).scalar() or 0

    @staticmethod
    def _add(
        connection: Connection,
        export: str,
        state: RunState,
        *,
        first_call: int,
        last_call: int,
        since: int,
        until: int,
        now: int,
        file: str = "",
        settings: str = "{}",
    ) -> None:
        number = (connection.execute(select(func.max(table.export_run.c.number))).scalar() or 0) + 1
        connection.execute(
            insert(table.export_run).values(
                number=number, export=export, first_call=first_call, last_call=last_call, since=since, until=until,
                file=file, settings=settings, state=state.value, attempts=0, next_try=now, error="",
            )
        )  # fmt: skip


def _run(row: Row[Any]) -> Run:
    values = dict(row._mapping)
    return Run(**{**values, "state": RunState(values["state"])})
