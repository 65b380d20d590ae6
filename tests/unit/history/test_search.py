"""Searches and statistics against slow ones, on SQLite; on PostgreSQL: tests/hil/test_history_databases.py."""

from __future__ import annotations

import contextlib
import datetime
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.errors import InvalidError, NotFoundError
from appliance.history import search
from appliance.history.filter import CallFilter, Range, Visible
from appliance.history.periods import By
from appliance.history.service import History
from appliance.history.statistics import Wanted
from appliance.store.history import open_history
from tests.unit.history import check
from tests.unit.history.samples import EXTENSIONS, FIRST, calls, matches, newest_first, slow_statistics, store

MADE = calls(500, seed=1)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    database = open_history(f"sqlite:///{tmp_path_factory.mktemp('history')}/history.db")
    store(database, MADE)
    yield History(database)
    database.close()


@pytest.fixture(params=check.WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which way searches go, whatever the number of calls."""
    check.go(request.param, monkeypatch)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_searches_find_what_comparing_call_by_call_finds(history: History) -> None:
    assert check.searches(history, MADE, seed=2, number=80) > 30


def test_no_awkward_text_is_missed(tmp_path: Path) -> None:
    with contextlib.closing(open_history(f"sqlite:///{tmp_path}/history.db")) as database:
        check.awkward_texts(database)


def test_statistics_are_what_adding_up_call_by_call_gives(history: History) -> None:
    check.all_statistics(history, MADE, seed=3, number=64)


def test_statistics_are_added_up_again(history: History) -> None:
    check.rebuilt(history, len(MADE))


def test_a_page_ends_while_nothing_is_found(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing has a bound: the page is empty, its key goes on."""
    for name, value in (("GATHERED", 1), ("MERGED", 1), ("HOPED", 10), ("WALKED", 20)):
        monkeypatch.setattr(search, name, value)
    page = history.calls(CallFilter(number_part="00", name="zzz"))
    assert (page.calls, page.next) == ((), None)  # no such name: known at once
    page = history.calls(CallFilter(number_part="0000", talk_ms=Range(0, 599_000)), limit=1000)
    assert len(page.calls) <= 20
    assert page.next is not None


def test_both_hours_of_the_night_when_clocks_are_set_back(history: History) -> None:
    """2025-10-26 in Rome has 25 hours; two of them are called 02."""
    midnight = datetime.datetime(2025, 10, 25, 22, tzinfo=datetime.UTC)
    day = Wanted(midnight, midnight + datetime.timedelta(hours=25), by=By.DAY)
    assert list(history.statistics(day).rows) == ["2025-10-26"]
    twice = Wanted(midnight + datetime.timedelta(hours=2), midnight + datetime.timedelta(hours=4), by=By.HOUR)
    assert list(history.statistics(twice).rows) == ["02"]
    started = [call.started for call in MADE]
    within = [time for time in started if 2 * 3600 <= time / 1000 - midnight.timestamp() < 4 * 3600]
    assert history.statistics(twice).total.calls == len(within) > 10


def test_nothing_leaks_to_who_may_see_nothing(history: History) -> None:
    nothing = Visible()
    assert history.calls(visible_to=nothing).calls == ()
    assert history.total(visible_to=nothing).calls == 0
    wanted = Wanted(FIRST, FIRST + datetime.timedelta(days=9), by=By.SITE)
    assert history.statistics(wanted, visible_to=nothing).rows == {}
    id, call = newest_first(MADE)[0]
    with pytest.raises(NotFoundError) as unseen:
        history.call(id, visible_to=nothing)
    with pytest.raises(NotFoundError) as unknown:
        history.call(id + 10**6, visible_to=nothing)
    assert str(unseen.value).replace(str(id), "") == str(unknown.value).replace(str(id + 10**6), "")
    assert history.call(id, visible_to=Visible(extensions=frozenset(EXTENSIONS))).call == call


@pytest.mark.parametrize("only", [{}, {"site": "hq"}, {"site": "branch"}, {"trunk": "a"}, {"extension": "103"}])
@pytest.mark.parametrize("by", By)
def test_statistics_of_the_manager_of_one_site(history: History, by: By, only: dict[str, str]) -> None:
    if only and by in (By.SITE, By.TRUNK, By.EXTENSION):
        return
    wanted = Wanted(FIRST, FIRST + datetime.timedelta(days=2), by=by, **only)  # type: ignore[arg-type]
    visible = Visible(sites=frozenset({"branch"}))
    found = history.statistics(wanted, visible_to=visible)
    assert (found.rows, found.total) == slow_statistics(MADE, wanted, visible)
    assert found.total.calls > 5


def test_an_estimate_is_near_and_said_to_be_one(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.history.service.COUNTED_MAX", 300)
    total = history.total()
    assert not total.exact
    assert 350 < total.calls < 650
    assert history.total(CallFilter(number="none")).calls == 0


@pytest.mark.parametrize(
    ("filter", "path"),
    [
        (CallFilter(name="\udce4"), "history/name"),
        (CallFilter(since=datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)), "history/since"),
        (CallFilter(until=datetime.datetime.max.replace(tzinfo=datetime.UTC)), "history/until"),
        (CallFilter(number="\x00"), "history/number"),
        (CallFilter(number_part="1" * 201), "history/number_part"),
        (CallFilter(talk_ms=Range(5, 4)), "history/talk_ms"),
        (CallFilter(loss_percent=Range(-1)), "history/loss_percent"),
        (CallFilter(jitter_ms=Range(math.nan)), "history/jitter_ms"),
        (CallFilter(id=2**63), "history/id"),
        (CallFilter(until=datetime.datetime(2026, 1, 1)), "history/until"),
    ],
)
def test_what_cannot_be_asked_is_told(history: History, filter: CallFilter, path: str) -> None:
    for ask in (history.calls, history.total):
        with pytest.raises(InvalidError) as caught:
            ask(filter)
        assert [fault.path for fault in caught.value.faults] == [path]


def test_statistics_that_cannot_be_are_told(history: History) -> None:
    later = FIRST + datetime.timedelta(days=1)
    for wanted, path in (
        (Wanted(FIRST, later, zone="Europe/Atlantis"), "history/zone"),
        (Wanted(FIRST, later, zone="../../etc/passwd"), "history/zone"),
        (Wanted(later, FIRST), "history/since"),
        (Wanted(FIRST, later, by=By.SITE, trunk="a"), "history/trunk"),
        (Wanted(FIRST, later, site="hq", trunk="a"), "history/trunk"),
        (Wanted(FIRST.replace(tzinfo=None), later), "history/since"),
    ):
        with pytest.raises(InvalidError) as caught:
            history.statistics(wanted)
        assert caught.value.faults[0].path == path


def test_no_key_of_a_page_tells_of_a_call_that_is_not_seen(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where calls are compared one by one and a page ends early."""
    for name, value in (("GATHERED", 1), ("MERGED", 0), ("HOPED", 8), ("WALKED", 16)):
        monkeypatch.setattr(search, name, value)
    visible = Visible(sites=frozenset({"hq"}), extensions=frozenset({"101", "104"}))
    seen = {f"{call.started}.{id}" for id, call in newest_first(MADE) if matches(call, id, CallFilter(), visible)}
    filter = CallFilter(number_part="0000", name="rec")
    after, keys = None, []
    while (page := history.calls(filter, after=after, visible_to=visible)).next is not None:
        after = page.next
        keys.append(after)
    assert len(keys) > 3
    assert set(keys) <= seen
