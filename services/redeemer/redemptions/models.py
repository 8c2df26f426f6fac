"""The tables of redemptions, of what was presented together, and of who tries codes in vain."""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.redeemer.tables import Base


class Presentation(Base):
    """Cheques that a structure presented together and that were accepted; a repeat is recognised by its key."""

    __tablename__ = "presentation"
    __table_args__ = (sa.UniqueConstraint("structure_id", "key"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    structure_id: Mapped[UUID]
    key: Mapped[str]
    request_digest: Mapped[bytes]
    service: Mapped[str | None]
    postcode: Mapped[str | None]
    presented_at: Mapped[datetime]


class Redemption(Base):
    """A cheque spent at a structure, and how far that has been settled. One that is reversed stays, with its reason.

    It has no foreign key to its structure: the lock that such a check takes would make all tills of one wait in line.
    """

    __tablename__ = "redemption"
    __table_args__ = (
        sa.CheckConstraint("amount_cents > 0", name="amount"),
        sa.CheckConstraint("via IN ('till', 'operator')", name="via"),
        sa.CheckConstraint("state IN ('due', 'confirmed', 'refused', 'paid', 'stranded')", name="state"),
        sa.CheckConstraint("(reversed_at IS NULL) = (reversal_reason IS NULL)", name="reversal"),
        # The second wall of "at most once", should the first one ever have a hole.
        sa.Index("redemption_live_idx", "cheque_id", unique=True, postgresql_where=sa.text("reversed_at IS NULL")),
        sa.Index("redemption_presentation_id_idx", "presentation_id"),
        sa.Index("redemption_structure_id_idx", "structure_id", "id"),
        sa.Index(
            "redemption_unstated_idx",
            "structure_id",
            postgresql_where=sa.text("statement_id IS NULL AND reversed_at IS NULL"),
        ),
        sa.Index("redemption_statement_id_idx", "statement_id", postgresql_where=sa.text("statement_id IS NOT NULL")),
        sa.Index("redemption_refused_idx", "id", postgresql_where=sa.text("state = 'refused'")),
        sa.Index(
            "redemption_payment_reference_idx",
            "payment_reference",
            postgresql_where=sa.text("payment_reference IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    cheque_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque.id"))
    presentation_id: Mapped[UUID]
    """What was presented together; at an operator's till, the operator's report."""
    structure_id: Mapped[UUID]
    programme: Mapped[str]
    amount_cents: Mapped[int]
    via: Mapped[str]
    contract_id: Mapped[UUID | None]
    """The contract under which an operator confirmed, refused, paid or reported it."""
    given_on: Mapped[date]
    """The day of the workshop."""
    redeemed_at: Mapped[datetime]
    state: Mapped[str]
    refusal_reason: Mapped[str | None]
    payment_reference: Mapped[str | None]
    paid_on: Mapped[date | None]
    payment_id: Mapped[UUID | None]
    """The accountant's payment that settled it; none where an operator paid it."""
    unpaid_state: Mapped[str | None]
    """Its state without the accountant's payment."""
    statement_id: Mapped[UUID | None]
    """The monthly statement that has it; from then on it cannot be reversed."""
    reversed_at: Mapped[datetime | None]
    reversal_reason: Mapped[str | None]


class Guessing(Base):
    """How many codes somebody tried in vain, and until when they are locked out; few rows, gone after a week."""

    __tablename__ = "guessing"
    __table_args__ = (
        sa.CheckConstraint("scope IN ('structure', 'address', 'everybody')", name="scope"),
        # It is rewritten at every guess, and nothing that changes is indexed.
        {"postgresql_with": {"fillfactor": "50"}},
    )

    who: Mapped[str] = mapped_column(primary_key=True)
    """`structure <id>`, `address <address>` or `everybody`."""
    scope: Mapped[str]
    guesses: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    """All of them, since the row was made."""
    clear_at: Mapped[datetime]
    """When the count will have drained to nothing: within the hour of the last guess."""
    lockouts: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    """All of them, since the row was made."""
    strikes: Mapped[int] = mapped_column(server_default="0")
    """Those by which the next one is longer: none a week after the last has ended."""
    locked_until: Mapped[datetime]
    """In the past where nobody is locked out."""
