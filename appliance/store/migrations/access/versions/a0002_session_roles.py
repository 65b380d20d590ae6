"""Roles that a session has by groups of a directory or a provider of sign-on."""

import sqlalchemy as sa
from alembic import op

revision = "a0002"
down_revision = "a0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("session", sa.Column("roles", sa.Text, nullable=True))
