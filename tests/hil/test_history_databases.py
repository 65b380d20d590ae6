"""Searches, statistics, migration and writing of the call history on a real PostgreSQL: what tests/unit/history shows on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from appliance.history import search
from appliance.history.export import rows
from appliance.history.filter import CallFilter
from appliance.history.service import History
from appliance.store.history import open_history
from tests.hil.postgres import Postgres, postgres
from tests.unit.history import check
from tests.unit.history.samples import calls, store

MADE = calls(700, seed=11)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def history(server: Postgres) -> Iterator[History]:
    database = open_history(server.database("history"))
    store(database, MADE)
    yield History(database)
    database.close()


@pytest.mark.parametrize("way", ["gather", "stream", "compare"])
def test_searches_find_what_comparing_call_by_call_finds(
    history: History, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way != "gather":
        monkeypatch.setattr(search, "GATHERED", 1)
    if way == "compare":
        monkeypatch.setattr(search, "MERGED", 1)
        monkeypatch.setattr(search, "_CHUNK", 50)
    assert check.searches(history, MADE, seed=12, number=100) > 40


def test_statistics_are_what_adding_up_call_by_call_gives(history: History) -> None:
    check.all_statistics(history, MADE, seed=13, number=96)


def test_statistics_are_added_up_again(history: History) -> None:
    check.rebuilt(history, len(MADE))


def test_an_old_history_is_brought_up_to_date(server: Postgres) -> None:
    check.migrated(server.database("old"))


def test_both_databases_sort_and_export_alike(history: History, tmp_path_factory: pytest.TempPathFactory) -> None:
    database = open_history(f"sqlite:///{tmp_path_factory.mktemp('history')}/history.db")
    try:
        store(database, MADE)
        for filter in (CallFilter(), CallFilter(name="_"), CallFilter(number_part="20")):
            assert list(rows(History(database), filter)) == list(rows(history, filter))
        assert check.labels_in(database) == check.labels_in(history.database)
    finally:
        database.close()


def test_a_search_by_parts_walks_an_index_in_order_of_bytes(history: History) -> None:
    """Whatever the database's own collation: the range of a beginning is one stretch of the index."""
    query = "EXPLAIN SELECT label FROM label_part WHERE kind = 2 AND part >= '02' AND part < '02\U0010ffff'"
    with history.database.read() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(row[0] for row in connection.execute(text(query)))
    assert "Index Cond" in plan
    assert "part" in plan.partition("Index Cond")[2]
