"""Since when an object is among somebody's edits in preparation, and an index to ask who else has it among theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("staged_change", sa.Column("since", sa.String(40), nullable=True))
    op.create_index("ix_staged_change_kind", "staged_change", ["kind", "id"])
