"""A filter → the keys of the calls that it finds, newest first, on whichever way is the shortest.

Each thing that a call can be found by is a *label*, and the calls of a label stand in an index by time
(``call_label``). What is asked for is a set of labels, or several sets of which each must be met. The ways:

stream
    A set of a few labels (:data:`MERGED`): each label's calls are walked from the newest on, only as far as the page needs.
gather
    A set of more labels, with few calls (:data:`GATHERED`): all of them are looked at.
walk
    Many labels with many calls (``+39…``): all calls are walked from the newest on, and their own texts compared. They are
    frequent, or they would have been gathered; still a page ends after :data:`WALKED` calls, and its key goes on.
intersect
    An outcome or direction that few calls have: its index, and the calls of each set, are read side by side, over ever longer times
    until the page is full. That is less than looking up call by call, above all where they aren't in memory.

No text of a user ever becomes part of a statement, nor a pattern: parts are ranges of an index of all parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    intersect,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from appliance.history.filter import CallFilter, Range, Visible, millis
from appliance.history.labels import PART_MAX, Kind, Label, folded, labels_of
from appliance.history.rows import load_calls
from appliance.history.texts import has_text
from appliance.store import history as table

GATHERED: Final = 20_000
"""Calls of a set that are looked at one by one rather than walked."""
MERGED: Final = 32
"""Labels whose walks are merged."""
WALKED: Final = 12_000
"""Calls that are compared for one page."""
HOPED: Final = 2_000
"""Calls that are compared before anything is counted: what is frequent fills its page there."""
LOOKED_AT: Final = 2_000
"""Calls of an outcome by which it is judged, and with which reading side by side begins."""
INTERSECTED: Final = 200_000
"""Calls of an outcome, or of a set, that are read side by side at most."""
_PLANNER: Final = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}
_ALONE: Final = {"max_parallel_workers_per_gather": "0"}
"""For searches: several would share a whole index out rather than begin where they should. Statistics read all that they ask for."""
DAY_MS: Final = 86_400_000
_STAMP: Final = re.compile(r"-(\d{9,11})\.\d+$")
_LAST: Final = "\U0010ffff"
_NUMBERS: Final = (Kind.EXTENSION, Kind.NUMBER)

Key = tuple[int, int]
"""A call's start and id."""


@dataclass(frozen=True, slots=True)
class Found:
    """Keys, newest first. ``next``: where to go on, None at the end."""

    keys: tuple[Key, ...]
    next: Key | None


@dataclass(frozen=True, slots=True)
class _Set:
    """Labels of which a call must have one: ``ids`` when they are few, else ``query`` gives them.

    ``holds`` tells of a label whether it is one of them; ``maybe``: a condition that each call with such a label meets, in the
    database's own words. ``sight``: it bounds what may be seen, and so is never compared: not even a page's key may tell
    of a call that isn't seen.
    """

    ids: tuple[int, ...] | None
    query: Select[Any]
    holds: Callable[[Label], bool]
    maybe: ColumnElement[bool] | None = None
    sight: bool = False

    @property
    def labels(self) -> Any:
        return list(self.ids) if self.ids is not None else self.query

    @property
    def empty(self) -> bool:
        return self.ids == ()


def walk_indexes(connection: Connection, settings: Mapping[str, str] = _PLANNER) -> None:
    """For the rest of the transaction: every question here is made for an index, whatever PostgreSQL's statistics say of a
    table that grew since. Compiling a query costs more than running it."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))


class Search:
    """One question, within one transaction. ``visible_to`` None: everything may be seen."""

    def __init__(self, connection: Connection, filter: CallFilter, visible_to: Visible | None) -> None:
        self._connection, self._filter = connection, filter
        walk_indexes(connection)
        sets = [*_asked(filter), *([_seen(visible_to)] if visible_to is not None else [])]
        self._sets = [self._resolved(found) for found in sets]
        self._conditions = _conditions(filter)

    def find(self, key: Key | None, limit: int) -> Found:
        """At most ``limit`` calls older than ``key``."""
        if any(found.empty for found in self._sets):
            return Found((), None)
        walk_indexes(self._connection, _ALONE)
        if self._filter.id is not None or self._filter.linked_id:
            return self._all_of(self._walk(key, self._sets, limit + 1), limit)
        large = [found for found in self._sets if found.ids is None and not found.sight]
        small = [found for found in self._sets if found.ids is not None or found.sight]
        if large and not small:
            found = self._compare(key, small, large, limit, HOPED)
            if len(found.keys) == limit or found.next is None:
                return found
        few = self._by_outcome(key, small, limit) if small and not large else None
        if few is not None:
            return few
        gathered = self._gathered(key, limit)
        if gathered is not None:
            return gathered
        if large:
            return self._compare(key, small, large, limit, WALKED)
        merged = next((found for found in small if found.ids), None)
        if merged is None:
            return self._all_of(self._walk(key, small, limit + 1), limit)
        rest = [found for found in small if found is not merged]
        return self._all_of(self._stream(merged, key, rest, limit + 1), limit)

    def _gathered(self, key: Key | None, limit: int) -> Found | None:
        """By way of the set with the fewest calls; None when none has few."""
        if len(self._sets) == 1 and self._sets[0].ids is None:  # counting costs as much as gathering: both at once
            rows = self._connection.execute(self._gather(self._sets[0], key, [], limit + 1, counted=True)).all()
            if (rows[0][2] if rows else self._cost(self._sets[0], key)) >= GATHERED:
                return None
            keys = tuple((row[0], row[1]) for row in rows)
            return Found(keys[:limit], keys[limit - 1] if len(keys) > limit else None)
        costs = [self._cost(found, key) for found in self._sets]
        best = min(range(len(costs)), key=costs.__getitem__, default=None)
        if best is None or costs[best] >= GATHERED:
            return None
        rest = [found for at, found in enumerate(self._sets) if at != best]
        way = self._stream if self._sets[best].ids else self._gather  # one by one, it ends where the page is full
        return self._all_of(way(self._sets[best], key, rest, limit + 1), limit)

    def matching(self) -> tuple[FromClause, list[ColumnElement[bool]]]:
        """Tables, and conditions on table ``call``, that say the same as :meth:`find`, for statistics: without paging.

        The calls of the set with the fewest are taken, rather than every call of the time compared with all sets.
        """
        call, t = table.call.c, table.call_label.c
        if any(found.empty for found in self._sets):
            return table.call, [false()]
        if not self._sets:
            return table.call, [*self._conditions, *self._span(call.started, call.id, None)]
        costs = [self._cost(found, None) for found in self._sets]
        best = min(range(len(costs)), key=costs.__getitem__)
        found = self._sets[best]
        rest = [_has(one) for at, one in enumerate(self._sets) if at != best]
        inner = select(t.call).where(t.label.in_(found.labels), *self._span(t.started, t.call, None))
        few = (inner if found.ids is not None and len(found.ids) == 1 else inner.distinct()).cte("few")
        # Nothing on the time of ``call``: there would be an index for it, and a planner that prefers it.
        return few.join(table.call, few.c.call == call.id), [*self._conditions, *rest]

    def _resolved(self, found: _Set) -> _Set:
        """With the ids, if there are few."""
        ids = self._connection.execute(found.query.limit(MERGED + 1)).scalars().all()
        return replace(found, ids=tuple(sorted(set(ids)))) if len(ids) <= MERGED else found

    def _cost(self, found: _Set, key: Key | None, most: int = GATHERED) -> int:
        t = table.call_label.c
        inner = select(literal(1)).where(t.label.in_(found.labels), *self._span(t.started, t.call, key)).limit(most)
        return self._connection.execute(select(func.count()).select_from(inner.subquery())).scalar() or 0

    def _by_outcome(self, key: Key | None, sets: Sequence[_Set], limit: int) -> Found | None:
        """By way of an outcome, or a direction, that few calls have; None: many have it, or the page isn't full by then."""
        call = table.call.c
        asked = ((call.outcome, self._filter.outcome), (call.direction, self._filter.direction))
        conditions = [column == value.value for column, value in asked if value is not None]
        rare = next((condition for condition in conditions if self._few_have(condition, key)), None)
        if rare is None:
            return None
        costs = [self._cost(found, key, INTERSECTED) for found in sets]
        if not all(costs):
            return Found((), None)
        near = [found for found, cost in zip(sets, costs, strict=True) if cost < INTERSECTED]
        taken = LOOKED_AT
        while taken <= INTERSECTED:
            oldest = self._nth(rare, key, taken)
            found = self._all_of(self._intersect(key, sets, near, oldest, limit + 1), limit)
            if found.next is not None or oldest is None:
                return found
            taken *= 4
        return None

    def _few_have(self, condition: ColumnElement[bool], key: Key | None) -> bool:
        """Whether at most a fifth of the calls meet a condition, judging by the newest."""
        call = table.call.c
        oldest = self._nth(condition, key, LOOKED_AT)
        if oldest is None:
            return True
        span = [call.started >= oldest, *self._span(call.started, call.id, key)]
        inner = select(literal(1)).where(*span).limit(5 * LOOKED_AT)
        return self._connection.execute(select(func.count()).select_from(inner.subquery())).scalar() == 5 * LOOKED_AT

    def _nth(self, condition: ColumnElement[bool], key: Key | None, n: int) -> int | None:
        """When the n-th newest call that meets a condition began; None: there are fewer."""
        call = table.call.c
        query = select(call.started).where(condition, *self._span(call.started, call.id, key))
        query = query.order_by(call.started.desc(), call.id.desc()).offset(n - 1).limit(1)
        return self._connection.execute(query).scalar()

    def _span(
        self, started: ColumnElement[int], id: ColumnElement[int], key: Key | None
    ) -> list[ColumnElement[bool]]:  # fmt: skip
        found: list[ColumnElement[bool]] = []
        if self._filter.since is not None:
            found.append(started >= millis(self._filter.since))
        if self._filter.until is not None:
            found.append(started < millis(self._filter.until))
        if key is not None:
            found.append(tuple_(started, id) < tuple_(literal(key[0]), literal(key[1])))
        return found

    def _gather(
        self, found: _Set, key: Key | None, rest: Sequence[_Set], limit: int, *, counted: bool = False
    ) -> Select[Any]:  # fmt: skip
        t, call = table.call_label.c, table.call.c
        inner = select(t.started, t.call).where(t.label.in_(found.labels), *self._span(t.started, t.call, key))
        few = (inner.limit(GATHERED) if counted else inner).cte("few")
        query = select(few.c.started, few.c.call).distinct()
        if counted:
            query = query.add_columns(select(func.count()).select_from(few).scalar_subquery())
        if self._conditions or rest:
            query = query.join(table.call, call.id == few.c.call).where(*self._conditions, *(_has(one) for one in rest))
        return query.order_by(few.c.started.desc(), few.c.call.desc()).limit(limit)

    def _stream(self, found: _Set, key: Key | None, rest: Sequence[_Set], limit: int) -> Select[Any]:
        t, call = table.call_label.c, table.call.c
        branches = []
        for label in found.ids or ():
            query = select(t.started, t.call)
            if self._conditions or rest:
                query = query.join(table.call, call.id == t.call)
                query = query.where(*self._conditions, *(_has(one) for one in rest))
            query = query.where(t.label == label, *self._span(t.started, t.call, key))
            branches.append(query.order_by(t.started.desc(), t.call.desc()).limit(limit))
        if len(branches) == 1:
            return branches[0]
        merged = union_all(*(select(branch.subquery()) for branch in branches)).subquery()
        query = select(merged.c.started, merged.c.call).distinct()
        return query.order_by(merged.c.started.desc(), merged.c.call.desc()).limit(limit)

    def _walk(self, key: Key | None, sets: Sequence[_Set], limit: int) -> Select[Any]:
        call = table.call.c
        query = select(call.started, call.id).where(*self._conditions, *self._span(call.started, call.id, key))
        query = query.where(*(_has(found) for found in sets))
        return query.order_by(call.started.desc(), call.id.desc()).limit(limit)

    def _all_of(self, query: Select[Any], limit: int) -> Found:
        keys = tuple((started, id) for started, id in self._connection.execute(query))
        return Found(keys[:limit], keys[limit - 1] if len(keys) > limit else None)

    def _intersect(
        self, key: Key | None, sets: Sequence[_Set], near: Sequence[_Set], oldest: int | None, limit: int
    ) -> Select[Any]:  # fmt: skip
        """``near``: those of the sets that are read; the others are looked up. ``oldest``: nothing before it."""
        call, t = table.call.c, table.call_label.c

        def span(started: ColumnElement[int], id: ColumnElement[int]) -> list[ColumnElement[bool]]:
            return [*self._span(started, id, key), *([started >= oldest] if oldest is not None else [])]

        far = [_has(found) for found in sets if found not in near]
        sides = [select(call.started, call.id).where(*self._conditions, *far, *span(call.started, call.id))]
        sides += [
            select(t.started, t.call).where(t.label.in_(found.labels), *span(t.started, t.call)) for found in near
        ]
        both = intersect(*sides).subquery() if near else sides[0].subquery()
        return select(both.c.started, both.c.id).order_by(both.c.started.desc(), both.c.id.desc()).limit(limit)

    def _compare(
        self, key: Key | None, small: Sequence[_Set], large: Sequence[_Set], limit: int, walked: int
    ) -> Found:  # fmt: skip
        """Walk so many calls, and compare what those asked for are found by: first as the database can, then whole."""
        call = table.call.c
        place = tuple_(call.started, call.id)
        end = self._connection.execute(self._walk(key, small, 1).offset(walked - 1)).one_or_none()
        bound = [] if end is None else [place >= tuple_(literal(end.started), literal(end.id))]
        maybe = [found.maybe for found in large if found.maybe is not None]
        found: list[Key] = []
        while True:
            rows = self._connection.execute(self._walk(key, small, limit + 1).where(*bound, *maybe)).all()
            calls = load_calls(self._connection, [id for _, id in rows])
            for started, id in rows:
                labels = labels_of(calls[id])
                if all(any(one.holds(label) for label in labels) for one in large):
                    found.append((started, id))
                    if len(found) > limit:
                        return Found(tuple(found[:limit]), found[limit - 1])
            if len(rows) <= limit:
                return Found(tuple(found), None if end is None else (end.started, end.id))
            key = (rows[-1][0], rows[-1][1])


def _has(found: _Set) -> ColumnElement[bool]:
    """The call in table ``call`` has one of the labels: looked up call by call."""
    carried, call = table.call_label.alias("carried"), table.call.c
    t = carried.c
    one = select(literal(1)).where(t.label.in_(found.labels), t.started == call.started, t.call == call.id)
    # OFFSET keeps PostgreSQL from making a join of it, which would begin with all calls of the label (30 s, seen).
    return exists(one.select_from(carried).offset(0).correlate(table.call))


def _asked(filter: CallFilter) -> Iterator[_Set]:
    number, prefix = filter.number, filter.number_prefix
    if number:
        yield _exactly(_NUMBERS, number)
    if prefix:
        yield _beginning(prefix)
    if filter.number_part:
        yield _containing(_NUMBERS, filter.number_part)
    if filter.name:
        yield _containing((Kind.NAME,), filter.name)
    for kind in (Kind.EXTENSION, Kind.DEVICE, Kind.SITE, Kind.TRUNK):  # those with the fewest calls first
        if value := getattr(filter, kind.name.lower()):
            yield _exactly((kind,), value)


def _exactly(kinds: tuple[Kind, ...], value: str) -> _Set:
    t = table.label.c
    query = select(t.id).where(t.kind.in_(kinds), t.value == value)
    return _Set(None, query, lambda label: label[0] in kinds and label[1] == value)


def _beginning(prefix: str) -> _Set:
    t = table.label.c
    query = select(t.id).where(t.kind.in_(_NUMBERS), t.value >= prefix, t.value < prefix + _LAST)
    maybe = has_text(_NUMBERS, prefix)
    return _Set(None, query, lambda label: label[0] in _NUMBERS and label[1].startswith(prefix), maybe)


def _containing(kinds: tuple[Kind, ...], text: str) -> _Set:
    wanted = folded(text)
    t = table.label_part.c
    begin = wanted[:PART_MAX]
    query = select(t.label).where(t.kind.in_(kinds), t.part >= begin, t.part < begin + _LAST).distinct()
    if len(wanted) > PART_MAX:
        label = table.label
        query = query.join(label, label.c.id == t.label).where(label.c.folded.contains(wanted, autoescape=True))
    return _Set(None, query, lambda label: label[0] in kinds and wanted in folded(label[1]), has_text(kinds, wanted))


def _seen(visible: Visible) -> _Set:
    t = table.label.c
    given = (
        (_NUMBERS, visible.extensions),
        ((Kind.SITE,), visible.sites),
        ((Kind.TRUNK,), visible.trunks),
    )
    conditions = [and_(t.kind.in_(kinds), t.value.in_(sorted(values))) for kinds, values in given if values]
    query = select(t.id).where(or_(false(), *conditions))
    return _Set(
        None, query, lambda label: any(label[0] in kinds and label[1] in values for kinds, values in given), sight=True
    )


def _conditions(filter: CallFilter) -> list[ColumnElement[bool]]:
    call = table.call.c
    found: list[ColumnElement[bool]] = []
    if filter.direction is not None:
        found.append(call.direction == filter.direction.value)
    if filter.outcome is not None:
        found.append(call.outcome == filter.outcome.value)
    if filter.id is not None:
        found.append(call.id == filter.id)
    if filter.linked_id:
        found.append(call.linked_id == filter.linked_id)
        if match := _STAMP.search(filter.linked_id):  # it has the second in it: no index is needed
            second = int(match[1]) * 1000
            found.append(call.started.between(second - DAY_MS, second + DAY_MS))
    for column, range in ((call.talk_ms, filter.talk_ms), (call.ring_ms, filter.ring_ms)):
        if range is not None and range.low is not None:
            found.append(column >= range.low)
        if range is not None and range.high is not None:
            found.append(column <= range.high)
    found += _quality(filter.loss_percent, _losses()) + _quality(filter.jitter_ms, _jitters())
    return found


def _losses() -> tuple[ColumnElement[Any], ...]:
    """Loss of a leg in percent, both directions, as :attr:`Call.loss_percent` has it."""
    leg = table.leg.c
    expected = leg.received + leg.lost_received
    received = case((expected > 0, 100.0 * leg.lost_received / expected), else_=0.0)
    sent = case((leg.sent <= 0, 0.0), (leg.lost_sent > leg.sent, 100.0), else_=100.0 * leg.lost_sent / leg.sent)
    return received, sent


def _jitters() -> tuple[ColumnElement[Any], ...]:
    return table.leg.c.jitter_received_ms, table.leg.c.jitter_sent_ms


def _quality(range: Range | None, values: tuple[ColumnElement[Any], ...]) -> list[ColumnElement[bool]]:
    """The worst value of all legs lies in the range: some leg reaches the lower bound, none is above the upper one."""
    if range is None:
        return []
    leg = table.leg.c
    measured = exists().where(leg.call == table.call.c.id, leg.received.is_not(None)).correlate(table.call)
    found: list[ColumnElement[bool]] = [measured]
    if range.low is not None:
        found.append(measured.where(or_(*(value >= range.low for value in values))))
    if range.high is not None:
        found.append(~measured.where(or_(*(value > range.high for value in values))))
    return found
