"""Tables of credentials, sessions and the audit, and the database that holds them. Changed only together with a migration
in ``migrations/access``.

People are objects of the document; here are only their ids. Times are milliseconds since the epoch, UTC, as integers.
Whatever opens a door is kept as a hash, or sealed; see :mod:`appliance.access`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

from appliance.paths import Paths
from appliance.store.database import Database

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

VERSION_TABLE: Final = "access_schema"
TABLES_VERSION: Final = "a0002"
"""Newest migration of the tables."""

PERSON: Final = String(40)
HASH: Final = String(64)
"""SHA-256 in hexadecimal."""
ADDRESS: Final = String(64)
AGENT_MAX: Final = 200

credential: Final = Table(
    "credential",
    metadata,
    Column("person", PERSON, primary_key=True),
    Column("password", Text, nullable=True),  # Argon2id in PHC form; NULL: none yet
    Column("changed", BigInteger, nullable=True),
    Column("handle", String(64), nullable=False, unique=True),  # what passkeys know the person by: random
)

totp: Final = Table(
    "totp",
    metadata,
    Column("person", PERSON, primary_key=True),
    Column("confirmed", Boolean, primary_key=True),  # beside the one in use, another may wait for its first code
    Column("sealed", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

totp_step: Final = Table(
    "totp_step",
    metadata,
    Column("person", PERSON, primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
)
"""Steps whose code was accepted: the primary key is what lets each be used once."""

recovery_code: Final = Table(
    "recovery_code",
    metadata,
    Column("person", PERSON, primary_key=True),
    Column("hash", HASH, primary_key=True),
)

passkey: Final = Table(
    "passkey",
    metadata,
    Column("id", HASH, primary_key=True),  # of the credential id, which may have a thousand bytes
    Column("person", PERSON, nullable=False),
    Column("name", String(120), nullable=False),
    Column("credential", LargeBinary, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("backed_up", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=True),
    Index(None, "person"),
)

challenge: Final = Table(
    "challenge",
    metadata,
    Column("id", HASH, primary_key=True),
    Column("purpose", String(20), nullable=False),
    Column("person", PERSON, nullable=True),
    Column("challenge", LargeBinary, nullable=False),
    Column("made", BigInteger, nullable=False),
)

session: Final = Table(
    "session",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("token", HASH, nullable=False, unique=True),
    Column("person", PERSON, nullable=False),
    Column("stage", String(10), nullable=False),
    Column("address", ADDRESS, nullable=False),
    Column("agent", String(AGENT_MAX), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("proved", BigInteger, nullable=False),
    Column("roles", Text, nullable=True),  # ids of those that groups elsewhere give, separated by blanks
    Index(None, "person"),
)

throttle: Final = Table(
    "throttle",
    metadata,
    Column("bucket", HASH, primary_key=True),
    Column("failures", Float, nullable=False),
    Column("boot", String(40), nullable=False),
    Column("uptime", BigInteger, nullable=False),
    Column("wall", BigInteger, nullable=False),
    Column("told", Boolean, nullable=False),
)

known_place: Final = Table(
    "known_place",
    metadata,
    Column("person", PERSON, primary_key=True),
    Column("place", ADDRESS, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

link: Final = Table(
    "link",
    metadata,
    Column("hash", HASH, primary_key=True),
    Column("person", PERSON, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index(None, "person"),
)

api_key: Final = Table(
    "api_key",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("hash", HASH, nullable=False),
    Column("name", String(120), nullable=False),
    Column("owner", PERSON, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=True),
    Column("used", BigInteger, nullable=True),
    Column("revoked", BigInteger, nullable=True),
    Index(None, "owner"),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("event", String(40), nullable=False),
    Column("person", PERSON, nullable=False),
    Column("author", String(120), nullable=False),
    Column("address", ADDRESS, nullable=False),
    Column("detail", Text, nullable=False),
    Column("hash", HASH, nullable=False),
    Index(None, "person", "number"),
)

audit_head: Final = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", HASH, nullable=False),
)
"""Where the chain ends: entries cut off at its end are missed."""

SCRIPTS: Final = Path(__file__).parent / "migrations" / "access"


def open_access(url: str | None = None, paths: Paths | None = None) -> Database:
    """The database of credentials, its tables made or brought up to date.

    :param url: ``sqlite:///…`` or ``postgresql://…``; by default ``CENTRALINO_ACCESS_URL``, else the file in the state
        directory.
    """
    paths = paths or Paths.default()
    url = url or os.environ.get("CENTRALINO_ACCESS_URL") or f"sqlite:///{paths.access_db}"
    return Database(url, version_table=VERSION_TABLE, version=TABLES_VERSION, scripts=SCRIPTS)
