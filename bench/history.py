"""The call history with ten million calls, on SQLite and on PostgreSQL: searches, statistics, and writing while reading.

The calls lie in the tables of the former release and are migrated first (:mod:`bench.history_prepare`). Baseline in the same run:
the former query, before the migration; searches without labels and statistics without sums per hour, on the same calls.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, text

from appliance.history.filter import CallFilter, Visible
from appliance.history.ingest import Ingest
from appliance.history.model import Outcome
from appliance.history.periods import By
from appliance.history.service import History
from appliance.history.spool import Spool
from appliance.history.statistics import Wanted
from appliance.history.statistics import statistics as calculate
from appliance.store.database import Database
from appliance.store.history import open_history
from bench import Result, Say
from bench.history_data import FIRST_MS, site, words
from bench.history_prepare import Prepared, clock, p95, prepared
from bench.history_spool import spool_of

CALLS: Final = 10_000_000
ROUNDS: Final = 25
WRITTEN: Final = 30_000
TARGETS: Final = {
    f"{database}_{figure}": bound
    for database in ("sqlite", "postgresql")
    for figure, bound in (
        ("search_p95_ms", "<= 100"),
        ("month_s", "<= 2"),
        ("calls_written_per_s", ">= 2000"),
    )
}
Make = Callable[[int], CallFilter]


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: 5,000 calls, two rounds."""
    calls, rounds, written = (5_000, 2, 200) if smoke else (CALLS, ROUNDS, WRITTEN)
    figures: dict[str, Any] = {"calls": calls}
    baseline: dict[str, Any] = {}
    with prepared(calls, say) as both:
        for one in both:
            found, base = _measure(one, rounds, written, say)
            say(f"{one.name}: {found}, baseline {base}")
            figures |= {f"{one.name}_{key}": value for key, value in found.items()}
            baseline |= {f"{one.name}_{key}": value for key, value in base.items()}
    return Result("history", figures, baseline, TARGETS)


def _measure(one: Prepared, rounds: int, written: int, say: Say) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and baseline of one database."""
    found, base = dict(one.figures), dict(one.baseline)
    database = open_history(one.url)
    try:
        say(f"{one.name}: searches")
        found |= _searches(database, rounds, say)
        found |= _statistics(database, base)
        say(f"{one.name}: statistics {found['months_s']}, without sums {base['month_s']} s")
        base |= _plain(database.engine)
        say(f"{one.name}: searches without labels: {base}")
        found |= _writing(database, one.url, written)
        say(f"{one.name}: {found['calls_written_per_s']} calls/s written, {found['rows_written_per_s']} rows/s")
    finally:
        database.close()
    return found, base


def kinds(numbers: list[str], last: int) -> dict[str, Make]:
    """Searches as people make them."""
    names = words()
    month = datetime.timedelta(days=30)

    def ago(turn: int) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(last / 1000, datetime.UTC) - month * (turn % 20)

    return {
        "newest": lambda _: CallFilter(),
        "extension": lambda n: CallFilter(number=str(2000 + 37 * n)),
        "number": lambda n: CallFilter(number=numbers[n]),
        "prefix_short": lambda n: CallFilter(number_prefix=("+39020", "+3906", "+393470", "+390471")[n % 4]),
        "prefix_long": lambda n: CallFilter(number_prefix=numbers[n][:-3]),
        "part": lambda n: CallFilter(number_part=numbers[n][-6:]),
        "part_short": lambda n: CallFilter(number_part=numbers[n][-3:]),
        "name": lambda n: CallFilter(name=names[61 * n % 1728].lower()),
        "name_part": lambda n: CallFilter(name=names[61 * n % 1728][2:5]),
        "trunk_time": lambda n: CallFilter(trunk=f"trunk-{n % 8}", since=ago(n) - month, until=ago(n)),
        "outcome_site": lambda n: CallFilter(
            outcome=(Outcome.FAILED, Outcome.BUSY, Outcome.ENGINE_FAILURE)[n % 3], site=site(n * 7)
        ),
        "site_trunk": lambda n: CallFilter(site=site(n * 7), trunk=f"trunk-{n % 8}"),
        "device": lambda n: CallFilter(device=f"{2000 + 41 * n}-2"),
        "rare": lambda n: CallFilter(number_part=numbers[n][-6:], site=site(499), outcome=Outcome.BUSY),
    }


def _searches(database: Database, rounds: int, say: Say) -> dict[str, Any]:
    history = History(database)
    inbound = [stored.call.from_number for stored in history.calls(limit=1000).calls if stored.call.from_trunk]
    numbers = [inbound[n * 7 % len(inbound)] for n in range(rounds)]
    with database.read() as connection:
        last = connection.execute(text("SELECT max(started) FROM call")).scalar_one()
    found: dict[str, float] = {}
    for kind, make in kinds(numbers, last).items():
        history.calls(make(0))
        found[kind] = p95([clock(lambda n=n: history.calls(make(n))) for n in range(rounds)])  # type: ignore[misc]  # noqa: B023
        say(f"  {kind}: p95 {found[kind]} ms")
    seen = Visible(extensions=frozenset({"2044"}))
    found["own"] = p95([clock(lambda: history.calls(visible_to=seen)) for _ in range(rounds)])
    totals = [clock(lambda n=n: history.total(kinds(numbers, last)["trunk_time"](n))) for n in range(rounds)]  # type: ignore[misc]
    return {"searches_p95_ms": found, "search_p95_ms": max(found.values()), "total_p95_ms": p95(totals)}


def _statistics(database: Database, base: dict[str, Any]) -> dict[str, Any]:
    """One month a year ago, by everything; without the sums, the dearest of the baseline's is the month by site."""
    since = datetime.datetime.fromtimestamp(FIRST_MS / 1000, datetime.UTC) + datetime.timedelta(days=361)
    until = since + datetime.timedelta(days=30)
    found = {}
    for by in By:
        wanted = Wanted(since, until, by=by)
        found[str(by)] = clock(lambda wanted=wanted: _calculate(database, wanted))  # type: ignore[misc]
    base["month_s"] = clock(lambda: _calculate(database, Wanted(since, until, by=By.DAY, zone="Asia/Kolkata")))
    return {"months_s": found, "month_s": max(found.values())}


def _calculate(database: Database, wanted: Wanted) -> None:
    with database.read() as connection:
        assert calculate(connection, wanted).total.calls >= 0


def _plain(engine: Engine) -> dict[str, Any]:
    """The same searches as one would write them on the table of calls alone."""
    queries = {
        "prefix": "from_number LIKE '+39020123%' OR dialled LIKE '+39020123%' OR reached_number LIKE '+39020123%'",
        "name": "lower(from_name) LIKE '%galimo%'",
        "rare": "(from_number LIKE '%712345%' OR dialled LIKE '%712345%') AND outcome = 'busy'",
    }
    found = {}
    with engine.connect() as connection:
        for kind, where in queries.items():
            query = text(f"SELECT * FROM call WHERE {where} ORDER BY started DESC, id DESC LIMIT 51")  # noqa: S608
            found[f"plain_{kind}_ms"] = round(1000 * clock(lambda query=query: connection.execute(query).all()), 1)  # type: ignore[misc]
    return found


def _writing(database: Database, url: str, calls: int) -> dict[str, Any]:
    """The daemon's own way from the spool into the tables, while another process turns pages."""
    with database.read() as connection:
        last = connection.execute(text("SELECT max(started) FROM call")).scalar_one()
    with tempfile.TemporaryDirectory() as folder:
        spool_of(Path(folder), calls, last)
        with _reader(url) as reader:
            ingest = Ingest(database, Spool(Path(folder)))
            seconds = clock(ingest.drain)
            reader.terminate()
            pages, slowest = (float(word) for word in (reader.communicate()[0] or "0 0").split()[-2:])
    written, rows = _rows(database, last)
    _forget(database, last)
    return {
        "calls_written": written,
        "calls_written_per_s": round(written / seconds),
        "rows_written_per_s": round(rows / seconds),
        "pages_read_meanwhile": pages,
        "page_p95_meanwhile_ms": slowest,
    }


def _rows(database: Database, after: int) -> tuple[int, int]:
    """Calls that began after a time, and rows of calls, legs and labels of them."""
    with database.read() as connection:
        query = text("SELECT count(*) FROM call WHERE started > :after")
        calls = connection.execute(query, {"after": after}).scalar_one()
        query = text("SELECT count(*) FROM leg JOIN call ON call.id = leg.call WHERE call.started > :after")
        legs = connection.execute(query, {"after": after}).scalar_one()
        query = text("SELECT count(*) FROM call_label WHERE started > :after")
        labels = connection.execute(query, {"after": after}).scalar_one()
    return calls, calls + legs + labels


def _forget(database: Database, after: int) -> None:
    """Take out what was written, so that the next run on kept databases finds the calls of this one."""
    with database.write() as connection:
        for query in (
            "DELETE FROM leg WHERE call IN (SELECT id FROM call WHERE started > :after)",
            "DELETE FROM call_label WHERE started > :after",
            "DELETE FROM call WHERE started > :after",
        ):
            connection.execute(text(query), {"after": after})
        for of_the_spool in ("spool_file", "spool_fault", "history_gap", "alarm", "open_call", "notice"):
            connection.execute(text(f"DELETE FROM {of_the_spool}"))  # noqa: S608


@contextlib.contextmanager
def _reader(url: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "bench.history_reader"]
    environment = {**os.environ, "BENCH_HISTORY_URL": url}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()  # it reads
        try:
            yield reader
        finally:
            reader.kill()
