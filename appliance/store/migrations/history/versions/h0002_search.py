"""Labels, statistics and sites; the table of parties gives way to the labels.

One transaction: whatever stops it, the tables are as before. Old calls get their labels and statistics; where their
parties stood isn't known any more.
"""

import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

from appliance.history.labels import folded

revision = "h0002"
down_revision = "h0001"
branch_labels = None
depends_on = None

_log = logging.getLogger("centralino.history")
CHUNK = 20_000
TOLD = 10_000
"""Calls from which on it takes so long that somebody may wonder."""
BEAT_S = 30.0


def bytewise(width: int) -> sa.String:
    return sa.String(width).with_variant(sa.String(width, collation="C"), "postgresql")


def upgrade() -> None:
    tables()
    connection = op.get_bind()
    calls = connection.execute(sa.text("SELECT max(id) FROM call")).scalar() or 0
    if connection.dialect.name == "sqlite":
        # KiB, negative: of memory; sorting is most of the work
        connection.execute(sa.text("PRAGMA cache_size = -200000"))
    else:
        connection.execute(sa.text("SET LOCAL work_mem = '256MB'"))
        connection.execute(sa.text("SET LOCAL max_parallel_workers_per_gather = 0"))
    with Hourglass(calls) as note:
        everything(connection, note)
        op.drop_table("call_party")
        note("done")


class Hourglass:
    """Says in the log how far it is, and every half minute that it is still at it: single steps take minutes."""

    def __init__(self, calls: int) -> None:
        self._calls, self._began, self._at, self._over = calls, time.monotonic(), "beginning", threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Callable[[str], None]:
        if self._calls >= TOLD:
            _log.info("bringing the history up to date: %d calls, some minutes per million", self._calls)
            self._thread.start()
        return self.note

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def note(self, what: str) -> None:
        self._at = what
        self._say()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            self._say()

    def _say(self) -> None:
        if self._calls >= TOLD:
            spent = time.monotonic() - self._began
            _log.info("bringing the history up to date: %s (%.0f s so far)", self._at, spent)


def tables() -> None:
    for name in ("from_site", "reached_site"):
        op.add_column("call", sa.Column(name, sa.String(80), nullable=False, server_default=""))
    op.add_column("leg", sa.Column("site", sa.String(80), nullable=False, server_default=""))
    op.add_column("reader", sa.Column("last_label", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "label",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("value", bytewise(200), nullable=False),
        sa.Column("folded", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_label"),
    )
    op.create_index("ix_label_value", "label", ["kind", "value"], unique=True)
    op.create_table(
        "label_part",
        sa.Column("kind", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("part", bytewise(12), nullable=False),
        sa.Column("label", sa.Integer, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("kind", "part", "label", name="pk_label_part"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "call_label",
        sa.Column("label", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("started", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("call", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("label", "started", "call", name="pk_call_label"),
        sqlite_with_rowid=False,
    )
    counts = ("calls", "answered", "busy", "no_answer", "cancelled", "failed")
    op.create_table(
        "call_hour",
        sa.Column("label", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("hour", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("direction", sa.String(12), nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in counts),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("talk_ms", "wait_ms", "lost_wait_ms")),
        sa.PrimaryKeyConstraint("label", "hour", "direction", name="pk_call_hour"),
        sqlite_with_rowid=False,
    )


def everything(connection: sa.Connection, note: Callable[[str], None]) -> None:
    note("step 1 of 6, what calls can be found by")
    connection.execute(sa.text("INSERT INTO label (id, kind, value, folded) VALUES (0, 0, '', '')"))
    connection.execute(sa.text(FOUND))
    analyze(connection, "found")
    note("step 2 of 6, each of it once")
    connection.execute(sa.text(LABELS))
    last = connection.execute(sa.text("SELECT coalesce(max(id), 0) FROM label")).scalar() or 0
    connection.execute(sa.text("UPDATE reader SET last_label = :last"), {"last": last})
    note(f"step 3 of 6, searchable forms of {last} numbers, devices, trunks and names")
    fold(connection, last)
    note("step 4 of 6, their parts")
    analyze(connection, "label")
    # In order on SQLite, whose table is its index; PostgreSQL would sort by the rules of a language, for nothing.
    ordered = "ORDER BY 1, 2, 3" if connection.dialect.name == "sqlite" else ""
    connection.execute(sa.text(PARTS.format(ordered=ordered)))
    note("step 5 of 6, which calls have which")
    connection.execute(sa.text(CALL_LABELS))
    connection.execute(sa.text("DROP TABLE found"))
    note("step 6 of 6, statistics")
    connection.execute(sa.text(HOURS.format(label="0", more="")))
    more = "JOIN call_label AS l ON l.call = c.id JOIN label ON label.id = l.label AND label.kind IN (1, 4)"
    connection.execute(sa.text(HOURS.format(label="l.label", more=more)))


def analyze(connection: sa.Connection, name: str) -> None:
    """Tell PostgreSQL's planner what was just written."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"ANALYZE {name}"))


def fold(connection: sa.Connection, last: int) -> None:
    """Searchable form of every label. In Python: SQLite knows no case beyond ASCII. Numbers stay as they are."""
    for start in range(1, last + 1, CHUNK):
        query = sa.text("SELECT id, value FROM label WHERE id >= :start AND id < :end")
        rows = connection.execute(query, {"start": start, "end": start + CHUNK}).all()
        texts = [{"id": row.id, "folded": folded(row.value)} for row in rows]
        changed = [new for new, row in zip(texts, rows, strict=True) if new["folded"] != row.value]
        if changed:
            connection.execute(sa.text("UPDATE label SET folded = :folded WHERE id = :id"), changed)


# Kinds of label: 1 extension, 2 number, 3 device, 4 trunk, 6 name.
# A call has each of its labels once. What stands in the call itself is compared rather than sorted: only legs that tell
# more need DISTINCT, and they are few.
FOUND = """
CREATE TEMPORARY TABLE found AS
SELECT 1 AS kind, from_extension AS value, started, id AS call FROM call WHERE from_extension <> ''
UNION ALL SELECT 1, reached_extension, started, id FROM call
    WHERE reached_extension <> '' AND reached_extension <> from_extension
UNION ALL SELECT * FROM (SELECT DISTINCT 1, l.extension, c.started, c.id FROM call AS c CROSS JOIN leg AS l
    WHERE l.call = c.id AND l.extension NOT IN ('', c.from_extension, c.reached_extension)) AS more_extensions
UNION ALL SELECT 2, p.number, c.started, c.id FROM call AS c CROSS JOIN call_party AS p
    WHERE p.call = c.id AND p.number NOT IN (c.from_extension, c.reached_extension)
    AND NOT EXISTS (SELECT 1 FROM leg AS l WHERE l.call = c.id AND l.extension = p.number)
UNION ALL SELECT 3, from_device, started, id FROM call WHERE from_device <> ''
UNION ALL SELECT 3, reached_device, started, id FROM call WHERE reached_device <> '' AND reached_device <> from_device
UNION ALL SELECT * FROM (SELECT DISTINCT 3, l.device, c.started, c.id FROM call AS c CROSS JOIN leg AS l
    WHERE l.call = c.id AND l.device NOT IN ('', c.from_device, c.reached_device)) AS more_devices
UNION ALL SELECT 4, from_trunk, started, id FROM call WHERE from_trunk <> ''
UNION ALL SELECT 4, trunk, started, id FROM call WHERE trunk <> '' AND trunk <> from_trunk
UNION ALL SELECT 4, reached_trunk, started, id FROM call WHERE reached_trunk NOT IN ('', from_trunk, trunk)
UNION ALL SELECT * FROM (SELECT DISTINCT 4, l.trunk, c.started, c.id FROM call AS c CROSS JOIN leg AS l
    WHERE l.call = c.id AND l.trunk NOT IN ('', c.from_trunk, c.trunk, c.reached_trunk)) AS more_trunks
UNION ALL SELECT 6, from_name, started, id FROM call WHERE from_name <> ''
"""

LABELS = """
INSERT INTO label (id, kind, value, folded)
SELECT row_number() OVER (ORDER BY kind, value), kind, value, value FROM (SELECT DISTINCT kind, value FROM found) AS one
"""

PARTS = """
INSERT INTO label_part (kind, part, label)
WITH RECURSIVE place(n) AS (
    SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < (SELECT max(length(folded)) FROM label)
)
SELECT kind, substr(folded, n, 12), id FROM label JOIN place ON n <= length(folded) WHERE kind IN (1, 2, 6)
{ordered}
ON CONFLICT DO NOTHING
"""

CALL_LABELS = """
INSERT INTO call_label (label, started, call)
SELECT label.id, found.started, found.call FROM found JOIN label ON label.kind = found.kind AND label.value = found.value
ORDER BY label.id, found.started, found.call
"""

HOURS = """
INSERT INTO call_hour (
    label, hour, direction, calls, answered, busy, no_answer, cancelled, failed, talk_ms, wait_ms, lost_wait_ms
)
SELECT {label}, c.started / 3600000, c.direction, count(*),
    sum(CASE WHEN c.outcome = 'answered' THEN 1 ELSE 0 END), sum(CASE WHEN c.outcome = 'busy' THEN 1 ELSE 0 END),
    sum(CASE WHEN c.outcome = 'no_answer' THEN 1 ELSE 0 END), sum(CASE WHEN c.outcome = 'cancelled' THEN 1 ELSE 0 END),
    sum(CASE WHEN c.outcome IN ('failed', 'engine_failure') THEN 1 ELSE 0 END),
    sum(c.talk_ms), sum(CASE WHEN c.outcome = 'answered' THEN c.ring_ms ELSE 0 END),
    sum(CASE WHEN c.outcome = 'answered' THEN 0 ELSE c.ring_ms END)
FROM call AS c {more}
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
"""
