"""Checks of the history that hold on every database: run on SQLite here, on PostgreSQL in tests/hil."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, delete, select, text

from appliance.history import search
from appliance.history.assemble import Assembler
from appliance.history.filter import CallFilter, Visible
from appliance.history.labels import SEARCHED, Kind, folded, labels_of, parts
from appliance.history.model import Call, Transfer
from appliance.history.rows import call_row, leg_rows
from appliance.history.service import History
from appliance.history.statistics import rebuild
from appliance.history.texts import has_text
from appliance.history.write import Labels, write_calls
from appliance.store import history as table
from appliance.store.database import Database
from appliance.store.history import open_history
from bench.history_data import old_engine, old_tables
from tests.unit.history import samples
from tests.unit.history.events import Engine, answered_call
from tests.unit.history.samples import filters, matches, newest_first, slow_statistics, store, wishes

WAYS = {
    "few": {},
    "stream": {"GATHERED": 1, "LOOKED_AT": 1, "INTERSECTED": 1},
    "compare": {"GATHERED": 1, "LOOKED_AT": 1, "INTERSECTED": 1, "MERGED": 1, "HOPED": 50, "WALKED": 200},
    "intersect": {"LOOKED_AT": 5, "INTERSECTED": 10_000},
    "intersect or look up": {"LOOKED_AT": 5, "INTERSECTED": 100, "GATHERED": 60},
}
AWKWARD = (
    "+390200001",
    "３９０２",
    "Strasse",
    "STRASSE",
    "straße",
    "İzmir",
    "ﬁne",
    'a"b',
    "a\\b",
    "a\tb",
    "ǅ",
    "µ",
    "100%_x",
    "Ω",
    "nul",
)


def go(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have searches go this way, whatever the number of calls. ``few``: as a small history's do."""
    for name, value in WAYS[way].items():
        monkeypatch.setattr(search, name, value)


def awkward_texts(database: Database) -> None:
    """Wherever a text stands in a call, and however it is written, the database lets the call through to be compared whole."""
    [plain] = samples.calls(1)
    leg = replace(plain.legs[0], extension="101", number="")
    made = []
    for n, awkward in enumerate(AWKWARD):
        numbers = [
            {"from_name": awkward}, {"from_number": awkward}, {"dialled": awkward}, {"reached_number": awkward},
            {"legs": (replace(leg, number=awkward, trunk="a"),)},
            {"transfers": (Transfer("blind", plain.ended, "101", "102", awkward),)},
        ]  # fmt: skip
        base = replace(
            plain, legs=(leg,), transfers=(), from_name="", from_number="101", dialled="102", reached_number=""
        )
        made += [replace(base, linked_id=f"x-{n}.{m}", **fields) for m, fields in enumerate(numbers)]
    store(database, made)
    with database.read() as connection:
        parts_of = {folded(awkward)[start:end] for awkward in AWKWARD for start in range(4) for end in (start + 2, 12)}
        for wanted in sorted(parts_of - {""}):
            for kinds in ((Kind.NAME,), (Kind.EXTENSION, Kind.NUMBER)):
                ids = connection.execute(select(table.call.c.id).where(has_text(kinds, wanted))).scalars().all()
                true = {id for id, call in enumerate(made, 1)
                        if any(kind in kinds and wanted in folded(value) for kind, value in labels_of(call))}  # fmt: skip
                assert true <= set(ids), (kinds, wanted)
                assert not wanted.startswith("39") or len(ids) < len(made) / 2, "it sorts out what it can"


def pages(history: History, filter: CallFilter, visible: Visible | None, limit: int) -> list[tuple[int, Call]]:
    """All pages, one after the other."""
    found: list[tuple[int, Call]] = []
    after = None
    while True:
        page = history.calls(filter, limit=limit, after=after, visible_to=visible)
        assert len(page.calls) <= limit
        found += [(stored.id, stored.call) for stored in page.calls]
        after = page.next
        if after is None:
            return found


def searches(history: History, made: Sequence[Call], seed: int, number: int) -> int:
    """Every search finds what comparing call by call finds. How many found something."""
    hits = 0
    for filter, visible in filters(seed, number):
        expected = [(id, call) for id, call in newest_first(made) if matches(call, id, filter, visible)]
        assert pages(history, filter, visible, 37) == expected, (filter, visible)
        total = history.total(filter, visible_to=visible)
        assert not total.exact or total.calls == len(expected)
        hits += bool(expected)
    return hits


def all_statistics(history: History, made: Sequence[Call], seed: int, number: int) -> None:
    """Every statistic is what adding up call by call gives."""
    for wanted, visible in wishes(seed, number):
        found = history.statistics(wanted, visible_to=visible)
        assert (found.rows, found.total) == slow_statistics(made, wanted, visible), (wanted, visible)


def rebuilt(history: History, calls: int) -> None:
    """Adding up again gives what was there, whatever stands there instead."""
    before = hours(history)
    assert before
    with history.database.write() as connection:
        connection.execute(text("UPDATE call_hour SET calls = calls + 1, talk_ms = 7 WHERE label % 2 = 0"))
        connection.execute(delete(table.call_hour).where(table.call_hour.c.label % 3 == 1))
        connection.execute(table.call_hour.insert(), [dict.fromkeys(table.call_hour.c.keys(), 9) | {"direction": "internal", "hour": 487_000}])  # fmt: skip
    assert hours(history) != before
    assert rebuild(history.database) == calls
    assert hours(history) == before


def hours(history: History) -> list[tuple[object, ...]]:
    """The sums per hour."""
    t = table.call_hour
    with history.database.read() as connection:
        return [tuple(row) for row in connection.execute(select(t).order_by(t.c.label, t.c.hour, t.c.direction))]


OLD = Path(__file__).parents[2] / "data" / "history" / "h0001.json"
"""Rows that the release with tables h0001 wrote: the calls of tests/unit/history/events.py, one of them still open."""


def old_history(url: str) -> dict[str, list[dict[str, Any]]]:
    """A database as the former release left it. Its rows."""
    engine = old_engine(url)
    old_tables(engine)
    rows: dict[str, list[dict[str, Any]]] = json.loads(OLD.read_text())
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.connect().execution_options(centralino_write=True) as connection, connection.begin():
        for name in ("call", "leg", "call_party", "open_call", "reader", "spool_file"):
            there = [row | ({"head": bytes.fromhex(row["head"])} if "head" in row else {}) for row in rows[name]]
            connection.execute(metadata.tables[name].insert(), there)
    engine.dispose()
    return rows


def migrated(url: str, rows: dict[str, list[dict[str, Any]]] | None = None) -> None:
    """An old database has its calls as before, found by all that they can be found by, and goes on. ``rows``: what is in it
    already."""
    old = old_history(url) if rows is None else rows
    database = open_history(url)
    try:
        history = History(database)
        made = [(stored.id, stored.call) for stored in history.calls(limit=1000).calls]
        assert sorted(id for id, _ in made) == [row["id"] for row in old["call"]]
        for id, call in made:
            row, legs = call_row(id, call), leg_rows(id, call)
            assert {name: row[name] for name in old["call"][0]} == next(one for one in old["call"] if one["id"] == id)
            assert [{k: leg[k] for k in old["leg"][0]} for leg in legs] == [r for r in old["leg"] if r["call"] == id]
        whole = sorted(made)
        assert labels_in(database) == {(id, *label) for id, call in whole for label in labels_of(call)}
        before = hours(history)
        assert rebuild(database) == len(made)
        assert hours(history) == before
        with database.read() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": table.VERSION_TABLE})
            assert compare_metadata(context, table.metadata) == []
        for filter in (CallFilter(number_part="0056"), CallFilter(name="ännchen abc"), CallFilter(device="soft-0")):
            assert pages(history, filter, None, 5) == [
                item for item in newest_first_of(whole) if matches(item[1], item[0], filter, None)
            ]
            assert pages(history, filter, None, 5)
        _goes_on(database, len(made))
    finally:
        database.close()


def _goes_on(database: Database, before: int) -> None:
    """The writer takes up the numbers of calls and labels, and uses the labels that there are."""
    with database.read() as connection:
        labels = connection.execute(select(table.label)).all()
        (last, last_label) = connection.execute(select(table.reader.c.last_call, table.reader.c.last_label)).one()
    assert (last, last_label) == (before, max(row.id for row in labels))
    engine = Engine(clock=1_800_000_000_000_000)
    answered_call(engine)
    assembler = Assembler()
    made = [call for event in engine.events() for call in assembler.feed(event)]
    with database.write() as connection:
        write_calls(connection, made, last + 1, Labels(last_label))
    with database.read() as connection:
        assert len(connection.execute(select(table.label)).all()) == len(
            labels
        )  # 101, 102 and their devices were known
    assert labels_in(database) >= {(last + 1, *label) for label in labels_of(made[0])}


def newest_first_of(numbered: list[tuple[int, Call]]) -> list[tuple[int, Call]]:
    """As pages have them."""
    return sorted(numbered, key=lambda item: (item[1].started, item[0]), reverse=True)


def labels_in(database: Database) -> set[tuple[int, int, str]]:
    """Every label of every call, with whatever is wrong in the tables found on the way."""
    t, carried = table.label, table.call_label
    with database.read() as connection:
        query = select(carried.c.call, t.c.kind, t.c.value).join(t, t.c.id == carried.c.label)
        found = [tuple(row) for row in connection.execute(query)]
        assert len(found) == len(set(found))
        wrong = select(carried).join(table.call, table.call.c.id == carried.c.call)
        assert connection.execute(wrong.where(table.call.c.started != carried.c.started)).all() == []
        kept = {(row.label, row.part) for row in connection.execute(select(table.label_part))}
        texts = connection.execute(select(t)).all()
    assert all(row.folded == folded(row.value) for row in texts)
    assert kept == {(row.id, part) for row in texts if row.kind in SEARCHED for part in parts(row.folded)}
    return {(call, kind, value) for call, kind, value in found}
