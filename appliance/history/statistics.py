"""Statistics over calls: volumes, answer rates, durations, waiting times.

They come from the sums per hour (``call_hour``); what these can't tell comes from the calls themselves: the pieces of
an hour at the ends of the time asked for, time zones whose hours aren't ours, and what somebody with restricted sight may see.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    Connection,
    Select,
    Subquery,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    union,
)

from appliance.core.errors import Fault, InvalidError
from appliance.history.filter import CallFilter, Visible, millis
from appliance.history.hours import ALL_CALLS, HOUR_MS, SUMS, Figures
from appliance.history.labels import COUNTED, Kind
from appliance.history.model import Direction
from appliance.history.periods import QUARTER_MS, TIMES, By, key, whole_hours, zone_of
from appliance.history.search import Search, walk_indexes
from appliance.store import history as table
from appliance.store.database import Database

KINDS: Final = {By.SITE: Kind.SITE, By.TRUNK: Kind.TRUNK, By.EXTENSION: Kind.EXTENSION}
_WHERE: Final = {
    By.SITE: ("from_site", "reached_site"),
    By.TRUNK: ("from_trunk", "trunk", "reached_trunk"),
    By.EXTENSION: ("from_extension", "reached_extension"),
}
"""Columns of a call that name one, besides its legs' column of that name (see :func:`appliance.history.labels.labels_of`)."""
_SLICE_MS: Final = 7 * 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which statistics.

    :param since: calls that started then or later; with a time zone, like ``until``: before.
    :param zone: name of the time zone whose hours, days and months count.
    :param by: what the rows are. A call of two sites counts for both.
    :param site: only calls in which this site took part; ``trunk``, ``extension`` likewise. At most one of them, and only with
        ``by`` a time or the total.
    """

    since: datetime.datetime
    until: datetime.datetime
    zone: str = "Europe/Rome"
    by: By = By.TOTAL
    direction: Direction | None = None
    site: str = ""
    trunk: str = ""
    extension: str = ""

    @property
    def only(self) -> tuple[Kind, str] | None:
        """The one thing whose calls are wanted."""
        found = ((Kind.SITE, self.site), (Kind.TRUNK, self.trunk), (Kind.EXTENSION, self.extension))
        return next(((kind, value) for kind, value in found if value), None)

    def check(self) -> None:
        """:raises InvalidError: what can't be."""
        self.filter().check()
        zone_of(self.zone)
        if self.since > self.until:
            raise InvalidError([Fault("history/since", "is after the end", "the beginning of the time first")])
        given = [name for name in ("site", "trunk", "extension") if getattr(self, name)]
        if len(given) > 1 or (given and self.by in KINDS):
            hint = "one of site, trunk, extension, and rows by hour, weekday, day, month or the total"
            raise InvalidError([Fault(f"history/{given[-1]}", "can't be combined so", hint)])

    def filter(self) -> CallFilter:
        """The same calls, for a search."""
        return CallFilter(
            since=self.since, until=self.until, direction=self.direction,
            site=self.site, trunk=self.trunk, extension=self.extension,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statistics:
    """Rows by key, in order; ``total`` counts each call once."""

    rows: dict[str, Figures]
    total: Figures


def statistics(connection: Connection, wanted: Wanted, visible_to: Visible | None = None) -> Statistics:
    """The statistics. :raises InvalidError: what can't be."""
    wanted.check()
    wanted, visible_to = _of_one_site(wanted, visible_to)
    zone = zone_of(wanted.zone)
    since, until = millis(wanted.since), millis(wanted.until)
    first, last = -(-since // HOUR_MS), until // HOUR_MS
    direct = visible_to is not None or first >= last
    direct = direct or (wanted.by in TIMES and not whole_hours(since, until, zone))
    pieces = [(since, until)] if direct else [(since, first * HOUR_MS), (last * HOUR_MS, until)]
    walk_indexes(connection)
    rows: dict[str, Figures] = {}
    total = Figures()
    for grouped in (True, False) if wanted.by in KINDS else (True,):
        found = [] if direct else list(_kept(connection, wanted, first, last, grouped))
        for a, b in pieces:
            if a < b:
                found += _counted(connection, wanted, a, b, visible_to, grouped)
        for what, sums in found:
            if not grouped or wanted.by not in KINDS:
                total += sums
            if grouped and wanted.by is not By.TOTAL:
                name = what if isinstance(what, str) else key(wanted.by, what, zone)
                rows[name] = rows.get(name, Figures()) + sums
    return Statistics(dict(sorted(rows.items())), total)


def _of_one_site(wanted: Wanted, visible_to: Visible | None) -> tuple[Wanted, Visible | None]:
    """What a manager of one site sees of a time is that site's, for which there are sums."""
    if visible_to is None or len(visible_to.sites) != 1 or visible_to != Visible(sites=visible_to.sites):
        return wanted, visible_to
    if wanted.by in KINDS or wanted.only is not None:
        return wanted, visible_to
    return replace(wanted, site=next(iter(visible_to.sites))), None


Part = tuple[str | int, Figures]
"""Sums of one thing, by its name, or of one moment, in milliseconds."""


def _kept(connection: Connection, wanted: Wanted, first: int, last: int, grouped: bool) -> Iterator[Part]:
    """From the sums per hour, ``first`` to before ``last``."""
    t, label = table.call_hour.c, table.label.c
    sums = [cast(func.sum(t[name]), BigInteger) for name in SUMS]
    conditions = [t.hour >= first, t.hour < last]
    if wanted.direction is not None:
        conditions.append(t.direction == wanted.direction.value)
    if grouped and wanted.by in KINDS:
        query = select(label.value, *sums).join(table.call_hour, t.label == label.id)
        query = query.where(label.kind == KINDS[wanted.by], *conditions).group_by(label.id, label.value)
        yield from ((row[0], Figures(*row[1:])) for row in connection.execute(query))
        return
    id = _label(connection, wanted.only)
    query = select(t.hour if wanted.by in TIMES else literal(0), *sums).where(t.label == id, *conditions)
    query = query.group_by(t.hour) if wanted.by in TIMES else query.having(func.count() > 0)
    yield from ((row[0] * HOUR_MS, Figures(*row[1:])) for row in connection.execute(query))


def _counted(
    connection: Connection, wanted: Wanted, since: int, until: int, visible_to: Visible | None, grouped: bool
) -> Iterator[Part]:
    """From the calls themselves."""
    call = table.call.c
    utc = datetime.UTC
    filter = replace(
        wanted.filter(),
        since=datetime.datetime.fromtimestamp(since / 1000, utc),
        until=datetime.datetime.fromtimestamp(until / 1000, utc),
    )
    calls, conditions = Search(connection, filter, visible_to).matching()
    sums = [cast(column, BigInteger) for column in _sums()]
    if grouped and wanted.by in KINDS:
        found = select(call.id).select_from(calls).where(*conditions).cte("found")
        named = _named(wanted.by, found)
        query = select(named.c.value, *sums).join_from(named, table.call, call.id == named.c.call)
        query = query.where(named.c.value != "").group_by(named.c.value)
        yield from ((row[0], Figures(*row[1:])) for row in connection.execute(query))
        return
    quarter = call.started // QUARTER_MS
    query = select(quarter, *sums).select_from(calls).where(*conditions).group_by(quarter)
    yield from ((row[0] * QUARTER_MS, Figures(*row[1:])) for row in connection.execute(query))


def _named(by: By, found: CTE) -> Subquery:
    """What took part in each of some calls, once per call, as the calls and their legs say it: labels know their calls, and not the
    other way round."""
    call, leg = table.call, table.leg
    parts = [select(found.c.id.label("call"), leg.c[by.value].label("value")).join(leg, leg.c.call == found.c.id)]
    for name in _WHERE[by]:
        parts.append(select(found.c.id, call.c[name]).join(call, call.c.id == found.c.id))
    return union(*parts).subquery("named")


def _sums() -> list[Any]:
    """The columns of :data:`SUMS` over table ``call``."""
    call = table.call.c
    answered = call.outcome == "answered"
    counts = [
        func.sum(case((call.outcome == name, 1), else_=0)) for name in ("answered", "busy", "no_answer", "cancelled")
    ]
    failed = func.sum(case((call.outcome.in_(("failed", "engine_failure")), 1), else_=0))
    waits = [func.sum(case((condition, call.ring_ms), else_=0)) for condition in (answered, ~answered)]
    return [func.count(), *counts, failed, func.sum(call.talk_ms), *waits]


def _label(connection: Connection, only: tuple[Kind, str] | None) -> int:
    if only is None:
        return ALL_CALLS
    t = table.label.c
    id = connection.execute(select(t.id).where(t.kind == int(only[0]), t.value == only[1])).scalar()
    return -1 if id is None else id


def rebuild(database: Database, say: Callable[[int, int], object] = max) -> int:
    """Make the sums per hour again from the calls, a week at a time: each week is a transaction, so records go on coming
    in between, and what is done stays right when it is stopped. Number of calls counted.

    :param say: told the weeks that are done, and how many there are.
    """
    started = table.call.c.started
    with database.read() as connection:
        query = select(select(func.min(started)).scalar_subquery(), select(func.max(started)).scalar_subquery())
        first, last = connection.execute(query).one()
        hour = table.call_hour.c.hour
        known = connection.execute(select(func.min(hour), func.max(hour))).one()
    times = [time for time in (first, last) if time is not None]
    times += [hour * HOUR_MS for hour in known if hour is not None]
    if not times:
        return 0
    starts = range(min(times) // HOUR_MS * HOUR_MS, max(times) + 1, _SLICE_MS)
    calls = 0
    for done, start in enumerate(starts, 1):
        with database.write() as connection:
            calls += _rebuild(connection, start, start + _SLICE_MS)
        say(done, len(starts))
    with database.write() as connection:
        gone = table.call_hour.c.label.not_in(_counted_labels())
        connection.execute(delete(table.call_hour).where(gone))
    return calls


def _rebuild(connection: Connection, since: int, until: int) -> int:
    t = table.call_hour
    walk_indexes(connection)
    hours = (t.c.hour >= since // HOUR_MS, t.c.hour < until // HOUR_MS)
    connection.execute(delete(t).where(t.c.label.in_(_counted_labels()), *hours))
    columns = ["label", "hour", "direction", *SUMS]
    connection.execute(insert(t).from_select(columns, _hours(since, until, labelled=False)))
    connection.execute(insert(t).from_select(columns, _hours(since, until, labelled=True)))
    query = select(func.coalesce(func.sum(t.c.calls), 0)).where(t.c.label == ALL_CALLS, *hours)
    return int(connection.execute(query).scalar() or 0)


def _counted_labels() -> Select[Any]:
    return select(table.label.c.id).where(table.label.c.kind.in_([int(kind) for kind in COUNTED]))


def _hours(since: int, until: int, *, labelled: bool) -> Select[Any]:
    call, carried, label = table.call.c, table.call_label.c, table.label.c
    hour = call.started // HOUR_MS
    span = (call.started >= since, call.started < until)
    if not labelled:
        query = select(literal(ALL_CALLS), hour, call.direction, *_sums()).where(*span)
        return query.group_by(hour, call.direction)
    kinds = [int(kind) for kind in COUNTED if kind is not Kind.ALL]
    query = select(carried.label, hour, call.direction, *_sums()).select_from(table.label)
    query = query.join(table.call_label, carried.label == label.id).join(table.call, call.id == carried.call)
    query = query.where(label.kind.in_(kinds), *span, carried.started >= since, carried.started < until)
    return query.group_by(carried.label, hour, call.direction)
