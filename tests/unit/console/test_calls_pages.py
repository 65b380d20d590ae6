"""Pages of calls that have ended: what they show to whom, what they say when there is nothing to show, odd addresses."""

from __future__ import annotations

import csv
import datetime
import html
import io
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient

from appliance.console import past as console_past
from appliance.console.portal.calls import PAGE
from appliance.core.document import parse
from appliance.history.hours import Figures
from appliance.history.model import Call
from appliance.history.service import Page as PageOf
from appliance.history.statistics import Statistics
from appliance.kinds import KINDS
from appliance.paths import Paths
from appliance.store.database import Patience
from tests.hil.portal_app import Portal, portal_over
from tests.unit.access.company import ROWS
from tests.unit.console.past import NASTY, START, call, from_outside, of_a_group, remember, usual

CALLS = usual()
MARCH = "from=2026-03-01&to=2026-03-31"


@contextmanager
def portal_with(path: Path, calls: Sequence[Call] | None) -> Iterator[Portal]:
    """The portal over a company whose history has these calls; None: there is no history."""
    with portal_over(path, [parse(KINDS, kind, row) for kind, row in ROWS], served=False) as portal:
        portal.who = "administrator"
        if calls is not None:
            remember(Paths(path, path), calls)
        yield portal


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with portal_with(tmp_path_factory.mktemp("portal"), CALLS) as portal:
        yield portal


@pytest.fixture
def client(portal: Portal) -> Iterator[FlaskClient]:
    portal.who = "administrator"
    client = portal.app.test_client()
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
    yield client
    portal.who = "administrator"


def shown(page: str) -> list[int]:
    """Ids of the calls that a list shows."""
    return [int(id) for id in re.findall(r'href="/calls/(\d+)"', page)]


def test_whatever_callers_call_themselves_is_text(client: FlaskClient) -> None:
    page = client.get("/calls").text
    for name in NASTY:
        assert html.escape(name).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    assert "<script>alert" not in page
    assert "49" not in page.split("{{ 7")[1][:20]
    for id in shown(page):
        one = client.get(f"/calls/{id}")
        assert one.status_code == 200
        assert "<script>alert" not in one.text
        assert "Set-Cookie" not in str(one.headers)


def test_a_search_shows_what_it_finds(client: FlaskClient) -> None:
    everything = shown(client.get("/calls").text)
    assert len(everything) == len(CALLS)
    for query, count in (("q=rossi", 3), ("q=02+00000-777", 8), ("q=0039+06", 1), ("q=%2B3906", 1), ("outcome=failed", 1),
                         ("direction=inbound", 9), ("site=torino", 6), ("trunk=line", 9), ("extension=303", 1), ("device=d302", 1),
                         ("talk=100", 12), ("ring=16", 2), ("loss=5", 1), ("jitter=30,5", 1), ("call=4", 1), ("call=0", 0),
                         (f"call={CALLS[3].linked_id}", 1), ("from=2026-03-03", 1), ("to=2026-03-02", 13),
                         ("from=2026-03-02&from_time=10:30&to=2026-03-02&to_time=10:45", 2), ("q=%22%3E%3Cscript", 0)):  # fmt: skip
        answer = client.get(f"/calls?{query}")
        if query == "call=0":
            assert answer.status_code == 422
            continue
        assert answer.status_code == 200, query
        assert len(shown(answer.text)) == count, query
        assert (f"{count} calls" if count != 1 else "1 call") in answer.text or not count


def test_pages_lead_from_the_newest_to_the_oldest(tmp_path: Path) -> None:
    with portal_with(tmp_path, [call(n) for n in range(2 * PAGE + 7)]) as portal:
        client, path, found = portal.app.test_client(), "/calls?q=301", list[int]()
        while path:
            page = client.get(path).text
            found += shown(page)
            older = re.search(r'rel="next" href="([^"]+)"', page)
            path = html.unescape(older[1]) if older else ""
            assert not path or "q=301" in path
        assert found == list(range(2 * PAGE + 7, 0, -1))
        assert "There are no older calls." in client.get("/calls?after=1.1").text
        assert len(shown(client.get("/calls?after=nonsense").text)) == PAGE


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=yesterday", "It is not a day"), ("from=2026-02-30", "It is not a day"), ("to=0001-01-01", "It is not a day"),
        ("from=2026-03-03&to=2026-03-01", "The end is before the beginning."), ("from_time=10:00", "A time needs its day."),
        ("from=2026-03-03&from_time=25:00", "It is not a time"), ("direction=up", "It is none of those there are."),
        ("outcome=%00", "It is none of those there are."), ("talk=-1", "It is not a number"), ("loss=1e9", "It is not a number"),
        ("call=x", "It is the number of a call"), ("q=%00", "It is too long, or no text"),
        ("q=" + "x" * 300, "It is too long, or no text"), ("site=" + "x" * 300, "It is too long, or no text"),
    ],
)  # fmt: skip
def test_what_can_t_be_searched_for_is_told_at_its_field(client: FlaskClient, query: str, said: str) -> None:
    answer = client.get(f"/calls?{query}")
    assert answer.status_code == 422
    name = query.rpartition("&")[2].partition("=")[0]
    assert said in answer.text.split(f'id="{name}-fault"')[1].split("</span>")[0]
    assert f'aria-describedby="{name}-fault"' in answer.text
    assert shown(answer.text) == []
    assert client.get(f"/calls.csv?{query}").status_code == 303


def test_a_call_is_told_with_its_legs_as_a_drawing_and_as_a_table(client: FlaskClient) -> None:
    [id] = [id for id, made in enumerate(CALLS, 1) if made.transfers]
    page = client.get(f"/calls/{id}").text
    drawing, _, table = page.partition("</svg>")
    assert drawing.count('class="rung') > 10
    assert "more legs stand in the table only" in table
    assert table.count('<th scope="row">') == len(CALLS[id - 1].legs)
    assert "201 passed +390200000777 to 301" in page
    assert "201 Desk" in page
    assert "bad sound" in page
    assert "style=" not in page
    assert client.get("/calls/999").status_code == 404
    assert client.get("/calls/99999999999999999999").status_code == 404


@pytest.mark.parametrize(
    ("person", "count"), [("administrator", len(CALLS)), ("auditor", len(CALLS)), ("user", 11), ("torinese", 6)]
)
def test_everybody_sees_only_what_its_role_lets_it(
    client: FlaskClient, portal: Portal, person: str, count: int
) -> None:
    portal.who = person
    page = client.get("/calls").text
    seen = shown(page)
    assert len(seen) == count
    assert 'href="/statistics"' in page
    for id in range(1, len(CALLS) + 1):
        assert client.get(f"/calls/{id}").status_code == (200 if id in seen else 404)
    whole = client.get("/calls.csv").data.decode().removeprefix("\ufeff")
    assert [int(row["id"]) for row in csv.DictReader(io.StringIO(whole, newline=""))] == seen
    told = client.get(f"/statistics?{MARCH}&by=extension").text
    assert f'<td class="number" data-label="Calls">{count}</td>' in told.split('class="sum"')[1]


@pytest.mark.parametrize("person", ["operator", "hr-manager", "nobody"])
def test_who_may_see_none_isn_t_shown_the_way(client: FlaskClient, portal: Portal, person: str) -> None:
    portal.who = person
    for path in ("/calls", "/calls/1", "/calls.csv", "/statistics"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert "You may not see calls that have ended" in answer.text
    if person != "nobody":
        assert 'href="/calls"' not in client.get("/objects/extension").text


def test_names_are_those_that_the_reader_may_see(client: FlaskClient, portal: Portal) -> None:
    portal.who = "user"  # sees its own extension, and neither the trunk nor the other desk
    page = client.get("/calls/1").text
    assert "Desk" in page
    assert "Branch" not in page
    page = client.get("/calls").text
    assert '<select id="trunk"' not in page
    assert '<select id="site"' not in page


def test_an_italian_s_file_is_one_that_its_spreadsheet_reads(client: FlaskClient) -> None:
    answer = client.get("/calls.csv?direction=internal", headers={"Accept-Language": "it"})
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="calls-20')
    rows = list(csv.DictReader(io.StringIO(answer.data.decode().removeprefix("\ufeff"), newline=""), delimiter=";"))
    assert {row["talk_s"] for row in rows} == {"120,000", "0,000"}


@pytest.mark.parametrize("by", ["day", "weekday", "hour", "month", "site", "trunk", "extension"])
def test_statistics_of_everything_they_can_be_by(client: FlaskClient, by: str) -> None:
    page = client.get(f"/statistics?{MARCH}&by={by}").text
    assert page.count('<figure class="chart">') == 3
    assert page.count("<rect") > 3
    assert f'data-label="Calls">{len(CALLS)}</td>' in page.split('class="sum"')[1]
    rows = {"day": 31, "weekday": 7, "hour": 24, "month": 1, "site": 2, "trunk": 1, "extension": 18}[by]
    assert page.split("<tbody>")[1].count('<th scope="row">') == rows + 1
    assert "style=" not in page


def test_statistics_of_one_thing(client: FlaskClient) -> None:
    def total(query: str) -> str:
        return (
            client.get(f"/statistics?{MARCH}&{query}").text.split('class="sum"')[1].split('"Calls">')[1].split("<")[0]
        )

    assert total("by=hour&site=torino") == "6"
    assert total("by=hour&extension=303") == "1"
    assert total("by=hour&trunk=line&direction=inbound") == "9"
    assert total("by=site&trunk=line") == str(len(CALLS)), "rows by site are of all trunks"


@pytest.mark.parametrize(
    "query",
    ["from=x", "to=2026-13-01", "from=2026-03-02&to=2026-03-01", "by=minute", "direction=up", "site=%00", "extension=" + "9" * 500,
     "from=1971-01-01&to=2998-12-31&by=day", "from=1971-01-01&to=2998-12-31&by=month", "from=2998-12-31", "to=1971-01-01",
     "site=nowhere&trunk=line"],
)  # fmt: skip
def test_odd_addresses_of_statistics_are_answered(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/statistics?{query}")
    assert answer.status_code in (200, 422)
    assert ("alert" in answer.text) == (answer.status_code == 422)


def test_what_is_empty_says_what_to_do(tmp_path: Path, client: FlaskClient) -> None:
    assert "No call is like this." in client.get("/calls?q=nobody").text
    assert "There is no call in this time." in client.get("/statistics").text
    with portal_with(tmp_path, []) as portal:
        fresh = portal.app.test_client()
        assert "make one from a phone" in fresh.get("/calls").text
        assert "There is no call in this time." in fresh.get("/statistics").text
        assert fresh.get("/calls.csv").text.count("\n") == 1


def test_a_page_that_found_nothing_yet_leads_on(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.console.past.SeenHistory.calls", lambda *_, **__: PageOf((), "1767000000000.7"))
    page = client.get("/calls?q=0").text
    assert "only the newest calls were looked at" in page
    assert "/calls?q=0&amp;after=1767000000000.7" in page.split('class="empty"')[1]


def test_a_history_that_can_t_be_read_is_said_and_nothing_else_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_past, "PATIENCE", Patience(turn=0.2, answer=5))
    with portal_with(tmp_path, None) as portal:
        client = portal.app.test_client()
        for path in ("/calls", "/calls/1", "/calls.csv", "/statistics"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert "There is no call history yet" in answer.text
            assert "database_missing" in answer.text
            assert 'href="/objects/extension"' in answer.text, "the menu stays"
            assert f'href="{path}"' in answer.text, "to try again"
        portal.who = "user"
        assert str(tmp_path) not in client.get("/calls").text, "details are for those who run the system"
        portal.who = "administrator"
        remember(Paths(tmp_path, tmp_path), [call()])
        locked = sqlite3.connect(Paths(tmp_path, tmp_path).history_db)
        locked.execute("PRAGMA locking_mode = EXCLUSIVE")
        locked.execute("BEGIN EXCLUSIVE")
        answer = client.get("/calls")
        assert answer.status_code == 503
        assert "Another process keeps the call history locked." in answer.text
        assert client.get("/objects/extension").status_code == 200
        locked.close()
        assert shown(client.get("/calls").text) == [1]


def test_times_of_a_day_that_has_25_hours(tmp_path: Path) -> None:
    """The 25th of October 2026 in Rome: the hour from 2 to 3 comes twice."""
    base = (1_792_879_200_000 - int(START.timestamp() * 1000)) / 60_000  # 2026-10-24 22:00 UTC, midnight in Rome
    made = [call(base - 1), *(call(base + 60 * hour) for hour in range(25)), call(base + 60 * 25)]
    with portal_with(tmp_path, made) as portal:
        client = portal.app.test_client()
        assert len(shown(client.get("/calls?from=2026-10-25&to=2026-10-25").text)) == 25
        page = client.get("/statistics?from=2026-10-25&to=2026-10-25&by=hour").text
        assert 'data-label="Calls">2<' in page.split(">02:00</th>")[1].split("</tr>")[0]


def test_gaps_in_what_is_shown_are_told(tmp_path: Path) -> None:
    with portal_with(tmp_path, [call(0), from_outside(60), of_a_group(120)]) as portal:
        start = int(START.timestamp() * 1000)
        with sqlite3.connect(Paths(tmp_path, tmp_path).history_db) as direct:
            direct.execute(
                "INSERT INTO history_gap (since, until, reason, detail) VALUES (?, ?, 'disk_full', '')",
                (start + 1, start + 60_000),
            )
        direct.close()
        client = portal.app.test_client()
        assert "Calls may be missing from 2 Mar 2026 09:30:00 to 2 Mar 2026 09:31:00." in client.get("/calls").text
        assert "Calls may be missing" not in client.get("/calls?extension=301&from=2026-03-02&from_time=10:00").text


def test_the_dashboard_draws_today_s_calls(tmp_path: Path) -> None:
    noon = datetime.datetime.now(ZoneInfo("Europe/Rome")).replace(hour=12, minute=0, second=0)  # of the reader's day
    minutes = (noon - START).total_seconds() / 60
    made = [call(minutes), call(minutes + 1, answered=False), call(minutes - 24 * 60)]
    with portal_with(tmp_path, made) as portal:
        page = portal.app.test_client().get("/dashboard").text
        assert "Calls today by hour (2)" in page
        drawn = page.split('data-key="volume"')[1].split("</section>")[0]
        assert (drawn.count('class="answered"'), drawn.count('class="missed"')) == (2, 2), "a bar and its legend each"
        portal.who = "hr-manager"
        assert "Calls today" not in portal.app.test_client().get("/dashboard").text
    empty = tmp_path / "empty"
    empty.mkdir()
    with portal_with(empty, []) as portal:
        assert "No call has ended today yet." in portal.app.test_client().get("/dashboard").text


def test_the_dashboard_asks_for_today_s_calls_every_half_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = (datetime.datetime.now(ZoneInfo("Europe/Rome")).replace(hour=0, minute=0) - START).total_seconds() / 60
    clock = [100.0]
    monkeypatch.setattr("appliance.console.past.time.monotonic", lambda: clock[0])
    with portal_with(tmp_path, None) as portal:
        client = portal.app.test_client()
        volume = 'id="volume"'

        def shown(person: str) -> str:
            portal.who = person
            return client.get("/dashboard").text.partition(volume)[2]

        assert "The call history can&#39;t be read now" in shown("administrator")
        clock[0] += console_past.REMEMBERED_S + 1
        remember(Paths(tmp_path, tmp_path), [call(now + 1, "301", "302"), call(now + 2), call(now + 3, "301", "303")])
        assert "answered calls 3" in shown("administrator")
        assert "answered calls 1" in shown("user"), "its own"
        assert "answered calls 3" in shown("torinese")
        for person in ("operator", "hr-manager"):
            assert shown(person) == ""
        monkeypatch.setattr("appliance.console.past.SeenHistory.statistics", lambda *_: Statistics({}, Figures()))
        assert "answered calls 3" in shown("administrator"), "it is asked for every half minute"
        clock[0] += console_past.REMEMBERED_S + 1
        assert "No call has ended today yet." in shown("administrator")
