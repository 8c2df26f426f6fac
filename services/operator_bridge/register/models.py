"""What the bridge keeps: contracts, the links of cheques with them, orders, redemptions to declare, and messages.

No code of a cheque is ever kept here.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.operator_bridge.register import transitions
from shared.database import engine
from shared.values.ids import new_id

NOW = sa.text("clock_timestamp()")
# UUIDv7 made by the database (see the first migration), for rows that are made by set.
UUID7 = sa.text("uuid7()")

MAX_UNANSWERED = 5
"""An order that got no answer this often is not sent again: it may be what kills the workers, or the operator."""


def one_of(column: str, states: Iterable[str]) -> sa.CheckConstraint:
    """The constraint that a column has a state of a table of transitions."""
    listed = ", ".join(f"'{state}'" for state in states)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """An index of the rows for which `where` is true."""
    return sa.Index(name, *columns, unique=unique, postgresql_where=sa.text(where))


class Base(DeclarativeBase):
    metadata = engine.metadata()
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own way)
        str: sa.Text,
        datetime: sa.DateTime(timezone=True),
        dict[str, Any]: pg.JSONB,
    }


class Contract(Base):
    """An agreement with an operator for one programme; `operator` is the name of an adapter's module."""

    __tablename__ = "contract"
    __table_args__ = (one_of("state", transitions.CONTRACT),)

    contract_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    operator: Mapped[str]
    programme: Mapped[str]
    state: Mapped[str] = mapped_column(default="draft")
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    live_at: Mapped[datetime | None]
    """Since when; of several live contracts of a programme the latest takes the new cheques."""
    next_push_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """Before this instant nobody calls the operator: its rate, its Retry-After and our backoff in one."""
    failures: Mapped[int] = mapped_column(sa.SmallInteger, default=0)
    """Calls in a row at which the operator was not there, or did not answer."""
    last_failure: Mapped[str | None]
    """What went wrong at the last of them; None from the next answer on."""
    circuit_opened_at: Mapped[datetime | None]
    """Since when it has failed so often that only one order at a time is sent, to see whether it is back."""
    held_at: Mapped[datetime | None]
    """Since when nothing is sent to it, by a person's decision."""
    held_reason: Mapped[str | None]
    """Their reason."""
    polled_at: Mapped[datetime | None]
    """The instant up to which its statement was read and applied."""
    linking_after: Mapped[UUID | None]
    """The cheque after which the linking of its programme goes on; None once it is finished, or not begun."""
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
    __table_args__ = (one_of("state", transitions.LINK), sa.Index("link_contract_id_idx", "contract_id", "state"))

    cheque_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque.cheque_id"), primary_key=True)
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"), primary_key=True)
    state: Mapped[str] = mapped_column(server_default="wanted")
    number: Mapped[str | None]
    """The operator's own number for the cheque, where it gives one."""
    reason: Mapped[str | None]
    """Why the operator refused it."""
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Redemption(Base):
    """A redemption as somebody has to pay it; the redeemer decides whether it exists."""

    __tablename__ = "redemption"
    __table_args__ = (
        one_of("state", transitions.REDEMPTION),
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
    """One instruction to an operator. Its id is the reference that the operator sees, however often it is sent."""

    __tablename__ = "operator_order"
    __table_args__ = (
        one_of("state", transitions.ORDER),
        partial_index("operator_order_pending_idx", "contract_id", "sequence", where="state = 'pending'"),
        partial_index("operator_order_lease_idx", "sent_by", where="state = 'sent'"),
    )

    order_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=UUID7)
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
    unanswered: Mapped[int] = mapped_column("lost", sa.SmallInteger, server_default="0")
    """How often no answer came; at a limit it is left `unknown` until a statement or a person settles it."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=NOW)
    sent_at: Mapped[datetime | None]
    sent_by: Mapped[int | None] = mapped_column(sa.BigInteger)
    """The lease of the worker that sent it."""
    settled_at: Mapped[datetime | None]

    @hybrid_property
    def stuck(self) -> bool:
        """Not sent again, as no answer came too often: a statement or a person has to settle it."""
        return (self.state == "unknown") & (self.unanswered >= MAX_UNANSWERED)

    @property
    def retries(self) -> list[dict[str, Any]]:
        """Who had it sent again, when and why."""
        return list(self.details.get("retries", ()))

    @property
    def vouched(self) -> list[dict[str, Any]]:
        """Who recorded its outcome, where the operator did not report it."""
        return list(self.details.get("vouched", ()))


class Message(Base):
    """A message of an operator as it came, its signature verified; kept before it is interpreted."""

    __tablename__ = "message"
    __table_args__ = (
        sa.UniqueConstraint("operator", "webhook_id"),
        partial_index("message_unapplied_idx", "message_id", where="applied_at IS NULL AND error IS NULL"),
    )

    message_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    operator: Mapped[str]
    webhook_id: Mapped[str]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    received_at: Mapped[datetime] = mapped_column(server_default=NOW)
    applied_at: Mapped[datetime | None]
    error: Mapped[str | None]
    """Why it could not be read or applied; it stays unapplied and visible."""


class Report(Base):
    """An operator's report that a cheque was spent at its own till; its id is made from the operator's reference."""

    __tablename__ = "report"
    __table_args__ = (sa.Index("report_cheque_id_idx", "cheque_id"),)

    report_id: Mapped[UUID] = mapped_column(primary_key=True)
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.contract_id"))
    reference: Mapped[str]
    cheque_id: Mapped[UUID]
    structure_id: Mapped[UUID]
    amount_cents: Mapped[int]
    redeemed_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=NOW)
    contested: Mapped[str | None]
    """Why the redeemer did not accept it."""


class Payment(Base):
    """An operator's report that it paid one redemption."""

    __tablename__ = "payment"
    __table_args__ = (partial_index("payment_unmatched_idx", "operator", "reference", where="redemption_id IS NULL"),)

    operator: Mapped[str] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(primary_key=True)
    payment_reference: Mapped[str]
    paid_on: Mapped[date]
    redemption_id: Mapped[UUID | None]


class Affiliation(Base):
    """A structure's affiliation to a contract, as the redeemer last published it: for an operator that is new to it."""

    __tablename__ = "affiliation"

    contract_id: Mapped[UUID] = mapped_column(primary_key=True)
    structure_id: Mapped[UUID] = mapped_column(primary_key=True)
    siret: Mapped[str | None]
    name: Mapped[str]
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
