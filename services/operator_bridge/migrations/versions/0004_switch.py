"""Switches of operator with their steps and claims, and the affiliations that a new operator has to be told of."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0004_switch"
down_revision = "0003_reconciliation"

_NOW = sa.text("clock_timestamp()")

# The bridge was told of affiliations before it kept them: as orders to operators.
_TAKE_OVER = """
    INSERT INTO affiliation (contract_id, structure_id, siret, name, starts_on, ends_on)
    SELECT DISTINCT ON (contract_id, structure_id) contract_id, structure_id, details ->> 'siret',
           coalesce(details ->> 'name', ''), CAST(details ->> 'starts_on' AS date), CAST(details ->> 'ends_on' AS date)
    FROM operator_order WHERE kind = 'affiliate' AND details ? 'starts_on'
    ORDER BY contract_id, structure_id, sequence DESC
"""


def _instant(name: str, *, required: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=not required, server_default=_NOW if required else None)


def _contract(name: str, *, required: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.Uuid, sa.ForeignKey("contract.contract_id"), nullable=not required)


def upgrade() -> None:
    op.add_column("contract", sa.Column("succeeds", sa.Uuid))
    _create_affiliations()
    _create_switches()
    _create_claims()


def _create_affiliations() -> None:
    op.create_table(
        "affiliation",
        sa.Column("contract_id", sa.Uuid, primary_key=True),
        sa.Column("structure_id", sa.Uuid, primary_key=True),
        sa.Column("siret", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("starts_on", sa.Date, nullable=False),
        sa.Column("ends_on", sa.Date),
    )
    op.execute(_TAKE_OVER)


def _create_switches() -> None:
    op.create_table(
        "switch",
        sa.Column("switch_id", sa.Uuid, primary_key=True),
        _contract("from_contract_id"),
        _contract("to_contract_id"),
        _contract("payer_contract_id"),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("waiting_for", sa.Text),
        sa.Column("creditor", sa.Text, nullable=False),
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("accepted", sa.Text),
        _instant("started_at", required=True),
        _instant("finished_at"),
        sa.Column("report", pg.JSONB),
        sa.CheckConstraint("mode IN ('handover', 'failure')", name="switch_mode_check"),
    )
    running = sa.text("finished_at IS NULL")
    op.create_index("switch_running_idx", "switch", ["from_contract_id"], unique=True, postgresql_where=running)
    op.create_table(
        "switch_step",
        sa.Column("switch_id", sa.Uuid, sa.ForeignKey("switch.switch_id"), primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        _instant("started_at", required=True),
        _instant("finished_at"),
        sa.Column("figures", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
    )
    # What a switch had ordered and is not settled yet: asked for every few seconds while it waits.
    op.create_index(
        "operator_order_switch_idx", "operator_order", [sa.text("(details ->> 'switch')")],
        postgresql_where=sa.text("details ? 'switch'"),
    )  # fmt: skip


def _create_claims() -> None:
    op.create_table(
        "claim",
        sa.Column("switch_id", sa.Uuid, sa.ForeignKey("switch.switch_id"), primary_key=True),
        sa.Column("cheque_id", sa.Uuid, sa.ForeignKey("cheque.cheque_id"), primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        sa.Column("structure_id", sa.Uuid),
        sa.Column("redemption_id", sa.Uuid),
        sa.Column("reference", sa.Text),
        sa.Column("given_on", sa.Date),
        _instant("redeemed_at"),
        sa.CheckConstraint("kind IN ('unspent', 'declared', 'undeclared')", name="claim_kind_check"),
    )
    declared = sa.text("reference IS NOT NULL")
    op.create_index("claim_reference_idx", "claim", ["reference"], postgresql_where=declared)


def downgrade() -> None:
    op.drop_index("operator_order_switch_idx", "operator_order")
    for table in ("claim", "switch_step", "switch", "affiliation"):
        op.drop_table(table)
    op.drop_column("contract", "succeeds")
