"""Questions to the history: calls by anything, how many, statistics, one call with its legs; alarms and gaps.

Pages follow a key (start and id), so the millionth page costs what the first one does.
"""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select

from appliance.core.errors import Fault, InvalidError, NotFoundError
from appliance.history.filter import EVERY_CALL, CallFilter, Range, Visible, millis
from appliance.history.model import Call
from appliance.history.rows import load_calls
from appliance.history.search import Search
from appliance.history.spool import LIVE
from appliance.history.statistics import Statistics, Wanted, statistics
from appliance.store import history as table
from appliance.store.database import Database

PAGE_MAX: Final = 1000
COUNTED_MAX: Final = 1000
"""Calls that are counted; how many there are beyond is estimated."""

__all__ = [
    "Alarm",
    "CallFilter",
    "Gap",
    "History",
    "Page",
    "Range",
    "Statistics",
    "StoredCall",
    "Total",
    "Visible",
    "Wanted",
]


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call with its id in the history."""

    id: int
    call: Call


@dataclass(frozen=True, slots=True)
class Page:
    """Calls, newest first. ``next`` goes into :meth:`History.calls` for the following page; None: there is none.

    A page may hold fewer calls than asked for, even none, and have a ``next``: so far nothing more was found.
    """

    calls: tuple[StoredCall, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Total:
    """How many calls. ``exact``: they were counted; otherwise it is an estimate to two digits."""

    calls: int
    exact: bool


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

    def calls(
        self,
        filter: CallFilter = EVERY_CALL,
        *,
        limit: int = 50,
        after: str | None = None,
        visible_to: Visible | None = None,
    ) -> Page:
        """One page of calls, newest first, with their legs.

        :param limit: 1–1,000.
        :param after: ``next`` of the page before.
        :param visible_to: what the one who asks may see; None: everything.
        :raises InvalidError: a filter, limit or page key that can't be.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise _invalid("limit", f"{limit} is not a page size", f"1 to {PAGE_MAX}")
        filter.check()
        key = _key(after)
        with self.database.read() as connection:
            found = Search(connection, filter, visible_to).find(key, limit)
            loaded = load_calls(connection, [id for _, id in found.keys])
        calls = tuple(StoredCall(id, loaded[id]) for _, id in found.keys)
        return Page(calls, f"{found.next[0]}.{found.next[1]}" if found.next else None)

    def total(self, filter: CallFilter = EVERY_CALL, *, visible_to: Visible | None = None) -> Total:
        """How many calls: counted up to :data:`COUNTED_MAX`, beyond that estimated from how close together they are."""
        filter.check()
        with self.database.read() as connection:
            found = Search(connection, filter, visible_to).find(None, COUNTED_MAX)
            if found.next is None:
                return Total(len(found.keys), True)
            since, until = _ends(connection, filter)
        # As many again in the rest of the time as in the part that was looked at.
        estimate = round(len(found.keys) * max(1.0, (until - since) / max(1, until - found.next[0])))
        digits = 10 ** max(0, len(str(estimate)) - 2)
        return Total(round(estimate / digits) * digits, False)

    def statistics(self, wanted: Wanted, *, visible_to: Visible | None = None) -> Statistics:
        """Volumes, answer rates, durations and waiting times. :raises InvalidError: what can't be."""
        with self.database.read() as connection:
            return statistics(connection, wanted, visible_to)

    def call(self, id: int, *, visible_to: Visible | None = None) -> StoredCall:
        """One call. NotFoundError when there is none of that id, or none that may be seen."""
        found = self.calls(CallFilter(id=id), limit=1, visible_to=visible_to).calls if 0 < id < 2**53 else ()
        if not found:
            raise NotFoundError(f"no call {id} in the history", "centralino calls lists them with their ids")
        return found[0]

    def recorded(self, first: int, last: int) -> list[StoredCall]:
        """The calls with these numbers, both ends included, in order. At most :data:`PAGE_MAX` numbers."""
        with self.database.read() as connection:
            loaded = load_calls(connection, list(range(first, min(last, first + PAGE_MAX - 1) + 1)))
        return [StoredCall(id, loaded[id]) for id in sorted(loaded)]

    def last_recorded(self) -> int:
        """Number of the newest record; 0: there is none."""
        with self.database.read() as connection:
            return connection.execute(select(func.max(table.reader.c.last_call))).scalar() or 0

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
        CallFilter(since=since, until=until).check()
        query = select(table.gap).order_by(table.gap.c.since, table.gap.c.id)
        if since is not None:
            query = query.where(table.gap.c.until >= millis(since))
        if until is not None:
            query = query.where(table.gap.c.since < millis(until))
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return [Gap(row.since, row.until, row.reason, row.detail) for row in rows]


def _ends(connection: Connection, filter: CallFilter) -> tuple[int, int]:
    """The time in question: as asked, else from the oldest call to the newest."""
    started = table.call.c.started
    oldest, newest = connection.execute(
        select(select(func.min(started)).scalar_subquery(), select(func.max(started)).scalar_subquery())
    ).one()
    since = millis(filter.since) if filter.since is not None else 0
    until = millis(filter.until) if filter.until is not None else newest or 0
    return max(since, oldest or 0), min(until, newest or 0)


def _key(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    started, _, id = text.partition(".")
    if not (started.isdecimal() and id.isdecimal()):
        raise _invalid("after", f"{text!r} is no page key", "take it from the page before")
    return int(started), int(id)


def _invalid(name: str, message: str, hint: str) -> InvalidError:
    return InvalidError([Fault(f"history/{name}", message, hint)])
