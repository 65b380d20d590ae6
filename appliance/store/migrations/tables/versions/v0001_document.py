"""Revisions, versions of objects, proposed and staged changes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revision",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("parent", sa.Integer, nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("time", sa.String(40), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("format", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_revision"),
    )
    op.create_index("ix_revision_state", "revision", ["state", "number"])
    op.create_table(
        "object_version",
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("revision_from", sa.Integer, nullable=False),
        sa.Column("revision_to", sa.Integer, nullable=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", "revision_from", name="pk_object_version"),
        sa.ForeignKeyConstraint(["revision_from"], ["revision.number"], name="fk_object_version_revision_from"),
        sa.ForeignKeyConstraint(["revision_to"], ["revision.number"], name="fk_object_version_revision_to"),
    )
    op.create_index("ix_object_version_revision_from", "object_version", ["revision_from"])
    live, ended = sa.text("revision_to IS NULL"), sa.text("revision_to IS NOT NULL")
    op.create_index(
        "ix_object_version_live",
        "object_version",
        ["kind", "id"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.create_index(
        "ix_object_version_ended", "object_version", ["revision_to"], sqlite_where=ended, postgresql_where=ended
    )
    op.create_table(
        "proposed_change",
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("revision", "kind", "id", name="pk_proposed_change"),
        sa.ForeignKeyConstraint(["revision"], ["revision.number"], name="fk_proposed_change_revision"),
    )
    op.create_table(
        "staged_change",
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("base", sa.Integer, nullable=False),
        sa.Column("format", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("author", "kind", "id", name="pk_staged_change"),
    )
