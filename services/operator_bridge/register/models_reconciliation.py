"""Comparisons with operators' statements: the runs, what differs, and each day's balance."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Mapped, mapped_column

from services.operator_bridge.register import transitions
from services.operator_bridge.register.models import NOW, UUID7, Base, one_of, partial_index


class Discrepancy(Base):
    """A difference between an operator's records and ours, with both sides' rows, and what became of it."""

    __tablename__ = "discrepancy"
    __table_args__ = (
        sa.UniqueConstraint("operator", "kind", "reference"),
        one_of("state", transitions.DISCREPANCY),
        sa.CheckConstraint("resolved_by IN ('policy', 'person', 'agreement')", name="resolved_by"),
        partial_index("discrepancy_open_idx", "contract_id", "state", where="state <> 'resolved'"),
    )

    discrepancy_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    operator: Mapped[str]
    kind: Mapped[str]
    reference: Mapped[str]
    contract_id: Mapped[UUID | None]
    cheque_id: Mapped[UUID | None]
    ours: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    theirs: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    found_at: Mapped[datetime] = mapped_column(server_default=NOW)
    resolved_at: Mapped[datetime | None]
    note: Mapped[str | None]
    """What the person who resolved it wrote."""
    state: Mapped[str] = mapped_column(server_default="waiting")
    reconciliation_id: Mapped[UUID | None]
    """The last comparison that found it; none where a message showed it."""
    policy: Mapped[str | None]
    """What was done about it without a person: once, then it waits for one."""
    resolved_by: Mapped[str | None]
    resolver: Mapped[str | None]
    """The person."""
    accepted: Mapped[bool] = mapped_column(server_default=sa.false())
    """It stays as it is: found again with the same rows it is not opened again."""
    history: Mapped[list[Any]] = mapped_column(pg.JSONB, server_default=sa.text("'[]'"))
    """Earlier ends of it, if it came again."""


class Reconciliation(Base):
    """One comparison of a contract's whole statement with our register, and what came of it."""

    __tablename__ = "reconciliation"
    __table_args__ = (
        sa.CheckConstraint("state IN ('requested', 'running', 'done', 'failed')", name="state"),
        sa.UniqueConstraint("contract_id", "night"),
        partial_index("reconciliation_unfinished_idx", "next_attempt_at", where="state IN ('requested', 'running')"),
    )  # fmt: skip

    reconciliation_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    night: Mapped[date | None]
    """The day in Paris whose nightly run it is; none where a person requested it."""
    state: Mapped[str] = mapped_column(server_default="requested")
    requested_at: Mapped[datetime] = mapped_column(server_default=NOW)
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(sa.SmallInteger, server_default="0")
    error: Mapped[str | None]
    compared: Mapped[bool | None]
    """Whether the operator has statements at all."""
    lines: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    moving: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    ours: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    """By status number, cents and redeemed cents, as we have it; `theirs` as the statement has it."""
    theirs: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    differences: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    """How many by kind."""
    settled: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    """How many a policy acted on."""
    resolved: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    """How many of before are in agreement now."""
    waiting: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    """How many of the contract's waited for a person at its end."""
    withheld: Mapped[bool] = mapped_column(server_default=sa.false())
    """Whether so much differed that no policy acted."""


class DailyBalance(Base):
    """What register, redeemer and operators had on one day, per programme: number and cents of EUR."""

    __tablename__ = "daily_balance"

    day: Mapped[date] = mapped_column(primary_key=True)
    programme: Mapped[str] = mapped_column(primary_key=True)
    kept_at: Mapped[datetime] = mapped_column(server_default=NOW)
    register: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    redeemer: Mapped[dict[str, Any] | None] = mapped_column(pg.JSONB(none_as_null=True))
    """None where the redeemer did not answer."""
    operators: Mapped[list[Any]] = mapped_column(pg.JSONB, server_default=sa.text("'[]'"))
    """The last comparison of each contract."""
    agrees: Mapped[bool | None]
