"""The tables of events, of reading them and of kept answers, as the first migration of each service makes them."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg


def create_event_tables(op: Any) -> None:
    """The tables that every service has: its log, what it read of the others', and the answers kept for repeats."""
    _create_log(op)
    _create_reading(op)
    op.create_table(
        "idempotent_answer",
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def _create_log(op: Any) -> None:
    op.create_table(
        "event",
        sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("position", sa.BigInteger),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("version", sa.SmallInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("body", pg.JSONB, nullable=False),
        sa.UniqueConstraint("position", name="event_position_key"),
        sa.UniqueConstraint("event_id", name="event_event_id_key"),
    )
    op.create_index("event_unnumbered_idx", "event", ["sequence"], postgresql_where=sa.text("position IS NULL"))
    op.create_table(
        "feed_epoch",
        sa.Column("single", sa.Boolean, sa.CheckConstraint("single"), primary_key=True, server_default=sa.true()),
        sa.Column("epoch", sa.Uuid, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
    )


def _create_reading(op: Any) -> None:
    op.create_table(
        "cursor",
        sa.Column("publisher", sa.Text, primary_key=True),
        sa.Column("epoch", sa.Uuid, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "applied_event",
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("publisher", sa.Text, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "applied_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")
        ),
    )
    op.create_index("applied_event_applied_at_idx", "applied_event", ["applied_at"], postgresql_using="brin")
    op.create_table(
        "parked_event",
        sa.Column("cheque_id", sa.Uuid, primary_key=True),
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", pg.JSONB, nullable=False),
    )


def drop_event_tables(op: Any) -> None:
    """Takes back `create_event_tables`."""
    for table in ("idempotent_answer", "parked_event", "applied_event", "cursor", "feed_epoch", "event"):
        op.drop_table(table)
