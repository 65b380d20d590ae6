"""Bans, strikes, running time."""

import sqlalchemy as sa
from alembic import op

revision = "b0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ban",
        sa.Column("network", sa.String(64), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("wall", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("strike", sa.Integer, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("quarantine", sa.Boolean, nullable=False),
        sa.Column("brief", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("network", name="pk_ban"),
    )
    op.create_index("ix_ban_until", "ban", ["until"])
    op.create_table(
        "strikes",
        sa.Column("network", sa.String(64), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("network", name="pk_strikes"),
    )
    op.create_index("ix_strikes_until", "strikes", ["until"])
    op.create_table(
        "running",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("boot", sa.String(40), nullable=False),
        sa.Column("uptime", sa.BigInteger, nullable=False),
        sa.Column("running", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_running"),
    )
