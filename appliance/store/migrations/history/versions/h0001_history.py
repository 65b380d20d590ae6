"""Calls, legs, and the reader's place in the spool."""

import sqlalchemy as sa
from alembic import op

revision = "h0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarm",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("severity", sa.String(10), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("raised", sa.BigInteger, nullable=False),
        sa.Column("cleared", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alarm"),
    )
    op.create_index("ix_alarm_code", "alarm", ["code", "cleared"])
    op.create_table(
        "call",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("linked_id", sa.String(80), nullable=False),
        sa.Column("run", sa.String(80), nullable=False),
        sa.Column("direction", sa.String(12), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("from_device", sa.String(80), nullable=False),
        sa.Column("from_extension", sa.String(64), nullable=False),
        sa.Column("from_trunk", sa.String(80), nullable=False),
        sa.Column("from_number", sa.String(64), nullable=False),
        sa.Column("from_name", sa.String(200), nullable=False),
        sa.Column("dialled", sa.String(64), nullable=False),
        sa.Column("reached_device", sa.String(80), nullable=False),
        sa.Column("reached_extension", sa.String(64), nullable=False),
        sa.Column("reached_trunk", sa.String(80), nullable=False),
        sa.Column("reached_number", sa.String(64), nullable=False),
        sa.Column("trunk", sa.String(80), nullable=False),
        sa.Column("failovers", sa.Integer, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("rang", sa.BigInteger, nullable=True),
        sa.Column("answered", sa.BigInteger, nullable=True),
        sa.Column("ended", sa.BigInteger, nullable=False),
        sa.Column("ring_ms", sa.BigInteger, nullable=False),
        sa.Column("talk_ms", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.Integer, nullable=False),
        sa.Column("incomplete", sa.Boolean, nullable=False),
        sa.Column("transfers", sa.Text, nullable=False),
        sa.Column("forwards", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_call"),
    )
    op.create_index("ix_call_direction", "call", ["direction", "started", "id"])
    op.create_index("ix_call_outcome", "call", ["outcome", "started", "id"])
    op.create_index("ix_call_started", "call", ["started", "id"])
    op.create_table(
        "history_gap",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_history_gap"),
    )
    op.create_index("ix_history_gap_since", "history_gap", ["since"])
    op.create_table(
        "open_call",
        sa.Column("linked_id", sa.String(80), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("linked_id", name="pk_open_call"),
    )
    op.create_table(
        "reader",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("run", sa.String(80), nullable=False),
        sa.Column("last_call", sa.BigInteger, nullable=False),
        sa.Column("last_event", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reader"),
    )
    op.create_table(
        "spool_fault",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("file", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("found", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_spool_fault"),
    )
    op.create_table(
        "spool_file",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("device", sa.BigInteger, nullable=False),
        sa.Column("inode", sa.BigInteger, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_spool_file"),
    )
    op.create_table(
        "call_party",
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("call", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("number", "started", "call", name="pk_call_party"),
        sa.ForeignKeyConstraint(["call"], ["call.id"], name="fk_call_party_call"),
    )
    op.create_index("ix_call_party_call", "call_party", ["call"])
    op.create_table(
        "leg",
        sa.Column("call", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("caller", sa.Boolean, nullable=False),
        sa.Column("device", sa.String(80), nullable=False),
        sa.Column("trunk", sa.String(80), nullable=False),
        sa.Column("extension", sa.String(64), nullable=False),
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("answered", sa.BigInteger, nullable=True),
        sa.Column("ended", sa.BigInteger, nullable=True),
        sa.Column("result", sa.String(12), nullable=False),
        sa.Column("cause", sa.Integer, nullable=False),
        sa.Column("sip", sa.Integer, nullable=False),
        sa.Column("codec", sa.String(20), nullable=False),
        sa.Column("redirected_by", sa.String(64), nullable=False),
        sa.Column("received", sa.BigInteger, nullable=True),
        sa.Column("sent", sa.BigInteger, nullable=True),
        sa.Column("lost_received", sa.BigInteger, nullable=True),
        sa.Column("lost_sent", sa.BigInteger, nullable=True),
        sa.Column("jitter_received_ms", sa.Float, nullable=True),
        sa.Column("jitter_sent_ms", sa.Float, nullable=True),
        sa.Column("round_trip_ms", sa.Float, nullable=True),
        sa.PrimaryKeyConstraint("call", "position", name="pk_leg"),
        sa.ForeignKeyConstraint(["call"], ["call.id"], name="fk_leg_call"),
    )
