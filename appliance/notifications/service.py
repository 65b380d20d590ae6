"""Questions and orders about deliveries: any process may ask, and have dead letters sent again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.notifications.events import timestamp
from appliance.notifications.queue import new_id
from appliance.notifications.runs import Runs
from appliance.notifications.state import State
from appliance.store import history as table
from appliance.store.database import Database

LISTED_MAX: Final = 1000
TEST: Final = "test"
"""Type of what :meth:`Deliveries.test` sends."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event to one endpoint. Times in milliseconds since the epoch, None: not yet. ``body`` is what was or will be sent."""

    number: int
    id: str
    endpoint: str
    type: str
    stream: str
    time: int
    state: State
    created: int
    attempts: int
    next_try: int | None
    tried: int | None
    finished: int | None
    status: int | None
    error: str
    body: str


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """How an endpoint does."""

    id: str
    waiting: int
    dead: int
    delivered: int
    failing_since: int | None
    succeeded: int | None
    error: str


class Deliveries:
    """Over the history's database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.runs = Runs(database)

    def listed(
        self,
        *,
        state: State | None = None,
        endpoint: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> list[Delivery]:
        """Deliveries, newest first.

        :param before: number of the last one of the page before.
        :raises InvalidError: a limit that can't be.
        """
        if not 1 <= limit <= LISTED_MAX:
            hint = f"1 to {LISTED_MAX}"
            raise InvalidError([Fault("deliveries/limit", f"{limit} is not a page size", hint)])
        t = table.delivery.c
        query = select(table.delivery).order_by(t.number.desc()).limit(limit)
        if state is not None:
            query = query.where(t.state == state.value)
        if endpoint is not None:
            query = query.where(t.endpoint == endpoint)
        if before is not None:
            query = query.where(t.number < before)
        with self.database.read() as connection:
            return [_delivery(row) for row in connection.execute(query)]

    def get(self, id: str) -> Delivery:
        """One delivery. :raises NotFoundError: there is none of that id, or it was cleared away."""
        with self.database.read() as connection:
            row = connection.execute(select(table.delivery).where(table.delivery.c.id == id)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no delivery {id}", "centralino notifications list")
        return _delivery(row)

    def replay(self, id: str) -> Delivery:
        """Send a delivery again, under the same id. :raises RefusedError: it waits already, or its endpoint is gone for good."""
        found = self.get(id)
        if found.state is State.WAITING:
            raise RefusedError(f"delivery {id} is waiting to be sent already", error_id="waiting")
        t = table.delivery.c
        with self.database.write() as connection:
            self._again(connection, (t.id == id) & (t.state != State.WAITING.value))
        return self.get(id)

    def replay_dead(self, endpoint: str | None = None) -> int:
        """Send all dead letters again, of one endpoint or of all, oldest first. How many that are."""
        t = table.delivery.c
        dead = t.state == State.DEAD.value
        with self.database.write() as connection:
            return self._again(connection, dead if endpoint is None else dead & (t.endpoint == endpoint))

    @staticmethod
    def _again(connection: Connection, where: ColumnElement[bool]) -> int:
        t, e = table.delivery.c, table.delivery_endpoint.c
        outage = select(e.failing_ms).where(e.id == t.endpoint).scalar_subquery()
        values = {
            "state": State.WAITING.value, "finished": None, "error": "", "attempts": 0, "waited_ms": 0,
            "next_try": _now(), "outage_ms": func.coalesce(outage, 0),
        }  # fmt: skip
        return connection.execute(update(table.delivery).where(where).values(**values)).rowcount

    def discard(self, id: str) -> None:
        """Forget a dead letter. :raises RefusedError: it is none."""
        if self.get(id).state is not State.DEAD:
            raise RefusedError(f"delivery {id} is no dead letter", error_id="not_dead")
        t = table.delivery.c
        with self.database.write() as connection:
            connection.execute(delete(table.delivery).where(t.id == id, t.state == State.DEAD.value))

    def discard_dead(self, endpoint: str | None = None) -> int:
        """Forget all dead letters, of one endpoint or of all. How many that were."""
        t = table.delivery.c
        query = delete(table.delivery).where(t.state == State.DEAD.value)
        with self.database.write() as connection:
            return connection.execute(query if endpoint is None else query.where(t.endpoint == endpoint)).rowcount

    def test(self, endpoint: str) -> Delivery:
        """Send an endpoint an event that says nothing, of type ``test``. The caller has seen that there is such an endpoint."""
        now, id = _now(), new_id()
        body = {"type": TEST, "timestamp": timestamp(now), "data": {"endpoint": endpoint}}
        with self.database.write() as connection:
            number = connection.execute(select(table.outbox.c.last_delivery)).scalar_one() + 1
            connection.execute(update(table.outbox).values(last_delivery=number))
            connection.execute(
                insert(table.delivery).values(
                    number=number, id=id, endpoint=endpoint, type=TEST, stream=id, time=now, state=State.WAITING.value,
                    body=json.dumps(body, separators=(",", ":")), created=now, attempts=0, next_try=now, waited_ms=0,
                    outage_ms=0, error="",
                )
            )  # fmt: skip
        return self.get(id)

    def endpoints(self) -> list[EndpointStatus]:
        """How every endpoint does that was ever sent anything."""
        t = table.delivery.c
        with self.database.read() as connection:
            counted = connection.execute(select(t.endpoint, t.state, func.count()).group_by(t.endpoint, t.state)).all()
            healths = {row.id: row for row in connection.execute(select(table.delivery_endpoint))}
        counts = {(row[0], row[1]): row[2] for row in counted}
        found = []
        for id in sorted({row[0] for row in counted} | healths.keys()):
            health = healths.get(id)
            waiting, dead, delivered = (
                counts.get((id, s.value), 0) for s in (State.WAITING, State.DEAD, State.DELIVERED)
            )
            since, succeeded, error = (
                (None, None, "") if health is None else (health.failing_since, health.succeeded, health.error)
            )
            found.append(EndpointStatus(id, waiting, dead, delivered, since, succeeded, error))
        return found


def _delivery(row: Row[Any]) -> Delivery:
    state = State(row.state)
    return Delivery(
        row.number, row.id, row.endpoint, row.type, row.stream, row.time, state, row.created, row.attempts,
        row.next_try if state is State.WAITING else None, row.tried, row.finished, row.status, row.error, row.body,
    )  # fmt: skip


def _now() -> int:
    return time.time_ns() // 1_000_000
