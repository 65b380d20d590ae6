"""Tables of the call history, and the database that holds them. Changed only together with a migration in
``migrations/history``.

Times are milliseconds since the epoch, UTC, as integers: both databases sort and index them alike. Every record and the
reader's place in the spool are written in one transaction, so a record exists exactly once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

from appliance.paths import Paths
from appliance.store.database import PATIENT, Database, Patience

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

VERSION_TABLE: Final = "history_schema"
TABLES_VERSION: Final = "h0003"
"""Newest migration of the tables."""

PARTY_MAX: Final = 64
"""Characters of a number or extension that are kept and searched."""


def _bytewise(width: int) -> String:
    """A text that is sorted by its bytes on both databases: a search by beginnings walks it from one to the next."""
    return String(width).with_variant(String(width, collation="C"), "postgresql")


call: Final = Table(
    "call",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("linked_id", String(80), nullable=False),
    Column("run", String(80), nullable=False),
    Column("direction", String(12), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("from_device", String(80), nullable=False),
    Column("from_extension", String(PARTY_MAX), nullable=False),
    Column("from_trunk", String(80), nullable=False),
    Column("from_number", String(PARTY_MAX), nullable=False),
    Column("from_name", String(200), nullable=False),
    Column("dialled", String(PARTY_MAX), nullable=False),
    Column("reached_device", String(80), nullable=False),
    Column("reached_extension", String(PARTY_MAX), nullable=False),
    Column("reached_trunk", String(80), nullable=False),
    Column("reached_number", String(PARTY_MAX), nullable=False),
    Column("trunk", String(80), nullable=False),
    Column("failovers", Integer, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("rang", BigInteger, nullable=True),
    Column("answered", BigInteger, nullable=True),
    Column("ended", BigInteger, nullable=False),
    Column("ring_ms", BigInteger, nullable=False),
    Column("talk_ms", BigInteger, nullable=False),
    Column("cause", Integer, nullable=False),
    Column("incomplete", Boolean, nullable=False),
    Column("transfers", Text, nullable=False),
    Column("forwards", Text, nullable=False),
    Column("from_site", String(80), nullable=False, server_default=""),
    Column("reached_site", String(80), nullable=False, server_default=""),
    Index(None, "started", "id"),
    Index("ix_call_direction", "direction", "started", "id"),
    Index("ix_call_outcome", "outcome", "started", "id"),
)

leg: Final = Table(
    "leg",
    metadata,
    Column("call", BigInteger, ForeignKey("call.id"), primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("caller", Boolean, nullable=False),
    Column("device", String(80), nullable=False),
    Column("trunk", String(80), nullable=False),
    Column("extension", String(PARTY_MAX), nullable=False),
    Column("number", String(PARTY_MAX), nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("answered", BigInteger, nullable=True),
    Column("ended", BigInteger, nullable=True),
    Column("result", String(12), nullable=False),
    Column("cause", Integer, nullable=False),
    Column("sip", Integer, nullable=False),
    Column("codec", String(20), nullable=False),
    Column("redirected_by", String(PARTY_MAX), nullable=False),
    Column("received", BigInteger, nullable=True),
    Column("sent", BigInteger, nullable=True),
    Column("lost_received", BigInteger, nullable=True),
    Column("lost_sent", BigInteger, nullable=True),
    Column("jitter_received_ms", Float, nullable=True),
    Column("jitter_sent_ms", Float, nullable=True),
    Column("round_trip_ms", Float, nullable=True),
    Column("site", String(80), nullable=False, server_default=""),
)

label: Final = Table(
    "label",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("value", _bytewise(200), nullable=False),
    Column("folded", Text, nullable=False),
    Index("ix_label_value", "kind", "value", unique=True),
)
"""What calls can be found by, each once: numbers, extensions, devices, trunks, sites, names (``appliance/history/labels.py``)."""

label_part: Final = Table(
    "label_part",
    metadata,
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("part", _bytewise(12), primary_key=True),
    Column("label", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""Every part of a number or name, so that looking for a part is looking for a beginning."""

call_label: Final = Table(
    "call_label",
    metadata,
    Column("label", Integer, primary_key=True, autoincrement=False),
    Column("started", BigInteger, primary_key=True, autoincrement=False),
    Column("call", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""The calls of each label; its primary key is the index that a search walks. No foreign keys: one writer writes it in
the transaction of the call, and checking 70 million rows costs more than it tells."""

call_hour: Final = Table(
    "call_hour",
    metadata,
    Column("label", Integer, primary_key=True, autoincrement=False),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("direction", String(12), primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("answered", Integer, nullable=False),
    Column("busy", Integer, nullable=False),
    Column("no_answer", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("talk_ms", BigInteger, nullable=False),
    Column("wait_ms", BigInteger, nullable=False),
    Column("lost_wait_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Statistics, added up as calls are written: per hour (since the epoch, UTC), label and direction. Label 0: all calls."""

spool_file: Final = Table(
    "spool_file",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("device", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),  # first bytes, because inode numbers are used again
    Column("offset", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=True),
)
"""How far each file of the spool has been read; ``done``: when the last of it was."""

open_call: Final = Table(
    "open_call",
    metadata,
    Column("linked_id", String(80), primary_key=True),
    Column("state", Text, nullable=False),
)

reader: Final = Table(
    "reader",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("run", String(80), nullable=False),
    Column("last_call", BigInteger, nullable=False),
    Column("last_event", BigInteger, nullable=False),
    Column("last_label", Integer, nullable=False, server_default="0"),
)

fault: Final = Table(
    "spool_fault",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("file", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("found", BigInteger, nullable=False),
)
"""Bytes of the spool that are no record, with where they stand; ``content`` is their beginning."""

gap: Final = Table(
    "history_gap",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("reason", String(40), nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "since"),
)
"""Times in which calls may be missing from the history."""

alarm: Final = Table(
    "alarm",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("code", String(40), nullable=False),
    Column("severity", String(10), nullable=False),
    Column("message", Text, nullable=False),
    Column("raised", BigInteger, nullable=False),
    Column("cleared", BigInteger, nullable=True),
    Index(None, "code", "cleared"),
)

outbox: Final = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("taken", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("last_delivery", BigInteger, nullable=False),
)
"""One row. ``last``: number of the newest notice; ``taken``: of the newest that was turned into deliveries; ``dropped``: how many
had no room."""

notice: Final = Table(
    "notice",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("type", String(40), nullable=False),
    Column("stream", String(120), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("facts", Text, nullable=False),
)
"""What happened and hasn't been turned into deliveries yet, written in the transaction of what it tells of."""

delivery: Final = Table(
    "delivery",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(40), nullable=False, unique=True),
    Column("endpoint", String(40), nullable=False),
    Column("type", String(40), nullable=False),
    Column("stream", String(120), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", BigInteger, nullable=False),
    Column("waited_ms", BigInteger, nullable=False),
    Column("outage_ms", BigInteger, nullable=False),
    Column("tried", BigInteger, nullable=True),
    Column("finished", BigInteger, nullable=True),
    Column("status", Integer, nullable=True),
    Column("error", String(300), nullable=False),
    Index("ix_delivery_due", "state", "endpoint", "next_try", "number"),
    Index("ix_delivery_stream", "endpoint", "stream", "state", "number"),
)
"""One notice to one endpoint. ``state``: waiting, delivered, dead. ``waited_ms``: waits planned after its own failures; ``outage_ms``:
what the endpoint's ``failing_ms`` was when this one began to wait: together they tell its age, whatever the clock does."""

delivery_endpoint: Final = Table(
    "delivery_endpoint",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("failing_ms", BigInteger, nullable=False),
    Column("failing_since", BigInteger, nullable=True),
    Column("succeeded", BigInteger, nullable=True),
    Column("error", String(300), nullable=False),
)
"""How an endpoint does. ``failing_ms``: how long it was tried in vain, all outages together."""

export_run: Final = Table(
    "export_run",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("export", String(40), nullable=False),
    Column("first_call", BigInteger, nullable=False),
    Column("last_call", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("file", String(200), nullable=False),
    Column("settings", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", BigInteger, nullable=False),
    Column("tried", BigInteger, nullable=True),
    Column("finished", BigInteger, nullable=True),
    Column("error", String(300), nullable=False),
    Index("ix_export_run_export", "export", "number"),
)
"""One file of a scheduled export: which calls (numbers of the history, both ends included) and how they are written is settled
when it begins, so that trying again makes the same file. ``state``: begun, waiting, delivered."""

SCRIPTS: Final = Path(__file__).parent / "migrations" / "history"


def open_history(
    url: str | None = None, paths: Paths | None = None, *, upgrade: bool = True, patience: Patience = PATIENT
) -> Database:  # fmt: skip
    """The history's database, its tables made or brought up to date.

    :param url: ``sqlite:///…`` or ``postgresql://…``; by default ``CENTRALINO_HISTORY_URL``, else the file in the state
        directory.
    :param upgrade: False: only looked at; the history's daemon makes the tables.
    """
    paths = paths or Paths.default()
    url = url or os.environ.get("CENTRALINO_HISTORY_URL") or f"sqlite:///{paths.history_db}"
    return Database(
        url, version_table=VERSION_TABLE, version=TABLES_VERSION, scripts=SCRIPTS, upgrade=upgrade, patience=patience
    )
