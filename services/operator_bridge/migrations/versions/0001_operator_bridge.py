"""Contracts, links, orders, redemptions to declare, and what the operators said."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

from shared.database.migrations.versions import event_tables

revision = "0001_operator_bridge"
down_revision = None

_NOW = sa.text("clock_timestamp()")
_UUID7 = sa.text("uuid7()")
_UNFINISHED = sa.text("state IN ('pending', 'held', 'sent', 'unknown')")

# RFC 9562 version 7 in SQL that every PostgreSQL from 13 on has: 48 bits of milliseconds over a random version 4, its
# version bits 0100 made 0111.
_MAKE_UUID7 = """
    CREATE FUNCTION uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
        SELECT encode(set_bit(set_bit(overlay(
            uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
        ), 52, 1), 53, 1), 'hex')::uuid
    $$
"""


def _state(name: str, states: str, column: str = "state") -> sa.CheckConstraint:
    listed = ", ".join(f"'{state}'" for state in states.split())
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"{name}_{column}_check")


def _instant(name: str, *, required: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=not required, server_default=_NOW if required else None)


def upgrade() -> None:
    event_tables.create_event_tables(op)
    op.execute(_MAKE_UUID7)
    _create_contracts()
    _create_cheques()
    _create_orders()
    _create_incoming()


def _create_contracts() -> None:
    op.create_table(
        "contract",
        sa.Column("contract_id", sa.Uuid, primary_key=True),
        sa.Column("code", sa.Text, nullable=False, unique=True),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("programme", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("starts_on", sa.Date, nullable=False),
        sa.Column("ends_on", sa.Date),
        _instant("created_at", required=True),
        _instant("live_at"),
        _instant("next_push_at", required=True),
        sa.Column("failures", sa.SmallInteger, nullable=False, server_default="0"),
        _instant("polled_at"),
        _state("contract", "draft live draining ended failed"),
    )


def _create_cheques() -> None:
    op.create_table(
        "cheque",
        sa.Column("cheque_id", sa.Uuid, primary_key=True),
        sa.Column("programme", sa.Text, nullable=False),
        sa.Column("value_cents", sa.Integer, nullable=False),
        sa.Column("valid_until", sa.Date, nullable=False),
        sa.Column("presentable_until", sa.Date, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="open"),
        sa.Column("blocked", sa.Boolean, nullable=False, server_default=sa.false()),
        _state("cheque", "open redeemed cancelled expired"),
    )
    op.create_index("cheque_programme_idx", "cheque", ["programme"])
    op.create_table(
        "link",
        sa.Column("cheque_id", sa.Uuid, sa.ForeignKey("cheque.cheque_id"), primary_key=True),
        sa.Column("contract_id", sa.Uuid, sa.ForeignKey("contract.contract_id"), primary_key=True),
        sa.Column("state", sa.Text, nullable=False, server_default="wanted"),
        sa.Column("number", sa.Text),
        sa.Column("reason", sa.Text),
        _instant("changed_at", required=True),
        _state("link", "wanted registered refused closed stranded"),
    )
    op.create_index("link_contract_id_idx", "link", ["contract_id", "state"])
    op.create_table(
        "redemption",
        sa.Column("redemption_id", sa.Uuid, primary_key=True),
        sa.Column("presentation_id", sa.Uuid, nullable=False),
        sa.Column("cheque_id", sa.Uuid, sa.ForeignKey("cheque.cheque_id"), nullable=False),
        sa.Column("structure_id", sa.Uuid, nullable=False),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("given_on", sa.Date, nullable=False),
        sa.Column("redeemed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="due"),
        sa.Column("contract_id", sa.Uuid, sa.ForeignKey("contract.contract_id")),
        sa.Column("reference", sa.Text),
        _state("redemption", "due confirmed stranded refused paid reversed"),
        _state("redemption", "till operator", "via"),
    )
    op.create_index("redemption_cheque_id_idx", "redemption", ["cheque_id"])
    op.create_index("redemption_reference_idx", "redemption", ["reference"])


def _create_orders() -> None:
    op.create_table(
        "operator_order",
        sa.Column("order_id", sa.Uuid, primary_key=True, server_default=_UUID7),
        sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
        sa.Column("contract_id", sa.Uuid, sa.ForeignKey("contract.contract_id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("cheque_id", sa.Uuid),
        sa.Column("redemption_id", sa.Uuid),
        sa.Column("structure_id", sa.Uuid),
        sa.Column("details", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("state", sa.Text, nullable=False, server_default="pending"),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("lost", sa.SmallInteger, nullable=False, server_default="0"),
        _instant("created_at", required=True),
        _instant("next_attempt_at", required=True),
        _instant("sent_at"),
        _instant("settled_at"),
        _state("operator_order", "pending held sent unknown accepted refused"),
    )
    index, pending = op.create_index, sa.text("state = 'pending'")
    index("operator_order_pending_idx", "operator_order", ["contract_id", "sequence"], postgresql_where=pending)
    # What an order waits for: an earlier one of its cheque, or of its structure's affiliation.
    index(
        "operator_order_cheque_idx", "operator_order", ["cheque_id", "contract_id", "sequence"],
        postgresql_where=_UNFINISHED,
    )  # fmt: skip
    index(
        "operator_order_structure_idx", "operator_order", ["structure_id", "contract_id", "sequence"],
        postgresql_where=sa.text("cheque_id IS NULL"),
    )  # fmt: skip
    index(
        "operator_order_sent_idx", "operator_order", ["sent_at"],
        postgresql_where=sa.text("state IN ('sent', 'unknown')"),
    )  # fmt: skip
    index(
        "operator_order_settled_idx", "operator_order", ["contract_id", "settled_at"],
        postgresql_where=sa.text("settled_at IS NOT NULL"),
    )  # fmt: skip


def _create_incoming() -> None:
    op.create_table(
        "message",
        sa.Column("message_id", sa.Uuid, primary_key=True),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("webhook_id", sa.Text, nullable=False),
        sa.Column("headers", pg.JSONB, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _instant("received_at", required=True),
        _instant("applied_at"),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("operator", "webhook_id", name="message_operator_webhook_id_key"),
    )
    unapplied = sa.text("applied_at IS NULL AND error IS NULL")
    op.create_index("message_unapplied_idx", "message", ["message_id"], postgresql_where=unapplied)
    op.create_table(
        "report",
        sa.Column("report_id", sa.Uuid, primary_key=True),
        sa.Column("contract_id", sa.Uuid, sa.ForeignKey("contract.contract_id"), nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("cheque_id", sa.Uuid, nullable=False),
        sa.Column("structure_id", sa.Uuid, nullable=False),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        sa.Column("redeemed_at", sa.DateTime(timezone=True), nullable=False),
        _instant("received_at", required=True),
        sa.Column("contested", sa.Text),
    )
    op.create_index("report_cheque_id_idx", "report", ["cheque_id"])
    op.create_table(
        "payment",
        sa.Column("operator", sa.Text, primary_key=True),
        sa.Column("reference", sa.Text, primary_key=True),
        sa.Column("payment_reference", sa.Text, nullable=False),
        sa.Column("paid_on", sa.Date, nullable=False),
        sa.Column("redemption_id", sa.Uuid),
    )
    unmatched = sa.text("redemption_id IS NULL")
    op.create_index("payment_unmatched_idx", "payment", ["operator", "reference"], postgresql_where=unmatched)
    op.create_table(
        "discrepancy",
        sa.Column("discrepancy_id", sa.Uuid, primary_key=True, server_default=_UUID7),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("contract_id", sa.Uuid),
        sa.Column("cheque_id", sa.Uuid),
        sa.Column("ours", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("theirs", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
        _instant("found_at", required=True),
        _instant("resolved_at"),
        sa.Column("note", sa.Text),
        sa.UniqueConstraint("operator", "kind", "reference", name="discrepancy_operator_kind_reference_key"),
    )


def downgrade() -> None:
    for table in (
        "discrepancy", "payment", "report", "message", "operator_order", "redemption", "link", "cheque", "contract",
    ):  # fmt: skip
        op.drop_table(table)
    op.execute("DROP FUNCTION uuid7()")
    event_tables.drop_event_tables(op)
