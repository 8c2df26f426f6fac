"""The tables of statements and payments. A statement and its lines are never changed: the database refuses it.

Money is integer cents of EUR, instants are UTC, days are days in Paris, a month is its first day.
"""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.redeemer.tables import Base
from shared.values.ids import new_id

_NOW = sa.func.now()
_NAME = "year || '-' || lpad(number::text, greatest(5, length(number::text)), '0')"


class Statement(Base):
    """What a structure is owed for a month, as it stood when it was issued, its name and address included."""

    __tablename__ = "statement"
    __table_args__ = (
        sa.UniqueConstraint("year", "number"),
        sa.UniqueConstraint("structure_id", "month"),
        sa.CheckConstraint("number > 0", name="number"),
        sa.CheckConstraint("date_trunc('month', month) = month", name="month"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    year: Mapped[int]
    """The year in which it was issued: numbers begin again with each."""
    number: Mapped[int]
    """1 and so on within the year, without gaps."""
    name: Mapped[str] = mapped_column(sa.Computed(_NAME, persisted=True), unique=True)
    """The number as it is written: `2026-00042`."""
    structure_id: Mapped[UUID] = mapped_column(sa.ForeignKey("structure.id"))
    month: Mapped[date]
    issued_at: Mapped[datetime]
    issued_by: Mapped[str]
    due_on: Mapped[date]
    """The last day on which its payment is in time."""
    authority: Mapped[str]
    """Who owes it."""
    structure_name: Mapped[str]
    siret: Mapped[str | None]
    address: Mapped[str]
    postcode: Mapped[str]
    commune: Mapped[str]
    redemptions: Mapped[int]
    corrections: Mapped[int]
    due_cents: Mapped[int] = mapped_column(sa.BigInteger)
    """Negative where corrections outweigh the month's redemptions."""
    confirmed_cents: Mapped[int] = mapped_column(sa.BigInteger)
    paid_cents: Mapped[int] = mapped_column(sa.BigInteger)

    @property
    def postal_address(self) -> str:
        """The address on one line."""
        return ", ".join(filter(None, (self.address, f"{self.postcode} {self.commune}".strip())))


class StatementLine(Base):
    """A redemption on a statement, or what corrects one of an earlier statement."""

    __tablename__ = "statement_line"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('redemption', 'correction')", name="kind"),
        sa.CheckConstraint("due_cents > 0 OR (kind = 'correction' AND due_cents < 0)", name="due"),
        sa.CheckConstraint("(kind = 'correction') = (corrects IS NOT NULL AND reason IS NOT NULL)", name="correction"),
        sa.CheckConstraint(
            "confirmed_cents BETWEEN 0 AND abs(due_cents) AND paid_cents BETWEEN 0 AND confirmed_cents", name="columns"
        ),
        # The second wall of "on one statement at most", should the first one ever have a hole.
        sa.Index("statement_line_once_idx", "redemption_id", unique=True, postgresql_where=sa.text("corrects IS NULL")),
        sa.Index("statement_line_corrected_idx", "redemption_id", postgresql_where=sa.text("corrects IS NOT NULL")),
    )

    statement_id: Mapped[UUID] = mapped_column(sa.ForeignKey("statement.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    redemption_id: Mapped[UUID]
    cheque_id: Mapped[UUID]
    programme: Mapped[str]
    programme_name: Mapped[str | None]
    """Its name; None if the issuer had not published one."""
    presented_on: Mapped[date]
    given_on: Mapped[date]
    due_cents: Mapped[int]
    confirmed_cents: Mapped[int]
    paid_cents: Mapped[int]
    corrects: Mapped[UUID | None] = mapped_column(sa.ForeignKey("statement.id"))
    """The statement that has the redemption."""
    reason: Mapped[str | None]


class StatementRefusal(Base):
    """A redemption refused by its operator before it was ever stated: nothing is owed, its structure is informed."""

    __tablename__ = "statement_refusal"
    __table_args__ = (sa.Index("statement_refusal_statement_id_idx", "statement_id"),)

    redemption_id: Mapped[UUID] = mapped_column(primary_key=True)
    """Mentioned on one statement."""
    statement_id: Mapped[UUID] = mapped_column(sa.ForeignKey("statement.id"))
    programme: Mapped[str]
    presented_on: Mapped[date]
    given_on: Mapped[date]
    amount_cents: Mapped[int]
    """What it would have been worth."""
    reason: Mapped[str]


class StatementMonth(Base):
    """A month whose statements are all issued: what comes late for it is on the next ones."""

    __tablename__ = "statement_month"

    month: Mapped[date] = mapped_column(primary_key=True)
    closed_at: Mapped[datetime]


class Correction(Base):
    """What is owed for a stated redemption, as somebody corrected it; the last correction counts."""

    __tablename__ = "redemption_correction"
    __table_args__ = (
        sa.CheckConstraint("owed_cents >= 0", name="owed"),
        sa.Index("redemption_correction_redemption_id_idx", "redemption_id", "sequence"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    sequence: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True))
    """The order in which corrections of a redemption were made, whatever the clocks of those who made them."""
    redemption_id: Mapped[UUID] = mapped_column(sa.ForeignKey("redemption.id"))
    owed_cents: Mapped[int]
    reason: Mapped[str]
    made_by: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class PaymentTerm(Base):
    """Within how many days of issue the statements of a programme are to be paid, where it is not the usual term."""

    __tablename__ = "payment_term"
    __table_args__ = (sa.CheckConstraint("days BETWEEN 1 AND 365", name="days"),)

    programme: Mapped[str] = mapped_column(primary_key=True)
    days: Mapped[int]
    changed_by: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(server_default=_NOW, onupdate=_NOW)
