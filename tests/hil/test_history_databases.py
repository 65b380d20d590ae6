"""Searches, statistics, migration and writing of the call history on a real PostgreSQL: what tests/unit/history shows on SQLite."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from appliance.core.errors import UnavailableError
from appliance.history.export import rows
from appliance.history.filter import CallFilter
from appliance.history.service import History
from appliance.store.database import Patience
from appliance.store.history import open_history
from bench.history_data import old_engine
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


@pytest.mark.parametrize("way", check.WAYS)
def test_searches_find_what_comparing_call_by_call_finds(
    history: History, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check.go(way, monkeypatch)
    assert check.searches(history, MADE, seed=12, number=100) > 40


def test_no_awkward_text_is_missed(server: Postgres) -> None:
    with contextlib.closing(open_history(server.database("texts"))) as database:
        check.awkward_texts(database)


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


def test_what_takes_too_long_is_ended_by_the_server(history: History) -> None:
    url = history.database.url.render_as_string(hide_password=False)
    database = open_history(url, upgrade=False, patience=Patience(turn=1, answer=0.2))
    try:
        with pytest.raises(UnavailableError) as error, database.read() as connection:
            connection.execute(text("SELECT pg_sleep(30)"))
        assert error.value.error_id == "too_slow"
        with database.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM call")).scalar() == len(MADE)
    finally:
        database.close()


def test_who_doesn_t_make_the_tables_waits_for_nobody(server: Postgres) -> None:
    """While another process brings them up to date, with every table locked, it is told so at once."""
    url = server.database("updating")
    with pytest.raises(UnavailableError) as error:
        open_history(url, upgrade=False)
    assert error.value.error_id == "database_missing"
    check.old_history(url)
    engine = old_engine(url)
    with engine.connect() as other, other.begin():
        other.execute(text("LOCK TABLE call, leg, reader IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(UnavailableError) as error:
            open_history(url, upgrade=False, patience=Patience(turn=1, answer=5))
        assert error.value.error_id == "database_updating"
    engine.dispose()
