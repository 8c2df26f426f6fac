"""The issuer's books: which envelope pays a cheque and why, the movements of envelopes, and the journal by day.

Nothing of the journal, the movements and the amendments is ever changed or deleted: the database refuses it.
"""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.issuer.programmes.models import OfProgramme
from services.issuer.tables import Base
from shared.values import clock
from shared.values.ids import new_id

# What is booked. An unused cheque was used and is not: its redemption was taken back. An unpaid one was never paid.
ENGAGED, USED, UNUSED = "engaged", "used", "unused"
CANCELLED, EXPIRED, PAID, UNPAID = "cancelled", "expired", "paid", "unpaid"

WHOLE = 10_000
"""Ten-thousandths: parts of money are counted in them."""

OPENED, RAISED, LOWERED, CLOSED = "opened", "raised", "lowered", "closed"


class Change:
    """A change of what was agreed, which is never rewritten: by whom, when and why."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    reason: Mapped[str]
    made_by: Mapped[str]
    made_on: Mapped[date] = mapped_column(default=clock.today)
    made_at: Mapped[datetime] = mapped_column(default=clock.now, server_default=sa.func.now())
    sequence: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True))
    """The order in which the database took them: the last has the last word."""


class ConventionAmendment(Change, Base):
    """The amount and the end of a convention as they were agreed at first and by each amendment (avenant)."""

    __tablename__ = "convention_amendment"
    __table_args__ = (sa.Index("convention_amendment_convention_id_idx", "convention_id", "id"),)

    convention_id: Mapped[UUID] = mapped_column(sa.ForeignKey("convention.id"))
    amount_cents: Mapped[int | None] = mapped_column(sa.BigInteger)
    ends_on: Mapped[date | None]


class EnvelopeMovement(Change, Base):
    """A change of an envelope's amount: by whom, when and why."""

    __tablename__ = "envelope_movement"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('opened', 'raised', 'lowered', 'closed')", name="kind"),
        sa.Index("envelope_movement_envelope_id_idx", "envelope_id", "id"),
    )

    envelope_id: Mapped[UUID] = mapped_column(sa.ForeignKey("envelope.id"))
    kind: Mapped[str]
    before_cents: Mapped[int] = mapped_column(sa.BigInteger)
    after_cents: Mapped[int] = mapped_column(sa.BigInteger)


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
    """Sums of cheques with the same change on the same day: the rows of every report."""

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


class Convention(Base):
    """What a funder agreed to pay for, and on what terms."""

    __tablename__ = "convention"
    __table_args__ = (
        sa.UniqueConstraint("funder", "reference"),
        sa.CheckConstraint("amount_cents > 0", name="amount"),
        sa.CheckConstraint("starts_on <= ends_on", name="period"),
        sa.CheckConstraint("pays_at_most_bp BETWEEN 1 AND 10000", name="pays_at_most"),
        sa.CheckConstraint("reserved_bp BETWEEN 0 AND 10000", name="reserved"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    funder: Mapped[str]
    reference: Mapped[str]
    amount_cents: Mapped[int | None] = mapped_column(sa.BigInteger)
    """The maximum sum of its envelopes; null: no maximum."""
    starts_on: Mapped[date | None]
    ends_on: Mapped[date | None]
    """The period within which its envelopes pay; null: whatever they say."""
    target_publics: Mapped[list[str]] = mapped_column(default=list)
    """Publics that the money is for; empty: everybody."""
    territory: Mapped[list[str]] = mapped_column(default=list)
    """Beginnings of the postcodes or INSEE codes of the prescribers that it pays for; empty: all."""
    pays_at_most_bp: Mapped[int] = mapped_column(default=WHOLE)
    """The most that the funder pays of the cheques used, in ten-thousandths of their value."""
    reserved_publics: Mapped[list[str]] = mapped_column(default=list)
    reserved_bp: Mapped[int] = mapped_column(default=0)
    """The part of each envelope, in ten-thousandths, that only the `reserved_publics` may take."""
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class Envelope(OfProgramme, Base):
    """Money of one funder for one programme, under one convention."""

    __tablename__ = "envelope"
    __table_args__ = (
        sa.CheckConstraint("amount_cents >= 0", name="amount"),
        sa.CheckConstraint("engaged_cents BETWEEN 0 AND amount_cents", name="engaged"),
        sa.CheckConstraint("starts_on <= ends_on", name="period"),
        sa.CheckConstraint("share_bp BETWEEN 1 AND 10000", name="share"),
        sa.CheckConstraint(
            "engaged_reserved_cents BETWEEN 0 AND engaged_cents"
            " AND engaged_cents - engaged_reserved_cents <= amount_cents - reserved_cents",
            name="reserved",
        ),
        sa.Index("envelope_programme_id_idx", "programme_id"),
        sa.Index("envelope_convention_id_idx", "convention_id"),
        {"postgresql_with": {"fillfactor": "50"}},  # the hottest rows: room to rewrite them in their page
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    convention_id: Mapped[UUID] = mapped_column(sa.ForeignKey("convention.id"))
    funder: Mapped[str]
    convention_reference: Mapped[str]
    amount_cents: Mapped[int] = mapped_column(sa.BigInteger)
    engaged_cents: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    """Value of the cheques charged here that are neither cancelled nor expired."""
    reserved_cents: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    """What of the amount other publics than the convention's reserved ones may not take."""
    engaged_reserved_cents: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    """What of the engaged money is for those reserved publics."""
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    target_publics: Mapped[list[str]]
    """Publics that the money is for; empty: everybody."""
    priority: Mapped[int]
    """Lower is spent first."""
    share_bp: Mapped[int | None]
    """Its share of the charges on the envelopes of its priority that have one; in ten-thousandths."""
    closed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    convention: Mapped[Convention] = relationship(lazy="raise")

    @property
    def available_cents(self) -> int:
        """What is left to engage."""
        return self.amount_cents - self.engaged_cents
