"""Two years of calls on SQLite and on PostgreSQL, in the tables of the former release and then migrated.

Both are made at once, each by a process of its own: it takes an hour, and each uses one core. So the times that are taken here,
of writing, migrating and of the former query, are those of a machine that is busy with the other database.

Where the environment variable ``HISTORY_DATA`` names a directory, they are kept there, and the next run only measures.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, text

from appliance.history.statistics import rebuild
from appliance.store import history as table
from appliance.store.history import open_history
from bench import Say, history_data
from bench.history_data import add_sites, fill, old_engine, old_tables
from tests.hil.postgres import postgres

FREE_GB: Final = 60
"""What both databases and their sorting take, at most, with ten million calls."""
FORMER_ROUNDS: Final = 25


@dataclass(frozen=True, slots=True)
class Prepared:
    """A database with its calls, and what was measured while it was made."""

    name: str
    url: str
    figures: dict[str, Any]
    baseline: dict[str, Any]


@contextlib.contextmanager
def prepared(calls: int, say: Say) -> Iterator[list[Prepared]]:
    """Both databases with so many calls.

    Raises:
        RuntimeError: too little room, or one couldn't be made.
    """
    with _folder() as top:
        sqlite, cluster = top / "sqlite", top / "postgresql"
        made = _made_of(calls)
        if not all(_told(top, name).get("made_of") == made for name in ("sqlite", "postgresql")):
            free = shutil.disk_usage(top).free / 1e9
            if calls >= 1_000_000 and free < FREE_GB:
                raise RuntimeError(
                    f"{free:.0f} GB free in {top}, {FREE_GB} are needed: set HISTORY_DATA or TMPDIR to a larger disk"
                )
            for path in (sqlite, cluster):
                path.with_name(f"{path.name}.json").unlink(missing_ok=True)
                shutil.rmtree(path, ignore_errors=True)
            with postgres(cluster, ("max_wal_size=8GB",)) as server:
                _make({"sqlite": _sqlite(sqlite), "postgresql": server.database("history")}, top, calls, say)
        with postgres(cluster) as server:
            urls = {"sqlite": _sqlite(sqlite), "postgresql": server.url("history")}
            yield [
                Prepared(name, url, **{key: _told(top, name)[key] for key in ("figures", "baseline")})
                for name, url in urls.items()
            ]


def clock(action: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    action()
    return round(time.perf_counter() - began, 5)


def p95(seconds: list[float]) -> float:
    """Milliseconds that 95 of 100 stay below."""
    return round(1000 * statistics.quantiles(seconds, n=20, method="inclusive")[-1], 1)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    kept = os.environ.get("HISTORY_DATA")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="bench-history-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's user passes through
        yield Path(folder)


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'history.db'}"


def _made_of(calls: int) -> str:
    """What the databases are made of: when it changes, kept ones are made anew."""
    made_by = Path(history_data.__file__).read_bytes()
    return f"{calls} calls, tables {table.TABLES_VERSION}, {hashlib.sha256(made_by).hexdigest()[:16]}"


def _told(top: Path, name: str) -> dict[str, Any]:
    """What the process that made a database told at its very end; empty: it wasn't made whole."""
    try:
        return json.loads((top / f"{name}.json").read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}


def _make(urls: dict[str, str], top: Path, calls: int, say: Say) -> None:
    """Make both, each in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    makers = [spawn.Process(target=_make_one, args=(name, url, top, calls), name=name) for name, url in urls.items()]
    say(f"writing {calls:,} calls to each of {', '.join(urls)}")
    for maker in makers:
        maker.start()
    try:
        for maker in makers:
            maker.join()
    finally:
        for maker in makers:
            maker.kill()
    failed = [maker.name for maker in makers if maker.exitcode]
    if failed:
        raise RuntimeError(f"could not be made: {', '.join(failed)}")


def _make_one(name: str, url: str, top: Path, calls: int) -> None:
    """One database, from its first table to its last statistic."""

    def say(words: str) -> None:
        print(f"{name}: {words}", file=sys.stderr, flush=True)

    figures: dict[str, Any] = {}
    engine = old_engine(url)
    old_tables(engine)
    figures["generate_s"] = clock(lambda: fill(engine, calls, say))
    settle(engine)
    figures["former_gb"] = _gigabytes(top / name)
    baseline = {"former_number_p95_ms": _former(engine)}
    say(f"written in {figures['generate_s']} s, {figures['former_gb']} GB; the former query: {baseline}")
    engine.dispose()
    figures["migration_s"] = clock(lambda: open_history(url).close())
    say(f"migrated in {figures['migration_s']} s")
    database = open_history(url)
    try:
        add_sites(database.engine)
        figures["rebuild_s"] = clock(lambda: rebuild(database))
        settle(database.engine)
    finally:
        database.close()
    figures["gb"] = _gigabytes(top / name)
    say(f"statistics made again in {figures['rebuild_s']} s; {figures['gb']} GB")
    told = {"made_of": _made_of(calls), "figures": figures, "baseline": baseline}
    (top / f"{name}.json").write_text(json.dumps(told))


def _former(engine: Engine) -> float:
    """The former release's only search, by an exact number: 95 of 100 within so many milliseconds."""
    query = text(
        "SELECT call.* FROM call_party JOIN call ON call.id = call_party.call WHERE call_party.number = :number "
        "ORDER BY call_party.started DESC, call_party.call DESC LIMIT 51"
    )
    with engine.connect() as connection:
        numbers = [str(2000 + 37 * turn) for turn in range(FORMER_ROUNDS)]
        return p95([clock(lambda n=number: connection.execute(query, {"number": n}).all()) for number in numbers])  # type: ignore[misc]


def settle(engine: Engine) -> None:
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


def _gigabytes(top: Path) -> float:
    """Gigabytes in a directory."""
    total = 0
    for path in top.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return round(total / 1e9, 3)
