"""Tables of the configuration document. Changed only together with a migration in ``migrations/tables``.

``object_version`` holds every object once per change of it, valid for revisions ``revision_from <= n < revision_to``
(``revision_to`` empty: still valid). Rows valid for a committed revision never change in what they say about it, so
reading a revision needs no lock and no isolation level. Bodies are canonical JSON text (:mod:`appliance.store.encode`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

VERSION_TABLE: Final = "document_schema"
"""Where Alembic notes the version of these tables: the history has its own, also when both share a database."""

TABLES_VERSION: Final = "0002"
"""Newest migration of the tables."""

revision: Final = Table(
    "revision",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("parent", Integer, nullable=False),
    Column("author", String(200), nullable=False),
    Column("time", String(40), nullable=False),
    Column("message", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("format", Integer, nullable=False),
    Index(None, "state", "number"),
)

object_version: Final = Table(
    "object_version",
    metadata,
    Column("kind", String(40), primary_key=True),
    Column("id", String(40), primary_key=True),
    Column("revision_from", Integer, ForeignKey("revision.number"), primary_key=True),
    Column("revision_to", Integer, ForeignKey("revision.number"), nullable=True),
    Column("body", Text, nullable=False),
    Index(None, "revision_from"),
)
_live = object_version.c.revision_to.is_(None)
_ended = object_version.c.revision_to.is_not(None)
# At most one version of an object is valid at the head: the database itself refuses a second one.
Index(
    "ix_object_version_live",
    object_version.c.kind,
    object_version.c.id,
    unique=True,
    sqlite_where=_live,
    postgresql_where=_live,
)
Index("ix_object_version_ended", object_version.c.revision_to, sqlite_where=_ended, postgresql_where=_ended)

proposed_change: Final = Table(
    "proposed_change",
    metadata,
    Column("revision", Integer, ForeignKey("revision.number"), primary_key=True),
    Column("kind", String(40), primary_key=True),
    Column("id", String(40), primary_key=True),
    Column("body", Text, nullable=True),  # empty: the object goes
)

staged_change: Final = Table(
    "staged_change",
    metadata,
    Column("author", String(200), primary_key=True),
    Column("kind", String(40), primary_key=True),
    Column("id", String(40), primary_key=True),
    Column("base", Integer, nullable=False),
    Column("format", Integer, nullable=False),
    Column("body", Text, nullable=True),
    Column("since", String(40), nullable=True),  # when the object was first edited; empty: before this was noted
    Index(None, "kind", "id"),
)
