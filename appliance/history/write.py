"""Calls into the tables: their rows, their labels, and their share in the statistics, all in the caller's transaction.

Rows go in by the thousand: on SQLite by the driver's ``executemany``; on PostgreSQL as one JSON text, which costs a small part of
a statement per row, and less than one array per column, whose texts psycopg escapes character by character.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, Table, select, text
from sqlalchemy.dialects import postgresql

from appliance.history.hours import SUMS, added_up
from appliance.history.labels import SEARCHED, Label, folded, labels_of, parts
from appliance.history.model import Call
from appliance.history.rows import call_row, leg_rows
from appliance.store import history as table

KNOWN_MAX: Final = 200_000
"""Labels whose ids are remembered: some 30 MB."""
_ASKED_AT_ONCE: Final = 200
_POSTGRES: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


class Labels:
    """Ids of labels: remembered, looked up, or made. ``last`` is the highest one given out."""

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self._known: dict[Label, int] = {}

    def ids(self, connection: Connection, labels: Iterable[Label]) -> Mapping[Label, int]:
        """The ids of these labels; those that aren't in the database yet are put there."""
        labels = set(labels)
        missing = sorted(label for label in labels if label not in self._known)
        if len(self._known) + len(missing) > KNOWN_MAX:
            self._known.clear()
            missing = sorted(labels)
        for start in range(0, len(missing), _ASKED_AT_ONCE):
            self._look_up(connection, missing[start : start + _ASKED_AT_ONCE])
        new = [label for label in missing if label not in self._known]
        if new:
            self._make(connection, new)
        return self._known

    def _look_up(self, connection: Connection, labels: Sequence[Label]) -> None:
        """``labels`` are sorted. Kind by kind: SQLite would read half the table for pairs of kind and value."""
        t = table.label.c
        for kind, of_kind in groupby(labels, key=itemgetter(0)):
            query = select(t.id, t.value).where(t.kind == int(kind), t.value.in_([value for _, value in of_kind]))
            self._known.update({(kind, row.value): row.id for row in connection.execute(query)})

    def _make(self, connection: Connection, labels: Sequence[Label]) -> None:
        made = list(enumerate(labels, self.last + 1))
        texts = [folded(value) for _, value in labels]
        rows = [(id, int(kind), value, text) for (id, (kind, value)), text in zip(made, texts, strict=True)]
        add(connection, table.label, ("id", "kind", "value", "folded"), rows)
        found = [
            (int(kind), part, id)
            for (id, (kind, _)), text in zip(made, texts, strict=True)
            if kind in SEARCHED
            for part in parts(text)
        ]
        add(connection, table.label_part, ("kind", "part", "label"), sorted(found))
        self._known.update({label: id for id, label in made})
        self.last += len(labels)


def write_calls(connection: Connection, calls: Sequence[Call], first: int, labels: Labels) -> None:
    """Write calls, numbered from ``first`` on."""
    numbered = list(enumerate(calls, first))
    _add_rows(connection, table.call, [call_row(number, call) for number, call in numbered])
    _add_rows(connection, table.leg, [row for number, call in numbered for row in leg_rows(number, call)])
    labelled = [(number, call, labels_of(call)) for number, call in numbered]
    ids = labels.ids(connection, {label for _, _, found in labelled for label in found})
    rows = [(ids[label], call.started, number) for number, call, found in labelled for label in found]
    add(connection, table.call_label, ("label", "started", "call"), sorted(rows))
    cells = added_up(((call, found) for _, call, found in labelled), ids)
    sums = sorted((*cell, *values) for cell, values in cells.items())
    keys = ("label", "hour", "direction")
    more = ", ".join(f"{name} = call_hour.{name} + excluded.{name}" for name in SUMS)
    add(connection, table.call_hour, (*keys, *SUMS), sums, f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {more}")


def _add_rows(connection: Connection, into: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        names = tuple(rows[0])
        add(connection, into, names, [tuple(row.values()) for row in rows])


def add(
    connection: Connection, into: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], conflict: str = ""
) -> None:
    """Insert rows. All names in the statement are ours; values are always parameters."""
    if not rows:
        return
    quote = connection.dialect.identifier_preparer.quote
    head = f"INSERT INTO {quote(into.name)} ({', '.join(quote(name) for name in columns)})"
    if connection.dialect.name == "postgresql":
        names = [f"v{position}" for position in range(len(columns))]
        types = (into.c[name].type.compile(_POSTGRES).partition(" COLLATE")[0] for name in columns)
        shape = ", ".join(f"{name} {kind}" for name, kind in zip(names, types, strict=True))
        told = [dict(zip(names, row, strict=True)) for row in rows]
        source = f"SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS t({shape})"  # noqa: S608
        values = {"rows": json.dumps(told, ensure_ascii=False, separators=(",", ":"))}
        connection.execute(text(f"{head} {source} {conflict}"), values)
    else:
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"{head} VALUES ({marks}) {conflict}", list(rows))
