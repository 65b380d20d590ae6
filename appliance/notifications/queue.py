"""The deliveries in the database: made of notices, taken when due, settled, given up, replayed, cleared away.

A notice becomes deliveries in the transaction that takes it out, so it becomes each of them exactly once. A delivery is settled
after its receiver has answered: killed in between, it is sent again under the same id.

Its age isn't told by the clock, which may jump, nor counts the time in which nobody tried: it is what was waited after its own
failures, and how long its endpoint was tried in vain.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, and_, delete, exists, func, insert, or_, select, update

from appliance.history.write import add
from appliance.i18n import later
from appliance.notifications.events import Names, body
from appliance.notifications.state import State
from appliance.store import history as table
from appliance.store.database import Database

_log = logging.getLogger("centralino.notifications")

GIVE_UP_MS: Final = 3 * 86_400_000
"""Age at which a delivery becomes a dead letter."""
LONGEST_WAIT_S: Final = 3600.0
"""Between two attempts, before jitter."""
AHEAD_MS: Final = int(LONGEST_WAIT_S * 1000 * 1.5)
"""A next attempt further in the future was planned by a clock that was wrong."""
WAITING_MAX: Final = 100_000
"""Deliveries that may wait for one endpoint; more become dead letters at once."""
DEAD_MAX: Final = 100_000
DELIVERED_MAX: Final = 50_000
DELIVERED_DAYS: Final = 7
FULL: Final = later("too many wait for this endpoint already")
GONE: Final = later("the endpoint isn't in the document any more")
_AT_ONCE: Final = 500
_DELETED_AT_ONCE: Final = 5000
ERROR_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Wants:
    """What one endpoint is told; ``fields`` empty: all. ``events``: all if empty."""

    endpoint: str
    events: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery whose time has come."""

    number: int
    id: str
    endpoint: str
    stream: str
    type: str
    body: str
    attempts: int
    waited_ms: int
    outage_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    :param status: HTTP status, None without an answer.
    :param error: why it failed; empty: it was delivered.
    :param permanent: the receiver says that it will never take it.
    :param wait_ms: until the next attempt.
    """

    due: Due
    status: int | None
    error: str = ""
    permanent: bool = False
    wait_ms: int = 0


@dataclass(slots=True)
class Health:
    """How an endpoint does, as it is stored."""

    failing_ms: int = 0
    failing_since: int | None = None
    succeeded: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """How many deliveries are in which state: ``waiting`` by endpoint."""

    waiting: Mapping[str, int] = field(default_factory=dict)
    dead: int = 0
    delivered: int = 0


class Queue:
    """The sender's side. One process at a time settles; others may list and replay."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fan_out(self, wants: Sequence[Wants], names: Names, now: int) -> int:
        """Turn waiting notices into deliveries, some hundred in one transaction. How many notices that were."""
        with self._database.read() as connection:
            if connection.execute(select(table.notice.c.id).limit(1)).first() is None:
                return 0
        with self._database.write() as connection:
            query = select(table.notice).order_by(table.notice.c.id).limit(_AT_ONCE)
            notices = connection.execute(query).mappings().all()
            if notices:
                self._make(connection, notices, wants, names, now)
                last = notices[-1]["id"]
                connection.execute(delete(table.notice).where(table.notice.c.id <= last))
                connection.execute(update(table.outbox).values(taken=last))
        return len(notices)

    def _make(
        self, connection: Connection, notices: Sequence[RowMapping], wants: Sequence[Wants], names: Names, now: int
    ) -> None:
        waiting = dict(self._waiting(connection)) if wants else {}
        outages = dict(
            connection.execute(select(table.delivery_endpoint.c.id, table.delivery_endpoint.c.failing_ms))
            .tuples()
            .all()
        )
        number = connection.execute(select(table.outbox.c.last_delivery)).scalar_one()
        rows = []
        for notice in notices:
            for each in wants:
                if each.events and notice["type"] not in each.events:
                    continue
                text = _body(notice, names, each.fields)
                if text is None:
                    continue
                number += 1
                full = waiting.get(each.endpoint, 0) >= WAITING_MAX
                if not full:
                    waiting[each.endpoint] = waiting.get(each.endpoint, 0) + 1
                rows.append(
                    (
                        number, new_id(), each.endpoint, notice["type"], notice["stream"], notice["time"], text,
                        (State.DEAD if full else State.WAITING).value, now, 0, now, 0, outages.get(each.endpoint, 0),
                        None, now if full else None, None, FULL if full else "",
                    )
                )  # fmt: skip
        add(connection, table.delivery, tuple(table.delivery.c.keys()), rows)
        connection.execute(update(table.outbox).values(last_delivery=number))

    @staticmethod
    def _waiting(connection: Connection) -> Sequence[tuple[str, int]]:
        t = table.delivery.c
        query = select(t.endpoint, func.count()).where(t.state == State.WAITING.value).group_by(t.endpoint)
        return connection.execute(query).tuples().all()

    def due(self, endpoint: str, now: int, limit: int, besides: Collection[int] = ()) -> list[Due]:
        """What may be sent to an endpoint now, at most one of each stream: the first that waits.

        :param besides: numbers of those that are being sent already.
        """
        t, before = table.delivery, table.delivery.alias("before")
        first = ~exists().where(
            before.c.endpoint == t.c.endpoint,
            before.c.stream == t.c.stream,
            before.c.state == State.WAITING.value,
            before.c.number < t.c.number,
        )
        ready = or_(t.c.next_try <= now, t.c.next_try > now + AHEAD_MS)
        query = (
            select(t)
            .where(t.c.state == State.WAITING.value, t.c.endpoint == endpoint, ready, first)
            .order_by(t.c.next_try, t.c.number)
            .limit(limit + len(besides))
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        found = [
            Due(
                row.number, row.id, row.endpoint, row.stream, row.type, row.body, row.attempts, row.waited_ms,
                row.outage_ms,
            )
            for row in rows
            if row.number not in besides
        ]  # fmt: skip
        return found[:limit]

    def healths(self) -> dict[str, Health]:
        """How every endpoint does that was ever tried."""
        with self._database.read() as connection:
            rows = connection.execute(select(table.delivery_endpoint)).all()
        return {row.id: Health(row.failing_ms, row.failing_since, row.succeeded, row.error) for row in rows}

    def settle(self, outcomes: Sequence[Outcome], healths: Mapping[str, Health], now: int) -> int:
        """Note what became of attempts and how the endpoints do; give up what is too old. How many were given up."""
        given_up = 0
        with self._database.write() as connection:
            for outcome in outcomes:
                failing_ms = healths[outcome.due.endpoint].failing_ms if outcome.due.endpoint in healths else 0
                given_up += self._settle(connection, outcome, failing_ms, now)
            for id, health in healths.items():
                self._note(connection, id, health)
                if health.error:
                    given_up += self._give_up(connection, id, health, now)
        return given_up

    @staticmethod
    def _settle(connection: Connection, outcome: Outcome, failing_ms: int, now: int) -> int:
        due, t = outcome.due, table.delivery.c
        values: dict[str, Any] = {"attempts": due.attempts + 1, "tried": now, "status": outcome.status}
        if not outcome.error:
            values |= {"state": State.DELIVERED.value, "finished": now, "error": ""}
        elif outcome.permanent:
            values |= {"state": State.DEAD.value, "finished": now, "error": outcome.error[:ERROR_MAX]}
        else:
            # The wait that begins now is counted here, so the endpoint's outage counts again only from its end on.
            waited = due.waited_ms + max(0, failing_ms - due.outage_ms)
            dead = waited >= GIVE_UP_MS
            values |= {
                "waited_ms": waited + outcome.wait_ms, "outage_ms": failing_ms + outcome.wait_ms,
                "next_try": now + outcome.wait_ms, "error": outcome.error[:ERROR_MAX],
                **({"state": State.DEAD.value, "finished": now} if dead else {}),
            }  # fmt: skip
        # Only what still waits: it may have been discarded meanwhile.
        where = (t.number == due.number) & (t.state == State.WAITING.value)
        changed = connection.execute(update(table.delivery).where(where).values(**values)).rowcount
        return changed if values.get("state") == State.DEAD.value else 0

    @staticmethod
    def _note(connection: Connection, id: str, health: Health) -> None:
        t = table.delivery_endpoint
        values = {
            "failing_ms": health.failing_ms, "failing_since": health.failing_since, "succeeded": health.succeeded,
            "error": health.error[:ERROR_MAX],
        }  # fmt: skip
        if connection.execute(update(t).where(t.c.id == id).values(**values)).rowcount == 0:
            connection.execute(insert(t).values(id=id, **values))

    @staticmethod
    def _give_up(connection: Connection, id: str, health: Health, now: int) -> int:
        t = table.delivery.c
        # One that was tried itself has its present wait in both: what isn't over yet doesn't count.
        age = t.waited_ms + health.failing_ms - t.outage_ms
        where = and_(t.endpoint == id, t.state == State.WAITING.value, age >= GIVE_UP_MS)
        values = {"state": State.DEAD.value, "finished": now, "error": health.error[:ERROR_MAX]}
        return connection.execute(update(table.delivery).where(where).values(**values)).rowcount

    def abandon(self, known: Collection[str], now: int) -> int:
        """Give up what waits for endpoints that aren't in the document any more. How many that were."""
        t = table.delivery.c
        with self._database.read() as connection:
            gone = [id for id, _ in self._waiting(connection) if id not in known]
        if not gone:
            return 0
        where = (t.state == State.WAITING.value) & t.endpoint.in_(gone)
        values = {"state": State.DEAD.value, "finished": now, "error": GONE}
        with self._database.write() as connection:
            return connection.execute(update(table.delivery).where(where).values(**values)).rowcount

    def figures(self) -> Figures:
        """How many are in which state."""
        t = table.delivery.c
        with self._database.read() as connection:
            waiting = dict(self._waiting(connection))
            query = select(t.state, func.count()).where(t.state != State.WAITING.value).group_by(t.state)
            others = dict(connection.execute(query).tuples().all())
        return Figures(waiting, others.get(State.DEAD.value, 0), others.get(State.DELIVERED.value, 0))

    def clear_away(self, now: int) -> int:
        """Delete what was delivered long ago, and the oldest of what is too much. How many that were.

        Dead letters aren't deleted for their age: a clock that jumps ahead must not take them away.
        """
        return self._clear(State.DELIVERED.value, now - DELIVERED_DAYS * 86_400_000, DELIVERED_MAX) + self._clear(
            State.DEAD.value, None, DEAD_MAX
        )

    def _clear(self, state: str, before: int | None, most: int) -> int:
        t = table.delivery.c
        with self._database.read() as connection:
            over = select(t.number).where(t.state == state).order_by(t.number.desc()).offset(most)
            numbers = set(connection.execute(over.limit(_DELETED_AT_ONCE)).scalars())
            if before is not None:
                old = select(t.number).where(t.state == state, t.finished < before).limit(_DELETED_AT_ONCE)
                numbers |= set(connection.execute(old).scalars())
        for start in range(0, len(numbers), _AT_ONCE):
            some = sorted(numbers)[start : start + _AT_ONCE]
            with self._database.write() as connection:
                connection.execute(delete(table.delivery).where(t.number.in_(some), t.state == state))
        return len(numbers)


def new_id() -> str:
    """Id of a delivery: the same at each attempt, and no other's. No full stop in it: what is signed is joined by them."""
    return "dlv_" + secrets.token_hex(12)


def _body(notice: RowMapping, names: Names, fields: Collection[str]) -> str | None:
    """What is sent; None: the notice can't be read. It is one of a release that came later, or damaged."""
    try:
        facts = json.loads(notice["facts"])
        return body(notice["type"], notice["time"], notice["stream"], facts, names, fields)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        _log.exception("notice %s (%s) can't be read", notice["id"], notice["type"])
        return None
