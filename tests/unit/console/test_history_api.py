"""Calls that have ended and statistics over the API: who sees what, filters, pages, CSV, and what is said when it can't be."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from appliance.console import past as console_past
from appliance.console.api.history import PARAMETERS
from appliance.console.api.openapi import description
from appliance.console.app import create_app
from appliance.console.limits import Buckets
from appliance.console.problems import MEDIA_TYPE
from appliance.console.services import Services
from appliance.history.export import COLUMNS
from appliance.history.filter import CallFilter, Range
from appliance.paths import Paths
from appliance.store.database import Patience
from appliance.store.history import TABLES_VERSION, open_history
from tests.unit.access.company import filled
from tests.unit.console.asking import Api, Askers
from tests.unit.console.past import NASTY, call, remember, usual
from tests.unit.history.samples import matches, newest_first

CALLS = usual()
EVERYTHING = [id for id, _ in newest_first(CALLS)]


def services_over(path: Path) -> tuple[Paths, Services]:
    paths = Paths(path, path)
    filled(paths.store).close()
    return paths, Services.open(paths)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Askers]:
    paths, services = services_over(tmp_path_factory.mktemp("company"))
    remember(paths, CALLS)
    yield Askers(create_app(services, Buckets(1e6, 1_000_000)))
    services.close()


@pytest.fixture
def api(ask: Askers) -> Api:
    return ask("administrator")


def ids(response: TestResponse) -> list[int]:
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json["items"]]  # type: ignore[index]


def problem(response: TestResponse, status: int, error_id: str) -> dict[str, Any]:
    assert (response.status_code, response.json["error_id"]) == (status, error_id), response.text  # type: ignore[index]
    assert response.mimetype == MEDIA_TYPE
    return response.json  # type: ignore[return-value]


def test_pages_follow_one_another_to_the_end(api: Api) -> None:
    found, path, pages = [], "/history?limit=4&name=", 0
    while path:
        page = api("GET", path)
        found += ids(page)
        pages += 1
        link = page.headers.get("Link", "")
        assert bool(link) == (page.json["next"] is not None)
        path = link.partition(">")[0].removeprefix("</api/v1") if link else ""
    assert found == EVERYTHING
    assert pages == -(-len(EVERYTHING) // 4)


def test_one_call_is_told_whole_and_as_described(api: Api) -> None:
    [group] = [id for id, made in enumerate(CALLS, 1) if made.transfers]
    told = api("GET", f"/history/{group}").json
    assert (told["outcome"], told["from_name"], told["talk_ms"]) == ("answered", "Rossi", 120_000)
    assert [leg["result"] for leg in told["legs"]].count("elsewhere") == 14
    assert told["loss_percent"] == 10.0
    assert told["transfers"][0]["kind"] == "blind"
    for path, name in (
        (f"/history/{group}", "Call"),
        ("/history?total=true", "Page"),
        ("/statistics?by=hour", "Statistics"),
    ):
        schemas = {"components": description()["components"], "$ref": f"#/components/schemas/history.{name}"}
        jsonschema_rs.Draft202012Validator(schemas).validate(api("GET", path).json)
    problem(api("GET", "/history/999"), 404, "not_found")
    problem(api("GET", "/history/99999999999999999999999999"), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "filter"),
    [
        ("number=201", CallFilter(number="201")),
        ("number=%2B390200000777", CallFilter(number="+390200000777")),
        ("number=+390200000777", CallFilter(number="+390200000777")),  # the plus that nobody wrote as %2B
        ("number_prefix=%2B3906", CallFilter(number_prefix="+3906")),
        ("number_part=000888", CallFilter(number_part="000888")),
        ("name=ROSS", CallFilter(name="ross")),
        ("name=DROP+TABLE", CallFilter(name="DROP TABLE")),
        ("extension=301&outcome=failed", None),
        ("device=d202", CallFilter(device="d202")),
        ("trunk=line", CallFilter(trunk="line")),
        ("site=milano", CallFilter(site="milano")),
        ("direction=inbound", None),
        ("talk_ms_min=1", CallFilter(talk_ms=Range(low=1))),
        ("talk_ms_max=0", CallFilter(talk_ms=Range(high=0))),
        ("ring_ms_min=10000&ring_ms_max=20000.5", CallFilter(ring_ms=Range(10_000, 20_000.5))),
        ("loss_percent_min=5", CallFilter(loss_percent=Range(low=5))),
        ("jitter_ms_max=10", CallFilter(jitter_ms=Range(high=10))),
        ("since=2026-03-03T00:00:00%2B01:00", None),
        ("since=2026-03-03T00:00:00+01:00", None),
        ("until=2026-03-02T08:45:00Z", None),
        ("linked_id=" + CALLS[3].linked_id, CallFilter(linked_id=CALLS[3].linked_id)),
    ],
)  # fmt: skip
def test_every_parameter_finds_what_it_says(api: Api, query: str, filter: CallFilter | None) -> None:
    found = ids(api("GET", f"/history?{query}"))
    assert 0 < len(found) < len(CALLS)
    if filter is not None:
        assert found == [id for id, made in newest_first(CALLS) if matches(made, id, filter, None)]
    assert ids(api("GET", f"/history?{query}&total=true")) == found
    assert api("GET", f"/history?{query}&total=true").json["total"] == {"calls": len(found), "exact": True}
    exported = api("GET", f"/history.csv?{query}").text
    assert [int(row["id"]) for row in csv.DictReader(io.StringIO(exported, newline=""))] == found


def test_every_parameter_has_such_a_test() -> None:
    [mark] = [one for one in test_every_parameter_finds_what_it_says.pytestmark if one.name == "parametrize"]  # type: ignore[attr-defined]
    tried = {part.partition("=")[0] for query, _filter in mark.args[1] for part in query.split("&")}
    assert {name for name in PARAMETERS if not name.endswith(("_min", "_max"))} <= tried
    assert {name.rpartition("_")[0] for name in PARAMETERS if name.endswith(("_min", "_max"))} == {
        name.rpartition("_")[0] for name in tried if name.endswith(("_min", "_max"))
    }


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sinse=2026-03-03T00:00:00Z", ["sinse"]),
        ("since=2026-03-03", ["since"]),
        ("since=yesterday&until=2026-03-03T00:00:00&talk_ms_min=-1", ["since", "until", "talk_ms_min"]),
        ("since=0001-01-01T00:00:00Z", ["since"]),
        ("until=9999-12-31T23:59:59-23:00", ["until"]),
        ("loss_percent_min=nan", ["loss_percent_min"]),
        ("talk_ms_min=9&talk_ms_max=1", ["talk_ms"]),
        ("direction=up&outcome=", ["direction", "outcome"]),
        ("site=a&site=b", ["site"]),
        ("name=" + "x" * 300, ["name"]),
        ("name=%00", ["name"]),
        ("after=x", ["after"]),
        ("limit=0", ["limit"]),
        ("limit=1001", ["limit"]),
        ("total=yes", ["total"]),
    ],
)  # fmt: skip
def test_what_can_t_be_asked_is_told_by_name(api: Api, query: str, wrong: list[str]) -> None:
    response = api("GET", f"/history?{query}")
    assert response.status_code == 422
    assert [fault["path"] for fault in response.json["faults"]] == [f"query/{name}" for name in wrong]
    assert all(fault["message"] and fault["hint"] for fault in response.json["faults"])


@pytest.mark.parametrize(
    ("person", "number"),
    [
        ("administrator", None),
        ("auditor", None),
        ("user", "201"),
        ("torinese", "torino"),
        ("operator", ""),
        ("nobody", ""),
    ],
)
def test_everybody_sees_what_its_role_lets_it(ask: Askers, person: str, number: str | None) -> None:
    """The same everywhere: list, single calls, CSV, figures."""
    own = ask(person)
    if number == "":
        for path in ("/history", "/history/1", "/history.csv", "/statistics"):
            problem(own("GET", path), 403, "forbidden")
        return
    may = [
        id
        for id, made in newest_first(CALLS)
        if number is None or number in (made.parties() if number.isdigit() else {leg.site for leg in made.legs})
    ]
    assert 0 < len(may) <= len(CALLS)
    assert (len(may) < len(CALLS)) == (number is not None)
    assert ids(own("GET", "/history")) == may
    assert own("GET", "/history?total=true").json["total"] == {"calls": len(may), "exact": True}
    for id in EVERYTHING:
        assert own("GET", f"/history/{id}").status_code == (200 if id in may else 404)
    rows = list(csv.DictReader(io.StringIO(own("GET", "/history.csv").text, newline="")))
    assert [int(row["id"]) for row in rows] == may
    for by in ("total", "day", "site", "extension"):
        told = own("GET", f"/statistics?by={by}&since=2026-03-01T00:00:00Z&until=2026-04-01T00:00:00Z").json
        assert told["total"]["calls"] == len(may)


def test_strangers_and_narrow_keys_learn_nothing(ask: Askers) -> None:
    for path in ("/history", "/history/1", "/history.csv", "/statistics", "/history?nonsense=1"):
        problem(ask("stranger")("GET", path), 401, "unauthenticated")
        problem(ask("administrator", ("extension:view",))("GET", path), 403, "forbidden")
    assert ids(ask("administrator", ("history:view",))("GET", "/history")) == EVERYTHING


def test_csv_is_harmless_whatever_callers_call_themselves(api: Api) -> None:
    response = api("GET", "/history.csv?direction=inbound&bom=true&separator=semicolon&zone=Asia/Tokyo")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert response.headers["Content-Disposition"] == 'attachment; filename="calls.csv"'
    whole = response.data.decode("utf-8")
    assert whole.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(whole[1:], newline=""), delimiter=";", strict=True))
    assert tuple(rows[0]) == COLUMNS
    names = {row["from_name"] for row in rows}
    assert "'" + NASTY[2].replace('",', '",') in {name.replace("\"'", '"') for name in names}
    assert not any(name.startswith(("=", "+", "-", "@")) for name in names)
    assert rows[0]["started"].endswith("+09:00")
    assert rows[0]["talk_s"] == "120,000"


def test_few_files_are_sent_at_once_and_their_places_are_given_back(ask: Askers, api: Api) -> None:
    path, headers = "/api/v1/history.csv", {"Authorization": f"Bearer {api.key}"}
    open_ = [ask.client.get(path, headers=headers, buffered=False) for _ in range(console_past.EXPORTS_MAX)]
    problem(api("GET", "/history.csv"), 429, "too_many_requests")
    assert len(ids(api("GET", "/history"))) == len(CALLS), "other questions are answered meanwhile"
    open_.pop().close()
    problem(api("GET", "/history.csv?zone=nowhere"), 422, "zone")
    assert len(api("GET", "/history.csv").text.splitlines()) > len(CALLS), "read to its end, and never closed"
    with api("HEAD", "/history.csv") as head:  # never read, and closed
        assert head.status_code == 200
    for response in open_:
        response.close()
    assert ask.services.past.exports._value == console_past.EXPORTS_MAX  # type: ignore[attr-defined]


def test_statistics_say_what_they_are_of(api: Api) -> None:
    told = api("GET", "/statistics?by=hour&since=2026-03-02T00:00:00Z&until=2026-03-03T00:00:00Z").json
    assert (told["by"], told["zone"], told["since"]) == ("hour", "Europe/Rome", "2026-03-02T00:00:00+00:00")
    assert [row["key"] for row in told["rows"]] == ["09", "10"]
    assert sum(row["calls"] for row in told["rows"]) == told["total"]["calls"] == len(CALLS) - 1
    elsewhere = api(
        "GET", "/statistics?by=hour&zone=Asia/Kolkata&since=2026-03-02T00:00:00Z&until=2026-03-03T00:00:00Z"
    )
    assert [row["key"] for row in elsewhere.json["rows"]] == ["14", "15"]
    assert api("GET", "/statistics").json["total"]["answer_rate"] is None, "of the last 30 days"
    for query, name in (("by=minute", "by"), ("zone=x", "zone"), ("since=2027-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
                        ("site=a&trunk=b", "trunk"), ("site=a&by=site", "site"), ("outcome=busy", "outcome")):  # fmt: skip
        faults = api("GET", f"/statistics?{query}").json["faults"]
        assert [fault["path"] for fault in faults] == [f"query/{name}"]


def test_without_its_database_only_the_history_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, services = services_over(tmp_path)
    monkeypatch.setattr(console_past, "PATIENCE", Patience(turn=0.2, answer=5))
    api = Askers(create_app(services))("administrator")
    problem(api("GET", "/history"), 503, "database_missing")
    assert not paths.history_db.exists(), "it is the daemon's to make"
    paths.history_db.touch()  # as the supervisor does for the daemon
    problem(api("GET", "/statistics"), 503, "database_missing")
    remember(paths, [call()])
    with closing(sqlite3.connect(paths.history_db)) as direct, direct:
        direct.execute("UPDATE history_schema SET version_num = 'h0001'")
    problem(api("GET", "/history"), 503, "database_updating")
    with closing(sqlite3.connect(paths.history_db)) as direct, direct:
        direct.execute("UPDATE history_schema SET version_num = ?", (TABLES_VERSION,))
    assert ids(api("GET", "/history")) == [1], "without a new start of anything"
    services.past.close()
    locked = sqlite3.connect(paths.history_db)
    locked.execute("PRAGMA locking_mode = EXCLUSIVE")
    locked.execute("BEGIN EXCLUSIVE")
    problem(api("GET", "/history"), 503, "database_busy")
    assert api("GET", "/objects/extension").status_code == 200
    locked.close()
    assert ids(api("GET", "/history")) == [1]
    services.close()


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    paths, services = services_over(tmp_path)
    remember(paths, [call()])
    database = open_history(paths=paths, upgrade=False, patience=Patience(turn=1, answer=0.05))
    services.past._database = database
    api = Askers(create_app(services))("administrator")
    assert ids(api("GET", "/history")) == [1]
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(Exception, match="takes too long") as error, database.read() as connection:
        connection.execute(text(endless))
    assert getattr(error.value, "error_id", "") == "too_slow"
    with database.engine.connect() as connection:  # nothing of it is left on a connection that others get
        assert connection.execute(text("SELECT count(*) FROM call")).scalar() == 1
    services.close()
