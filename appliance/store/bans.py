"""Tables of bans and strikes, and the database that holds them. Changed only together with a migration in ``migrations/bans``.

``since`` and ``until`` are running time (:mod:`appliance.firewall.bans.timeline`), which the one row of ``running`` continues; ``wall``
is for people: ms since the epoch, UTC.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

from appliance.paths import Paths
from appliance.store.database import Database, Patience

metadata: Final = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"})

VERSION_TABLE: Final = "bans_schema"
TABLES_VERSION: Final = "b0001"
"""Newest migration of the tables."""

NETWORK: Final = String(64)

ban: Final = Table(
    "ban",
    metadata,
    Column("network", NETWORK, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("wall", BigInteger, nullable=False),
    Column("reason", String(40), nullable=False),
    Column("words", Text, nullable=False),
    Column("strike", Integer, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON
    Column("quarantine", Boolean, nullable=False),
    Column("brief", Boolean, nullable=False),
    Index(None, "until"),
)

strikes: Final = Table(
    "strikes",
    metadata,
    Column("network", NETWORK, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Index(None, "until"),
)

running: Final = Table(
    "running",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("boot", String(40), nullable=False),
    Column("uptime", BigInteger, nullable=False),
    Column("running", BigInteger, nullable=False),
)

SCRIPTS: Final = Path(__file__).parent / "migrations" / "bans"


QUICK: Final = Patience(turn=2)
"""Whoever judges doesn't wait for a database: what it doesn't take now it is given later."""


def open_bans(
    url: str | None = None, paths: Paths | None = None, *, upgrade: bool = True, patience: Patience = QUICK
) -> Database:
    """The database of bans.

    :param url: ``sqlite:///…`` or ``postgresql://…``; by default ``CENTRALINO_BANS_URL``, else the file in the state directory.
    :param upgrade: make the tables, or bring them up to date; else UnavailableError if they aren't (for those who only read).
    """
    paths = paths or Paths.default()
    url = url or os.environ.get("CENTRALINO_BANS_URL") or f"sqlite:///{paths.bans_db}"
    return Database(
        url, version_table=VERSION_TABLE, version=TABLES_VERSION, scripts=SCRIPTS, upgrade=upgrade, patience=patience
    )
