"""The call history with ten million calls, on SQLite and on PostgreSQL: searches, statistics, and writing while reading.

The calls lie in the tables of the former release and are migrated first. Baseline in the same run: the former query, before
the migration; searches without labels and statistics without sums per hour, on the same calls.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
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
from appliance.history.statistics import Wanted, rebuild
from appliance.history.statistics import statistics as calculate
from appliance.store.database import Database
from appliance.store.history import open_history
from bench import Result, Say
from bench.history_data import FIRST_MS, add_sites, fill, old_engine, old_tables, site, words
from bench.history_spool import spool_of
from tests.hil.postgres import postgres

CALLS: Final = 10_000_000
FREE_GB: Final = 45
"""What the larger of the two databases and its sorting take, at most."""
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
    """Measure; ``smoke``: 5,000 calls, one round."""
    calls = 5_000 if smoke else CALLS
    figures: dict[str, Any] = {"calls": calls}
    baseline: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-history-") as folder:
        top = Path(folder)
        free = shutil.disk_usage(top).free / 1e9
        if not smoke and free < FREE_GB:
            raise RuntimeError(f"{free:.0f} GB free in {top}, {FREE_GB} are needed: set TMPDIR to a larger disk")
        file = top / "sqlite" / "history.db"
        _one("sqlite", f"sqlite:///{file}", lambda: _size(file.parent), smoke, figures, baseline, say)
        shutil.rmtree(file.parent)
        with postgres() as server:
            url = server.database("history")
            _one("postgresql", url, lambda: _size(server.socket), smoke, figures, baseline, say)
    return Result("history", figures, baseline, TARGETS)


def _one(
    name: str, url: str, size: Callable[[], float], smoke: bool, figures: dict[str, Any], baseline: dict[str, Any], say: Say
) -> None:  # fmt: skip
    """Everything on one database."""
    calls, rounds = figures["calls"], 2 if smoke else ROUNDS
    found: dict[str, Any] = {}
    base: dict[str, Any] = {}
    engine = old_engine(url)
    old_tables(engine)
    say(f"{name}: writing {calls:,} calls")
    found["generate_s"] = _clock(lambda: fill(engine, calls, say))
    _settle(engine)
    found["former_gb"] = size()
    base |= _former(engine, rounds)
    say(f"{name}: {found['generate_s']} s, {found['former_gb']} GB; the former query: {base}")
    engine.dispose()
    found["migration_s"] = _clock(lambda: open_history(url).close())
    say(f"{name}: migrated in {found['migration_s']} s")
    database = open_history(url)
    try:
        add_sites(database.engine)
        found["rebuild_s"] = _clock(lambda: rebuild(database))
        _settle(database.engine)
        found["gb"] = size()
        say(f"{name}: statistics made again in {found['rebuild_s']} s; {found['gb']} GB")
        found |= _searches(database, rounds, say)
        found |= _statistics(database, base)
        say(f"{name}: statistics {found['months_s']}, without sums {base['month_s']} s")
        base |= _plain(database.engine)
        say(f"{name}: searches without labels: {base}")
        found |= _writing(database, url, 200 if smoke else WRITTEN)
        say(f"{name}: {found['calls_written_per_s']} calls/s written, {found['rows_written_per_s']} rows/s")
    finally:
        database.close()
    say(f"{name}: {found}, baseline {base}")
    figures |= {f"{name}_{key}": value for key, value in found.items()}
    baseline |= {f"{name}_{key}": value for key, value in base.items()}


def _former(engine: Engine, rounds: int) -> dict[str, Any]:
    """The former release's only search, by an exact number."""
    query = text(
        "SELECT call.* FROM call_party JOIN call ON call.id = call_party.call WHERE call_party.number = :number "
        "ORDER BY call_party.started DESC, call_party.call DESC LIMIT 51"
    )
    times = []
    with engine.connect() as connection:
        for turn in range(rounds):
            times.append(_clock(lambda n=turn: connection.execute(query, {"number": str(2000 + 37 * n)}).all()))  # type: ignore[misc]
    return {"former_number_p95_ms": _p95(times)}


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
        found[kind] = _p95([_clock(lambda n=n: history.calls(make(n))) for n in range(rounds)])  # type: ignore[misc]  # noqa: B023
        say(f"  {kind}: p95 {found[kind]} ms")
    seen = Visible(extensions=frozenset({"2044"}))
    found["own"] = _p95([_clock(lambda: history.calls(visible_to=seen)) for _ in range(rounds)])
    totals = [_clock(lambda n=n: history.total(kinds(numbers, last)["trunk_time"](n))) for n in range(rounds)]  # type: ignore[misc]
    return {"searches_p95_ms": found, "search_p95_ms": max(found.values()), "total_p95_ms": _p95(totals)}


def _statistics(database: Database, base: dict[str, Any]) -> dict[str, Any]:
    """One month a year ago, by everything; without the sums, the dearest of the baseline's is the month by site."""
    since = datetime.datetime.fromtimestamp(FIRST_MS / 1000, datetime.UTC) + datetime.timedelta(days=361)
    until = since + datetime.timedelta(days=30)
    found = {}
    for by in By:
        wanted = Wanted(since, until, by=by)
        found[str(by)] = _clock(lambda wanted=wanted: _calculate(database, wanted))  # type: ignore[misc]
    base["month_s"] = _clock(lambda: _calculate(database, Wanted(since, until, by=By.DAY, zone="Asia/Kolkata")))
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
            found[f"plain_{kind}_ms"] = round(1000 * _clock(lambda query=query: connection.execute(query).all()), 1)  # type: ignore[misc]
    return found


def _writing(database: Database, url: str, calls: int) -> dict[str, Any]:
    """The daemon's own way from the spool into the tables, while another process turns pages."""
    with database.read() as connection:
        last = connection.execute(text("SELECT max(started) FROM call")).scalar_one()
    with tempfile.TemporaryDirectory() as folder:
        spool_of(Path(folder), calls, last)
        with _reader(url) as reader:
            ingest = Ingest(database, Spool(Path(folder)))
            seconds = _clock(ingest.drain)
            reader.terminate()
            pages, slowest = (float(word) for word in (reader.communicate()[0] or "0 0").split()[-2:])
    written, rows = _rows(database, last)
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


def _settle(engine: Engine) -> None:
    """What the database would do by itself in the hours after."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.rollback()
            assert connection.connection.dbapi_connection is not None
            connection.connection.dbapi_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _size(top: Path) -> float:
    """Gigabytes in a directory."""
    total = 0
    for path in top.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return round(total / 1e9, 3)


def _clock(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return round(time.perf_counter() - began, 5)


def _p95(seconds: list[float]) -> float:
    """Milliseconds that 95 of 100 stay below."""
    return round(1000 * statistics.quantiles(seconds, n=20, method="inclusive")[-1], 1)
