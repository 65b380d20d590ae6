"""Notices into the database, in the transaction of what they tell of; and how many wait to be taken out.

The sender (:mod:`appliance.notifications`) takes them out. If nobody does for long, new ones are dropped and counted rather than
the disk filled: the history is worth more than its echo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select, update

from appliance.history.model import Call
from appliance.history.notice import Notice, text_of
from appliance.history.write import add
from appliance.store import history as table

WAITING_MAX: Final = 500_000
"""Notices that nobody has taken out; some 300 MB."""
WAITING_MANY: Final = 50_000
"""So many are worth an alarm."""
_TEXT_MAX: Final = 16_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """``waiting``: notices that nobody has taken out. ``dropped``: those that came when there was no room for more."""

    waiting: int
    dropped: int


def put(connection: Connection, notices: Sequence[Notice], numbers: Mapping[int, int] | None = None) -> None:
    """Write notices, in order.

    :param numbers: ``id()`` of each call that has ended → its number in the history.
    """
    if not notices:
        return
    t = table.outbox.c
    row = connection.execute(select(t.last, t.taken)).one()
    room = max(0, WAITING_MAX - (row.last - row.taken))
    taken, over = notices[:room], len(notices) - room
    numbered = enumerate(taken, row.last + 1)
    rows = [(id, each.type, each.stream[:120], each.time, _text(each, numbers or {})) for id, each in numbered]
    add(connection, table.notice, ("id", "type", "stream", "time", "facts"), rows)
    values = {"last": row.last + len(taken)}
    if over > 0:
        connection.execute(update(table.outbox).values(**values, dropped=t.dropped + over))
    else:
        connection.execute(update(table.outbox).values(**values))


def _text(notice: Notice, numbers: Mapping[int, int]) -> str:
    call: Call | None = notice.ended
    facts = notice.facts if call is None else {**notice.facts, "history_id": numbers.get(id(call))}
    text = text_of(facts)
    # Only a call with hundreds of transfers is that long.
    return text if len(text) <= _TEXT_MAX else text_of({**facts, "transfers": []})


def backlog(connection: Connection) -> Backlog:
    """How many wait, how many were dropped."""
    row = connection.execute(select(table.outbox)).one()
    return Backlog(row.last - row.taken, row.dropped)


def forget_dropped(connection: Connection) -> None:
    """They have been told of."""
    connection.execute(update(table.outbox).values(dropped=0))
