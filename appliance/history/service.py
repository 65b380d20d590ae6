"""Questions to the history: calls by time, number, direction and outcome; one call with its legs; alarms and gaps.

Pages follow a key (start and id), so the millionth page costs what the first one does.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, literal, select, tuple_

from appliance.core.errors import Fault, InvalidError, NotFoundError
from appliance.history.model import Call, Direction, Leg, Outcome
from appliance.history.rows import read_call, read_leg
from appliance.history.spool import LIVE
from appliance.store import history as table
from appliance.store.database import Database

PAGE_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls. Nothing given: all.

    :param since: calls that started then or later; with a time zone.
    :param until: calls that started before.
    :param number: an extension or number that took part in any role, exactly as recorded (outside numbers as ``+39…``).
    """

    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    number: str = ""
    direction: Direction | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call with its id in the history."""

    id: int
    call: Call


@dataclass(frozen=True, slots=True)
class Page:
    """Calls, newest first. ``next`` goes into :meth:`History.calls` for the following page; None: there is none."""

    calls: tuple[StoredCall, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that needs somebody's attention. ``cleared`` is None while it lasts. Times in ms since the epoch."""

    code: str
    severity: str
    message: str
    raised: int
    cleared: int | None


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which calls may be missing. Times in ms since the epoch."""

    since: int
    until: int
    reason: str
    detail: str


class History:
    """Reads only; any number of processes may, while the daemon writes."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def calls(self, filter: CallFilter = CallFilter(), *, limit: int = 50, after: str | None = None) -> Page:
        """One page of calls, newest first, with their legs.

        :param limit: 1–1,000.
        :param after: ``next`` of the page before.
        :raises InvalidError: a limit, time or page key that can't be.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise _invalid("limit", f"{limit} is not a page size", f"1 to {PAGE_MAX}")
        query = _query(filter, _key(after)).limit(limit + 1)
        with self.database.read() as connection:
            rows: Sequence[Any] = connection.execute(query).all()
            legs = self._legs(connection, [row.id for row in rows[:limit]])
        calls = tuple(StoredCall(row.id, read_call(row, tuple(legs.get(row.id, ())))) for row in rows[:limit])
        more = len(rows) > limit
        return Page(calls, f"{calls[-1].call.started}.{calls[-1].id}" if more else None)

    def call(self, id: int) -> StoredCall:
        """One call. NotFoundError when there is none of that id."""
        with self.database.read() as connection:
            row = connection.execute(select(table.call).where(table.call.c.id == id)).one_or_none()
            if row is None:
                raise NotFoundError(f"no call {id} in the history", "centralino calls lists them with their ids")
            legs = self._legs(connection, [id])
        return StoredCall(id, read_call(row, tuple(legs.get(id, ()))))

    def alarms(self, *, cleared: bool = False) -> list[Alarm]:
        """Alarms that last, oldest first; with ``cleared`` also those that are over."""
        query = select(table.alarm).order_by(table.alarm.c.id)
        if not cleared:
            query = query.where(table.alarm.c.cleared.is_(None))
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return [Alarm(row.code, row.severity, row.message, row.raised, row.cleared) for row in rows]

    def unread_s(self, spool: Path) -> float:
        """How old the engine's newest event is if nobody has read it yet, in seconds; 0: all is read."""
        try:
            live = (spool / LIVE).stat()
        except FileNotFoundError:
            return 0
        query = select(table.spool_file.c.offset).where(
            table.spool_file.c.inode == live.st_ino, table.spool_file.c.done.is_(None)
        )
        with self.database.read() as connection:
            offset = connection.execute(query).scalars().first() or 0
        return max(0.0, time.time() - live.st_mtime) if live.st_size > offset else 0

    def gaps(self, since: datetime.datetime | None = None, until: datetime.datetime | None = None) -> list[Gap]:
        """Times in which calls may be missing, oldest first, as far as they touch the given time."""
        query = select(table.gap).order_by(table.gap.c.since, table.gap.c.id)
        if since is not None:
            query = query.where(table.gap.c.until >= _millis("since", since))
        if until is not None:
            query = query.where(table.gap.c.since < _millis("until", until))
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return [Gap(row.since, row.until, row.reason, row.detail) for row in rows]

    @staticmethod
    def _legs(connection: Any, ids: list[int]) -> dict[int, list[Leg]]:
        found: dict[int, list[Leg]] = {}
        if ids:
            query = select(table.leg).where(table.leg.c.call.in_(ids)).order_by(table.leg.c.call, table.leg.c.position)
            for row in connection.execute(query):
                found.setdefault(row.call, []).append(read_leg(row))
        return found


def _query(filter: CallFilter, key: tuple[int, int] | None) -> Select[Any]:
    # With a number the search walks the table of parties, whose primary key is (number, started, call).
    call, party = table.call, table.call_party
    started, id = (party.c.started, party.c.call) if filter.number else (call.c.started, call.c.id)
    query = select(call)
    conditions: list[ColumnElement[bool]] = []
    if filter.number:
        query = query.join_from(party, call, party.c.call == call.c.id)
        conditions.append(party.c.number == filter.number)
    if filter.since is not None:
        conditions.append(started >= _millis("since", filter.since))
    if filter.until is not None:
        conditions.append(started < _millis("until", filter.until))
    if filter.direction is not None:
        conditions.append(call.c.direction == filter.direction.value)
    if filter.outcome is not None:
        conditions.append(call.c.outcome == filter.outcome.value)
    if key is not None:
        conditions.append(tuple_(started, id) < tuple_(literal(key[0]), literal(key[1])))
    return query.where(and_(True, *conditions)).order_by(started.desc(), id.desc())


def _key(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    started, _, id = text.partition(".")
    if not (started.isdecimal() and id.isdecimal()):
        raise _invalid("after", f"{text!r} is no page key", "take it from the page before")
    return int(started), int(id)


def _millis(name: str, time: datetime.datetime) -> int:
    if time.tzinfo is None:
        raise _invalid(name, "the time has no time zone", "2026-11-23T08:00:00+01:00")
    return int(time.timestamp() * 1000)


def _invalid(name: str, message: str, hint: str) -> InvalidError:
    return InvalidError([Fault(f"history/{name}", message, hint)])
