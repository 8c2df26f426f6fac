"""Switches of operator, their steps, and what is claimed from one that failed."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.operator_bridge.register.models import NOW, Base, partial_index
from shared.values.ids import new_id


class Switch(Base):
    """A switch from one contract to another, and how far it has come; done when `finished_at` is set."""

    __tablename__ = "switch"
    __table_args__ = (
        sa.CheckConstraint("mode IN ('handover', 'failure')", name="mode"),
        partial_index("switch_running_idx", "from_contract_id", where="finished_at IS NULL", unique=True),
    )

    switch_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    from_contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    to_contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    payer_contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    """Under which redemptions that are not paid are declared again; mostly the new contract."""
    mode: Mapped[str]
    step: Mapped[str]
    """The current step, or the last."""
    waiting_for: Mapped[str | None]
    """What it waits for, in words; None while it is at work."""
    creditor: Mapped[str]
    """The creditor of the claims."""
    asked_by: Mapped[str]
    accepted: Mapped[str | None]
    """The note of a person who had it go on although something differs."""
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]
    report: Mapped[dict[str, Any] | None]


class SwitchStep(Base):
    """One of the steps of a switch, with its figures once there are any."""

    __tablename__ = "switch_step"

    switch_id: Mapped[UUID] = mapped_column(sa.ForeignKey("switch.switch_id"), primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]
    figures: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))


class Claim(Base):
    """What a failed operator owes for one of its cheques: written once, never changed."""

    __tablename__ = "claim"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('unspent', 'declared', 'undeclared')", name="kind"),
        partial_index("claim_reference_idx", "reference", where="reference IS NOT NULL"),
    )

    switch_id: Mapped[UUID] = mapped_column(sa.ForeignKey("switch.switch_id"), primary_key=True)
    cheque_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque.cheque_id"), primary_key=True)
    kind: Mapped[str]
    """Prepaid and not spent; or redeemed and not paid: declared to the operator, or not any more."""
    amount_cents: Mapped[int]
    structure_id: Mapped[UUID | None]
    redemption_id: Mapped[UUID | None]
    reference: Mapped[str | None]
    """What the operator knows the redemption by."""
    given_on: Mapped[date | None]
    redeemed_at: Mapped[datetime | None]
