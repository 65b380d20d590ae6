"""Two years of calls of a company with 5,000 extensions, made by the database itself: always the same ones.

They are written in the tables of the former release and then migrated, as on an appliance that is updated: so the migration
is measured too, and the former query on the same calls.
"""

# ruff: noqa: S608 (all texts here are ours)

from __future__ import annotations

import itertools
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

from appliance.store import history as table
from appliance.store.database import Database
from bench import Say

FIRST_MS: Final = 1_730_678_400_000
"""Monday, 2024-11-04, 0:00 UTC."""
WORKDAYS: Final = 520
SITES: Final = 500
TRUNKS: Final = 8
_CHUNK: Final = 500_000
_SYLLABLES: Final = ("al", "be", "ca", "di", "fo", "ga", "li", "mo", "na", "ro", "sa", "te")


def words() -> list[str]:
    """1,728 words of three syllables, for names."""
    return ["".join(three).capitalize() for three in itertools.product(_SYLLABLES, repeat=3)]


def _random(n: str, salt: int, below: int) -> str:
    """SQL: a number from 0 on, as good as random, out of a call's number."""
    mixed = f"(({n} * {2654435761 + 194_910_862 * (salt % 8) + 22_222_222 * (salt // 8)} + {salt * 668265263}) % 4294967296)"
    return f"((({mixed} / 65536) * 40503 + {mixed} % 65536 + {salt * 7919}) % 4294967296 / 7 % {below})"


def old_tables(engine: Engine) -> None:
    """Tables of version h0001."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(table.SCRIPTS))
    with engine.connect().execution_options(centralino_write=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        config.attributes["version_table"] = table.VERSION_TABLE
        command.upgrade(config, "h0001")


def old_engine(url: str) -> Engine:
    """The database without any upgrade."""

    class Raw(Database):
        def _upgrade(self) -> None:
            pass

    return Raw(url, version_table=table.VERSION_TABLE, version="", scripts=table.SCRIPTS).engine


def fill(engine: Engine, calls: int, say: Say) -> None:
    """Write the calls."""
    sqlite = engine.dialect.name == "sqlite"
    series = _series(sqlite)
    with engine.connect() as connection:
        if sqlite:
            driver = connection.connection.dbapi_connection
            assert driver is not None
            for pragma in ("synchronous=OFF", "cache_size=-1000000", "foreign_keys=OFF"):
                driver.execute(f"PRAGMA {pragma}")
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")
            connection.exec_driver_sql("SET work_mem = '256MB'")
        connection.commit()
        _write(connection, "CREATE TABLE bench_word (n integer PRIMARY KEY, word text NOT NULL)")
        numbered = [{"n": n, "word": word} for n, word in enumerate(words())]
        with connection.begin():
            connection.execute(text("INSERT INTO bench_word VALUES (:n, :word)"), numbered)
        for first in range(1, calls + 1, _CHUNK):
            span = {"first": first, "last": min(calls, first + _CHUNK - 1), "all": calls}
            _write(connection, series + _CALLS, span)
            _write(connection, _LEGS, {"first": span["first"], "last": span["last"]})
            say(f"  {span['last']:,} calls")
        _write(connection, _PARTIES)
        _write(connection, f"INSERT INTO reader (id, run, last_call, last_event) VALUES (1, '', {calls}, 0)")
        _write(connection, "DROP TABLE bench_word")
        say("  and their parties")


def add_sites(engine: Engine) -> None:
    """Sites, as if they had been known: the labels only, which is what searches and statistics read."""
    with engine.connect() as connection:
        last = connection.execute(text("SELECT last_label FROM reader")).scalar_one()
        connection.commit()
        rows = [{"id": last + 1 + n, "value": site(n), "folded": site(n)} for n in range(SITES)]
        with connection.begin():
            query = "INSERT INTO label (id, kind, value, folded) VALUES (:id, 5, :value, :folded)"
            connection.execute(text(query), rows)
        _write(connection, f"UPDATE reader SET last_label = {last + SITES}")
        _write(connection, _SITE_LABELS, {"last": last})


def site(n: int) -> str:
    """Id of a site."""
    return f"site-{n}"


def _write(connection: Connection, query: str, values: dict[str, Any] | None = None) -> None:
    with connection.begin():
        connection.execute(text(query), values or {})


def _series(sqlite: bool) -> str:
    if sqlite:
        return """INSERT INTO call WITH RECURSIVE series(n) AS (
            SELECT CAST(:first AS integer) UNION ALL SELECT n + 1 FROM series WHERE n < :last), """
    return """INSERT INTO call WITH series AS (
            SELECT n FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n), """


_NUMBER: Final = (
    "'+39' || CASE n % 4 WHEN 0 THEN '020' WHEN 1 THEN '060' WHEN 2 THEN '3470' ELSE '04710' END || "
    f"CAST(1000000 + {_random('n', 1, 1000)} * {_random('n', 2, 1000)} * 3 / 10 AS text)"
)
# Working days of ten hours, one after the other: a call's number tells its time.
_AT: Final = "(n - 1) * {days} / CAST(:all AS bigint)"
_DAY: Final = f"({_AT.format(days=WORKDAYS)})"
_IN_DAY: Final = f"({_AT.format(days=WORKDAYS * 36_000_000)} - {_DAY} * 36000000)"
_CALLS: Final = f"""
random AS (SELECT n,
    CAST({FIRST_MS} AS bigint) + ({_DAY} / 5 * 7 + {_DAY} % 5) * 86400000 + 25200000 + {_IN_DAY} AS started,
    {_random("n", 3, 1000)} AS kind, {_random("n", 4, 1000)} AS ending, 2000 + {_random("n", 5, 5000)} AS a,
    2000 + {_random("n", 6, 71)} * {_random("n", 7, 71)} AS b, {_NUMBER} AS number,
    'trunk-' || CAST({_random("n", 8, TRUNKS)} AS text) AS trunk, {_random("n", 9, 25000)} AS ring,
    5000 + {_random("n", 10, 600)} * {_random("n", 11, 600)} AS talk, {_random("n", 12, 100)} AS named,
    {_random("n", 13, 40)} AS w1, {_random("n", 14, 1728)} AS w2 FROM series),
decided AS (SELECT random.*,
    CASE WHEN kind < 400 THEN 'internal' WHEN kind < 750 THEN 'inbound' WHEN kind < 999 THEN 'outbound'
         ELSE 'emergency' END AS direction,
    CASE WHEN ending < 720 THEN 'answered' WHEN ending < 840 THEN 'no_answer' WHEN ending < 920 THEN 'cancelled'
         WHEN ending < 970 THEN 'busy' WHEN ending < 999 THEN 'failed' ELSE 'engine_failure' END AS outcome,
    one.word || ' ' || two.word AS name FROM random
    JOIN bench_word AS one ON one.n = w1 JOIN bench_word AS two ON two.n = w2),
sided AS (SELECT decided.*, direction = 'inbound' AS comes, direction IN ('outbound', 'emergency') AS leaves,
    CAST(a AS text) AS ea, CAST(b AS text) AS eb, outcome = 'answered' AS ok FROM decided)
SELECT n, 'centralino-' || CAST(started / 1000 AS text) || '.' || CAST(n AS text), 'run', direction, outcome,
    CASE WHEN comes THEN '' ELSE ea || '-1' END, CASE WHEN comes THEN '' ELSE ea END, CASE WHEN comes THEN trunk ELSE '' END,
    CASE WHEN comes THEN number ELSE ea END,
    CASE WHEN NOT comes THEN 'Interno ' || ea WHEN named < 30 THEN name ELSE '' END,
    CASE WHEN comes THEN '+390200000' || CAST(100 + b % 800 AS text) WHEN leaves THEN '0' || substr(number, 4) ELSE eb END,
    CASE WHEN ok AND NOT leaves THEN eb || '-1' ELSE '' END, CASE WHEN ok AND NOT leaves THEN eb ELSE '' END,
    CASE WHEN ok AND leaves THEN trunk ELSE '' END,
    CASE WHEN NOT ok THEN '' WHEN leaves THEN number ELSE eb END,
    CASE WHEN leaves THEN trunk ELSE '' END, 0, started, started + 200,
    CASE WHEN ok THEN started + 200 + ring END, started + 200 + ring + CASE WHEN ok THEN talk ELSE 0 END,
    ring, CASE WHEN ok THEN talk ELSE 0 END, 16, ok AND NOT ok, '[]', '[]'
FROM sided"""

_QUALITY: Final = """CASE WHEN c.talk_ms > 5000 THEN c.talk_ms / 20 END, CASE WHEN c.talk_ms > 5000 THEN c.talk_ms / 20 END,
    CASE WHEN c.talk_ms > 5000 THEN c.id % 97 / 90 * (c.talk_ms / 500) END,
    CASE WHEN c.talk_ms > 5000 THEN c.id % 89 / 85 END, CASE WHEN c.talk_ms > 5000 THEN c.id % 40 / 2.0 END,
    CASE WHEN c.talk_ms > 5000 THEN c.id % 30 / 2.0 END, CASE WHEN c.talk_ms > 5000 THEN 20.0 END"""
_RESULT: Final = "CASE c.outcome WHEN 'engine_failure' THEN 'open' ELSE c.outcome END"
_LEGS: Final = f"""
INSERT INTO leg
SELECT c.id, 0, c.id > 0, c.from_device, c.from_trunk, c.from_extension, c.dialled, c.started, c.answered, c.ended,
    {_RESULT}, 16, 0, 'alaw', '', {_QUALITY} FROM call AS c WHERE c.id BETWEEN :first AND :last
UNION ALL
SELECT c.id, 1, c.id < 0, CASE WHEN c.trunk <> '' THEN '' ELSE {{b}} || '-1' END, c.trunk,
    CASE WHEN c.trunk <> '' THEN '' ELSE {{b}} END, CASE WHEN c.trunk <> '' THEN '+39' || substr(c.dialled, 2) ELSE {{b}} END,
    c.rang, c.answered, c.ended, {_RESULT}, 16, 200, 'alaw', '', {_QUALITY}
    FROM call AS c WHERE c.id BETWEEN :first AND :last
UNION ALL
SELECT c.id, 2, c.id < 0, {{b}} || '-2', '', {{b}}, {{b}}, c.rang, NULL, c.answered, 'elsewhere', 26, 180, 'alaw', '',
    NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM call AS c WHERE c.id BETWEEN :first AND :last AND c.trunk = '' AND c.id % 10 < 3 AND c.outcome = 'answered'
""".replace("{b}", f"CAST(2000 + {_random('c.id', 6, 71)} * {_random('c.id', 7, 71)} AS text)")

_PARTIES: Final = """
INSERT INTO call_party (number, started, call) SELECT number, started, id FROM (
    SELECT from_number AS number, started, id FROM call WHERE from_number <> ''
    UNION ALL SELECT dialled, started, id FROM call
    UNION ALL SELECT l.number, c.started, c.id FROM leg AS l JOIN call AS c ON c.id = l.call
        WHERE l.position = 1 AND (l.trunk <> '' OR c.from_trunk <> '') AND l.number <> c.dialled
) AS party GROUP BY number, started, id ORDER BY number, started, id
"""

_SITE_LABELS: Final = """
INSERT INTO call_label (label, started, call) SELECT DISTINCT CAST(:last AS integer) + 1 + site, started, call FROM (
    SELECT CASE WHEN CAST(extension AS integer) % 5 = 0 THEN 0 ELSE CAST(extension AS integer) % 500 END AS site, started, call
    FROM (SELECT c.started AS started, c.id AS call, l.extension AS extension
          FROM leg AS l JOIN call AS c ON c.id = l.call WHERE l.extension <> '' AND l.position < 2) AS one
) AS two ORDER BY 1, 2, 3
"""
