"""Runs of reconciliation, what became of each discrepancy, and the daily balance of register, redeemer and operator."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0003_reconciliation"
down_revision = "0002_hold"

_NOW = sa.text("clock_timestamp()")
_EMPTY = sa.text("'{}'")


def _instant(name: str, *, required: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=not required, server_default=_NOW if required else None)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _json(name: str, default: sa.TextClause | None = _EMPTY) -> sa.Column[dict[str, object]]:
    return sa.Column(name, pg.JSONB, nullable=default is None, server_default=default)


def upgrade() -> None:
    _create_runs()
    _extend_discrepancies()
    op.create_table(
        "daily_balance",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("programme", sa.Text, primary_key=True),
        _instant("kept_at", required=True),
        _json("register"),
        _json("redeemer", default=None),
        _json("operators", default=sa.text("'[]'")),
        sa.Column("agrees", sa.Boolean),
    )


def _create_runs() -> None:
    op.create_table(
        "reconciliation",
        sa.Column("reconciliation_id", sa.Uuid, primary_key=True, server_default=sa.text("uuid7()")),
        sa.Column("contract_id", sa.Uuid, sa.ForeignKey("contract.contract_id"), nullable=False),
        sa.Column("night", sa.Date),
        sa.Column("state", sa.Text, nullable=False, server_default="requested"),
        _instant("requested_at", required=True),
        _instant("next_attempt_at", required=True),
        _instant("started_at"),
        _instant("finished_at"),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("compared", sa.Boolean),
        _count("lines"),
        _count("moving"),
        _json("ours"),
        _json("theirs"),
        _json("differences"),
        _count("settled"),
        _count("resolved"),
        _count("waiting"),
        sa.Column("withheld", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.CheckConstraint("state IN ('requested', 'running', 'done', 'failed')", name="reconciliation_state_check"),
        sa.UniqueConstraint("contract_id", "night", name="reconciliation_contract_id_night_key"),
    )
    op.create_index(
        "reconciliation_unfinished_idx", "reconciliation", ["next_attempt_at"],
        postgresql_where=sa.text("state IN ('requested', 'running')"),
    )  # fmt: skip


def _extend_discrepancies() -> None:
    table = "discrepancy"
    op.add_column(table, sa.Column("state", sa.Text, nullable=False, server_default="waiting"))
    op.add_column(table, sa.Column("reconciliation_id", sa.Uuid))
    op.add_column(table, sa.Column("policy", sa.Text))
    op.add_column(table, sa.Column("resolved_by", sa.Text))
    op.add_column(table, sa.Column("resolver", sa.Text))
    op.add_column(table, sa.Column("accepted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column(table, _json("history", default=sa.text("'[]'")))
    op.execute("UPDATE discrepancy SET state = 'resolved' WHERE resolved_at IS NOT NULL")
    op.create_check_constraint("discrepancy_state_check", table, "state IN ('waiting', 'settling', 'resolved')")
    by = "resolved_by IN ('policy', 'person', 'agreement')"
    op.create_check_constraint("discrepancy_resolved_by_check", table, by)
    op.create_index(
        "discrepancy_open_idx", table, ["contract_id", "state"], postgresql_where=sa.text("state <> 'resolved'")
    )


def downgrade() -> None:
    op.drop_table("daily_balance")
    op.drop_index("discrepancy_open_idx", "discrepancy")
    for name in ("discrepancy_resolved_by_check", "discrepancy_state_check"):
        op.drop_constraint(name, "discrepancy", type_="check")
    for name in ("history", "accepted", "resolver", "resolved_by", "policy", "reconciliation_id", "state"):
        op.drop_column("discrepancy", name)
    op.drop_table("reconciliation")
