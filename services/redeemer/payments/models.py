"""The tables of payments: what the accountant typed, and what operators paid a second time."""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.redeemer.tables import Base
from shared.files.file_import import FileColumns
from shared.values.ids import new_id

PAYMENT, WITHDRAWAL, SET_OFF = "payment", "withdrawal", "set_off"
"""What an entry is: money that went; what says that it never did; nothing, as corrections of paid lines cover all."""

_KIND = """
    CASE kind WHEN 'payment' THEN amount_cents > 0 AND withdraws IS NULL
              WHEN 'withdrawal' THEN amount_cents < 0 AND withdraws IS NOT NULL AND reason IS NOT NULL
              WHEN 'set_off' THEN amount_cents = 0 AND withdraws IS NULL
              ELSE false END
"""


class Payment(Base):
    """A payment that the accountant reports for a statement, or an entry that withdraws one."""

    __tablename__ = "payment"
    __table_args__ = (
        # Reported twice, it was paid once.
        sa.UniqueConstraint("statement_id", "paid_on", "amount_cents", "reference", name="payment_once_key"),
        sa.CheckConstraint(_KIND, name="kind"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(server_default=PAYMENT)
    statement_id: Mapped[UUID] = mapped_column(sa.ForeignKey("statement.id"))
    amount_cents: Mapped[int] = mapped_column(sa.BigInteger)
    """Of a withdrawal, what it withdraws, below 0."""
    paid_on: Mapped[date]
    """Of a withdrawal, the day of what it withdraws: no day is left on which that counts."""
    reference: Mapped[str]
    """The accountant's own; empty where there is none."""
    file_digest: Mapped[str]
    """SHA-256 of the file that had it; empty for an entry without a file."""
    typed_by: Mapped[str]
    typed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    withdraws: Mapped[UUID | None] = mapped_column(sa.ForeignKey("payment.id"), unique=True)
    reason: Mapped[str | None]


class PaymentImport(FileColumns, Base):
    """An imported file of payments, recognised by its SHA-256."""

    __tablename__ = "payment_import"


class RepeatedPayment(Base):
    """An operator's word that it paid what was paid already, under another reference."""

    __tablename__ = "repeated_payment"

    redemption_id: Mapped[UUID] = mapped_column(sa.ForeignKey("redemption.id"), primary_key=True)
    payment_reference: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[UUID | None]
    paid_on: Mapped[date]
    noticed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
