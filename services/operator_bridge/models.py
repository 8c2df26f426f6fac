"""What the bridge keeps: contracts, the links of cheques with them, orders, redemptions as it has to declare them, and
what the operators said. No code of a cheque is ever kept here.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.operator_bridge import transitions
from shared import db
from shared.ids import new_id

_NOW = sa.text("clock_timestamp()")
# UUIDv7 made by the database (see the first migration), for rows that are made by set.
_UUID7 = sa.text("uuid7()")


MAX_LOST = 5
"""An order that got no answer this often is not sent again: it may be what kills the workers, or the operator."""


def _one_of(column: str, states: transitions.Transitions) -> sa.CheckConstraint:
    listed = ", ".join(f"'{state}'" for state in states)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


class Base(DeclarativeBase):
    metadata = db.metadata()
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own way)
        str: sa.Text,
        datetime: sa.DateTime(timezone=True),
        dict[str, Any]: pg.JSONB,
    }


class Contract(Base):
    """An agreement with an operator for one programme; `operator` is the name of an adapter's module."""

    __tablename__ = "contract"
    __table_args__ = (_one_of("state", transitions.CONTRACT),)

    contract_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    operator: Mapped[str]
    programme: Mapped[str]
    state: Mapped[str] = mapped_column(default="draft")
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    live_at: Mapped[datetime | None]
    """Since when; of several live contracts of a programme the latest takes the new cheques."""
    next_push_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    """Before this instant nobody calls the operator: its rate, its Retry-After and our backoff in one."""
    failures: Mapped[int] = mapped_column(sa.SmallInteger, default=0)
    """Calls in a row at which the operator was not there, or did not answer."""
    last_failure: Mapped[str | None]
    """What went wrong at the last of them; None from the next answer on."""
    circuit_opened_at: Mapped[datetime | None]
    """Since when it has failed so often that only one order at a time is sent, to see whether it is back."""
    held_at: Mapped[datetime | None]
    """Since when nothing is sent to it, as somebody said so."""
    held_reason: Mapped[str | None]
    """What they said."""
    polled_at: Mapped[datetime | None]
    """The instant up to which its statement was read and applied."""
    succeeds: Mapped[UUID | None]
    """The contract that it took over from, by a switch; the structures affiliated to that one are to this one too."""

    @property
    def circuit(self) -> str:
        """`closed` while all is well, `open` while the operator fails again and again."""
        return "closed" if self.circuit_opened_at is None else "open"


class Cheque(Base):
    """A cheque as the operators have to know it: from the issuer's log, its state from the redeemer's."""

    __tablename__ = "cheque"
    __table_args__ = (
        sa.CheckConstraint("state IN ('open', 'redeemed', 'cancelled', 'expired')", name="state"),
        sa.Index("cheque_programme_idx", "programme"),
    )

    cheque_id: Mapped[UUID] = mapped_column(primary_key=True)
    programme: Mapped[str]
    value_cents: Mapped[int]
    valid_until: Mapped[date]
    presentable_until: Mapped[date]
    state: Mapped[str] = mapped_column(server_default="open")
    blocked: Mapped[bool] = mapped_column(server_default=sa.false())


class Link(Base):
    """What one operator knows of one cheque, under one contract."""

    __tablename__ = "link"
    __table_args__ = (_one_of("state", transitions.LINK), sa.Index("link_contract_id_idx", "contract_id", "state"))

    cheque_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque.cheque_id"), primary_key=True)
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"), primary_key=True)
    state: Mapped[str] = mapped_column(server_default="wanted")
    number: Mapped[str | None]
    """The operator's own number for the cheque, where it gives one."""
    reason: Mapped[str | None]
    """Why the operator refused it."""
    changed_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Redemption(Base):
    """A redemption as somebody has to pay it; the redeemer is the judge of whether there is one."""

    __tablename__ = "redemption"
    __table_args__ = (
        _one_of("state", transitions.REDEMPTION),
        sa.CheckConstraint("via IN ('till', 'operator')", name="via"),
        sa.Index("redemption_cheque_id_idx", "cheque_id"),
        sa.Index("redemption_reference_idx", "reference"),
    )

    redemption_id: Mapped[UUID] = mapped_column(primary_key=True)
    presentation_id: Mapped[UUID]
    """What was presented together; at an operator's till, its report."""
    cheque_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque.cheque_id"))
    structure_id: Mapped[UUID]
    amount_cents: Mapped[int]
    via: Mapped[str]
    given_on: Mapped[date]
    redeemed_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(server_default="due")
    contract_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("contract.contract_id"))
    """Whoever has to pay it; none while the programme has no operator."""
    reference: Mapped[str | None]
    """What the operator knows it by: our order that declared it, or its own reference where its till took it."""


class Order(Base):
    """One thing to tell an operator. Its id is the reference that the operator sees, however often it is sent."""

    __tablename__ = "operator_order"
    __table_args__ = (
        _one_of("state", transitions.ORDER),
        sa.Index(
            "operator_order_pending_idx", "contract_id", "sequence", postgresql_where=sa.text("state = 'pending'")
        ),
        sa.Index("operator_order_lease_idx", "sent_by", postgresql_where=sa.text("state = 'sent'")),
    )

    order_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    sequence: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), unique=True)
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    kind: Mapped[str]
    cheque_id: Mapped[UUID | None]
    redemption_id: Mapped[UUID | None]
    structure_id: Mapped[UUID | None]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    state: Mapped[str] = mapped_column(server_default="pending")
    reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(sa.SmallInteger, server_default="0")
    """How often it was taken up to be sent."""
    lost: Mapped[int] = mapped_column(sa.SmallInteger, server_default="0")
    """How often no answer came; at a limit it is left `unknown` until a statement or a person settles it."""
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    sent_at: Mapped[datetime | None]
    sent_by: Mapped[int | None] = mapped_column(sa.BigInteger)
    """The lease of the worker that sent it."""
    settled_at: Mapped[datetime | None]

    @hybrid_property
    def stuck(self) -> bool:
        """Not sent again, as no answer came too often: a statement or a person has to settle it."""
        return (self.state == "unknown") & (self.lost >= MAX_LOST)

    @property
    def retries(self) -> list[dict[str, Any]]:
        """Who had it sent again, when and why."""
        return list(self.details.get("retries", ()))


class Message(Base):
    """A message of an operator as it came, its signature verified; kept before it is interpreted."""

    __tablename__ = "message"
    __table_args__ = (
        sa.UniqueConstraint("operator", "webhook_id"),
        sa.Index(
            "message_unapplied_idx", "message_id", postgresql_where=sa.text("applied_at IS NULL AND error IS NULL")
        ),
    )

    message_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    operator: Mapped[str]
    webhook_id: Mapped[str]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    received_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    applied_at: Mapped[datetime | None]
    error: Mapped[str | None]
    """Why it could not be read; it stays unapplied and visible."""


class Report(Base):
    """An operator's word that a cheque was spent at its own till; its id is made from the operator's reference."""

    __tablename__ = "report"
    __table_args__ = (sa.Index("report_cheque_id_idx", "cheque_id"),)

    report_id: Mapped[UUID] = mapped_column(primary_key=True)
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    reference: Mapped[str]
    cheque_id: Mapped[UUID]
    structure_id: Mapped[UUID]
    amount_cents: Mapped[int]
    redeemed_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    contested: Mapped[str | None]
    """Why the redeemer did not accept it."""


class Payment(Base):
    """An operator's word that it paid one redemption."""

    __tablename__ = "payment"
    __table_args__ = (
        sa.Index("payment_unmatched_idx", "operator", "reference", postgresql_where=sa.text("redemption_id IS NULL")),
    )

    operator: Mapped[str] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(primary_key=True)
    payment_reference: Mapped[str]
    paid_on: Mapped[date]
    redemption_id: Mapped[UUID | None]


class Discrepancy(Base):
    """A difference between an operator's word and ours, with both sides' rows, and what became of it."""

    __tablename__ = "discrepancy"
    __table_args__ = (
        sa.UniqueConstraint("operator", "kind", "reference"),
        _one_of("state", transitions.DISCREPANCY),
        sa.CheckConstraint("resolved_by IN ('policy', 'person', 'agreement')", name="resolved_by"),
        sa.Index("discrepancy_open_idx", "contract_id", "state", postgresql_where=sa.text("state <> 'resolved'")),
    )

    discrepancy_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    operator: Mapped[str]
    kind: Mapped[str]
    reference: Mapped[str]
    contract_id: Mapped[UUID | None]
    cheque_id: Mapped[UUID | None]
    ours: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    theirs: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    found_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    resolved_at: Mapped[datetime | None]
    note: Mapped[str | None]
    """What the person who resolved it wrote."""
    state: Mapped[str] = mapped_column(server_default="waiting")
    reconciliation_id: Mapped[UUID | None]
    """The last comparison that found it; none where a message told of it."""
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
        sa.Index(
            "reconciliation_unfinished_idx", "next_attempt_at",
            postgresql_where=sa.text("state IN ('requested', 'running')"),
        ),
    )  # fmt: skip

    reconciliation_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_UUID7)
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    night: Mapped[date | None]
    """The day in Paris whose nightly run it is; none where it was asked for."""
    state: Mapped[str] = mapped_column(server_default="requested")
    requested_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(sa.SmallInteger, server_default="0")
    error: Mapped[str | None]
    compared: Mapped[bool | None]
    """Whether the operator holds a statement at all."""
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
    kept_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    register: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))
    redeemer: Mapped[dict[str, Any] | None] = mapped_column(pg.JSONB(none_as_null=True))
    """None where the redeemer did not answer."""
    operators: Mapped[list[Any]] = mapped_column(pg.JSONB, server_default=sa.text("'[]'"))
    """The last comparison of each contract."""
    agrees: Mapped[bool | None]


class Affiliation(Base):
    """A structure's affiliation to a contract, as the redeemer last told of it: for an operator that is new to it."""

    __tablename__ = "affiliation"

    contract_id: Mapped[UUID] = mapped_column(primary_key=True)
    structure_id: Mapped[UUID] = mapped_column(primary_key=True)
    siret: Mapped[str | None]
    name: Mapped[str]
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]


class Switch(Base):
    """A switch from one contract to another, and how far it has come; done when `finished_at` is set."""

    __tablename__ = "switch"
    __table_args__ = (
        sa.CheckConstraint("mode IN ('handover', 'failure')", name="mode"),
        sa.Index(
            "switch_running_idx", "from_contract_id", unique=True, postgresql_where=sa.text("finished_at IS NULL")
        ),
    )

    switch_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    from_contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    to_contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    payer_contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    """Under which redemptions that are not paid are declared again; mostly the new contract."""
    mode: Mapped[str]
    step: Mapped[str]
    """The step in hand, or the last."""
    waiting_for: Mapped[str | None]
    """What it waits for, in words; None while it is at work."""
    creditor: Mapped[str]
    """In whose name the claims are."""
    asked_by: Mapped[str]
    accepted: Mapped[str | None]
    """The note of a person who had it go on although something differs."""
    started_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    finished_at: Mapped[datetime | None]
    report: Mapped[dict[str, Any] | None]


class SwitchStep(Base):
    """One of the steps of a switch, with its figures once there are any."""

    __tablename__ = "switch_step"

    switch_id: Mapped[UUID] = mapped_column(sa.ForeignKey("switch.switch_id"), primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    finished_at: Mapped[datetime | None]
    figures: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'"))


class Claim(Base):
    """What an operator that failed owes for one cheque that it held: written once, never changed."""

    __tablename__ = "claim"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('unspent', 'declared', 'undeclared')", name="kind"),
        sa.Index("claim_reference_idx", "reference", postgresql_where=sa.text("reference IS NOT NULL")),
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
