"""The issuer's books: why a cheque is whose money, what was done to envelopes, and what became known on which day.

Nothing of the journal, the movements and the amendments is ever changed or deleted: the database refuses it.
"""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.tables import Base
from shared.ids import new_id

# What is booked. An unused cheque was used and is not: its redemption was taken back. An unpaid one was never paid.
ENGAGED, USED, UNUSED = "engaged", "used", "unused"
CANCELLED, EXPIRED, PAID, UNPAID = "cancelled", "expired", "paid", "unpaid"

OPENED, RAISED, LOWERED, CLOSED = "opened", "raised", "lowered", "closed"


class ConventionAmendment(Base):
    """The amount and the end of a convention as they were agreed at first and by each amendment (avenant)."""

    __tablename__ = "convention_amendment"
    __table_args__ = (sa.Index("convention_amendment_convention_id_idx", "convention_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    convention_id: Mapped[UUID] = mapped_column(sa.ForeignKey("convention.id"))
    amount_cents: Mapped[int | None] = mapped_column(sa.BigInteger)
    ends_on: Mapped[date | None]
    reason: Mapped[str]
    made_by: Mapped[str]
    made_on: Mapped[date]
    made_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class EnvelopeMovement(Base):
    """A change of an envelope's amount: by whom, when and why."""

    __tablename__ = "envelope_movement"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('opened', 'raised', 'lowered', 'closed')", name="kind"),
        sa.Index("envelope_movement_envelope_id_idx", "envelope_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    envelope_id: Mapped[UUID] = mapped_column(sa.ForeignKey("envelope.id"))
    kind: Mapped[str]
    before_cents: Mapped[int] = mapped_column(sa.BigInteger)
    after_cents: Mapped[int] = mapped_column(sa.BigInteger)
    reason: Mapped[str]
    made_by: Mapped[str]
    made_on: Mapped[date]
    made_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class Charge(Base):
    """How many cheques of a grant an envelope took, and why that one."""

    __tablename__ = "charge"

    grant_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque_grant.id"), primary_key=True)
    envelope_id: Mapped[UUID] = mapped_column(sa.ForeignKey("envelope.id"), primary_key=True)
    number: Mapped[int]
    cents: Mapped[int] = mapped_column(sa.BigInteger)
    why: Mapped[str]
    reserved: Mapped[bool]
    """It is for a public that the convention reserves money for."""
    prescriber_kind: Mapped[str | None]
    """The prescriber's first typology (CCAS, ASSO…) on the day of the grant."""


class JournalEntry(Base):
    """Cheques of which the same became known at once, summed: the rows of every report."""

    __tablename__ = "journal_entry"
    __table_args__ = (
        sa.CheckConstraint(
            "kind IN ('engaged', 'used', 'unused', 'cancelled', 'expired', 'paid', 'unpaid')", name="kind"
        ),
        sa.CheckConstraint("number > 0 AND cents > 0", name="sum"),
        sa.Index("journal_entry_envelope_id_idx", "envelope_id", "booked_on"),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    booked_on: Mapped[date]
    """The day on which it became known here: a report as of a day reads what was booked until then."""
    occurred_on: Mapped[date]
    """The day of the grant, of the redemption, of the payment…"""
    kind: Mapped[str]
    envelope_id: Mapped[UUID] = mapped_column(sa.ForeignKey("envelope.id"))
    target_public: Mapped[str | None]
    prescriber_kind: Mapped[str | None]
    number: Mapped[int]
    cents: Mapped[int] = mapped_column(sa.BigInteger)
