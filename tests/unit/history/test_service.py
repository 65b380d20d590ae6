"""Questions to the history."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from appliance.core.errors import InvalidError, NotFoundError
from appliance.history.ingest import Ingest
from appliance.history.model import Direction, Outcome
from appliance.history.service import CallFilter, History
from appliance.history.spool import Spool
from appliance.store.history import open_history
from tests.unit.history.events import Engine, answered_call, unanswered_call


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """100 calls: 102…111 in turn, every tenth busy."""
    top = tmp_path_factory.mktemp("history")
    engine = Engine()
    for n in range(100):
        if n % 10 == 9:
            unanswered_call(engine, 17, "BUSY", "SIP 486 Busy Here|Down|alaw|", dialled=str(102 + n % 10))
        else:
            answered_call(engine, extension=str(102 + n % 10))
    (top / "cel").mkdir()
    (top / "cel" / "events.csv").write_bytes(engine.data())
    database = open_history(f"sqlite:///{top}/history.db")
    Ingest(database, Spool(top / "cel")).drain()
    yield History(database)
    database.close()


@pytest.mark.parametrize("filter", [CallFilter(), CallFilter(number="101"), CallFilter(direction=Direction.INTERNAL)])
@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
def test_pages_hold_every_call_once_newest_first(history: History, filter: CallFilter, limit: int) -> None:
    ids: list[int] = []
    after = None
    while True:
        page = history.calls(filter, limit=limit, after=after)
        ids += [stored.id for stored in page.calls]
        after = page.next
        if after is None:
            break
        assert len(page.calls) == limit
    assert ids == list(range(100, 0, -1))


def test_by_number_and_outcome_and_time(history: History) -> None:
    assert len(history.calls(CallFilter(number="104")).calls) == 10
    busy = history.calls(CallFilter(outcome=Outcome.BUSY)).calls
    assert len(busy) == 10
    assert {stored.call.dialled for stored in busy} == {"111"}
    assert history.calls(CallFilter(number="104", outcome=Outcome.BUSY)).calls == ()
    middle = history.call(50).call.started
    at = datetime.datetime.fromtimestamp(middle / 1000, datetime.UTC)
    assert len(history.calls(CallFilter(since=at), limit=100).calls) == 51
    assert len(history.calls(CallFilter(until=at), limit=100).calls) == 49


def test_one_call_with_its_legs(history: History) -> None:
    call = history.call(1).call
    assert [leg.extension for leg in call.legs] == ["101", "102", "102"]
    assert call.legs[0].quality is not None
    assert call.legs[2].quality is None
    with pytest.raises(NotFoundError):
        history.call(101)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"limit": 0}, "history/limit"),
        ({"limit": 1001}, "history/limit"),
        ({"after": "x"}, "history/after"),
        ({"after": "1.-1"}, "history/after"),
        ({"filter": CallFilter(since=datetime.datetime(2026, 1, 1))}, "history/since"),
    ],
)
def test_bad_questions_are_told(history: History, arguments: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidError) as caught:
        history.calls(**arguments)  # type: ignore[arg-type]
    assert caught.value.faults[0].path == path


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("SELECT call FROM call_label WHERE label = 1 ORDER BY started DESC, call DESC LIMIT 51", "PRIMARY KEY"),
        ("SELECT id FROM call WHERE (started, id) < (5, 5) ORDER BY started DESC, id DESC LIMIT 51", "ix_call_started"),
        ("SELECT id FROM call WHERE outcome = 'busy' ORDER BY started DESC, id DESC LIMIT 51", "ix_call_outcome"),
    ],
)
def test_a_page_is_read_from_an_index_without_sorting(history: History, where: str, index: str) -> None:
    with history.database.read() as connection:
        plan = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {where}")))
    assert index in plan
    assert "TEMP B-TREE" not in plan
    assert "SCAN call_label" not in plan
