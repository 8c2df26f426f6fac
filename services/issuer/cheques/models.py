"""The tables of cheques and of what happens to them: cancellations, replacements, blocks, redemptions."""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.tables import Base
from shared.values.ids import new_id

LOST, STOLEN, DAMAGED = "lost", "stolen", "damaged"
CAUSES = (LOST, STOLEN, DAMAGED)


class Replacement(Base):
    """A cancellation whose cheques are to be replaced by new ones."""

    __tablename__ = "replacement"
    __table_args__ = (sa.CheckConstraint("cause IN ('lost', 'stolen', 'damaged')", name="cause"),)

    cancellation_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cancellation.id"), primary_key=True)
    cause: Mapped[str]


class ReplacedCheque(Base):
    """An old cheque and the new one that takes its place once the redeemer has cancelled the old one.

    The new cheque's code is made with the request, so that the event handler needs no key. Until `issued_at` is set it
    is not a cheque: neither the redeemer nor an operator has it.
    """

    __tablename__ = "replaced_cheque"
    __table_args__ = (
        sa.Index(
            "replaced_cheque_once_idx", "old_cheque_id", unique=True, postgresql_where=sa.text("issued_at IS NOT NULL")
        ),
    )

    cancellation_id: Mapped[UUID] = mapped_column(sa.ForeignKey("replacement.cancellation_id"), primary_key=True)
    old_cheque_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque.id"), primary_key=True)
    new_cheque_id: Mapped[UUID] = mapped_column(unique=True)
    sealed_code: Mapped[bytes]
    digest: Mapped[bytes]
    issued_at: Mapped[datetime | None]
    """When the new cheque was issued; null before."""


class SuspendedCheque(Base):
    """A cheque that is blocked only because its lot is suspended."""

    __tablename__ = "suspended_cheque"

    cheque_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque.id"), primary_key=True)
    lot_id: Mapped[UUID] = mapped_column(sa.ForeignKey("lot.id"), index=True)


# The states of a cheque as the issuer mirrors them. The last three are final, unless a redemption is reversed.
ISSUED, SPENDABLE, BLOCKED = "issued", "spendable", "blocked"
REDEEMED, CANCELLED, EXPIRED = "redeemed", "cancelled", "expired"
STATES = (ISSUED, SPENDABLE, BLOCKED, REDEEMED, CANCELLED, EXPIRED)

# Three facts make a cheque's state. They come from different services, in any order, so each has its own column.
STATE = """
    CASE WHEN ending IS NOT NULL THEN ending WHEN blocked THEN 'blocked' WHEN active THEN 'spendable' ELSE 'issued' END
"""

REQUESTED, REFUSED = "requested", "refused"


class Cheque(Base):
    """The stub of a cheque: its value, the envelope that pays for it, and the mirror of its state."""

    __tablename__ = "cheque"
    __table_args__ = (
        sa.CheckConstraint("value_cents > 0", name="value"),
        sa.CheckConstraint("ending IN ('redeemed', 'cancelled', 'expired')", name="ending"),
        sa.Index("cheque_grant_id_idx", "grant_id"),
        {"postgresql_with": {"fillfactor": "85"}},  # its state changes once or twice
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    grant_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque_grant.id"))
    envelope_id: Mapped[UUID] = mapped_column(sa.ForeignKey("envelope.id"))
    value_cents: Mapped[int] = mapped_column(sa.BigInteger)
    sealed_code: Mapped[bytes]
    active: Mapped[bool]
    """The programme's rule lets it be spent: from the start, or since an operator registered it."""
    blocked: Mapped[bool] = mapped_column(server_default=sa.false())
    ending: Mapped[str | None]
    state: Mapped[str] = mapped_column(sa.Computed(STATE, persisted=True))


class Cancellation(Base):
    """A request to cancel cheques; the redeemer answers for each cheque."""

    __tablename__ = "cancellation"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    reason: Mapped[str]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class CancelledCheque(Base):
    """The outcome of the request for one cheque."""

    __tablename__ = "cancellation_cheque"
    __table_args__ = (
        sa.CheckConstraint("outcome IN ('requested', 'cancelled', 'refused')", name="outcome"),
        sa.Index(
            "cancellation_cheque_open_idx", "cheque_id", unique=True, postgresql_where=sa.text("outcome = 'requested'")
        ),
        sa.Index("cancellation_cheque_cheque_id_idx", "cheque_id"),
    )

    cancellation_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cancellation.id"), primary_key=True)
    cheque_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque.id"), primary_key=True)
    outcome: Mapped[str]
    reason: Mapped[str | None]


class DigestRotation(Base):
    """How far the digests of codes by a new key were published, so that an interrupted rotation can resume."""

    __tablename__ = "digest_rotation"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    after: Mapped[UUID | None]
    """The last published cheque, in the order of the ids."""
    cheques: Mapped[int] = mapped_column(sa.BigInteger)
    finished_at: Mapped[datetime | None]


class Redemption(Base):
    """A redemption as the events about it say: made, reversed or paid, in whatever order they arrive."""

    __tablename__ = "redemption"
    __table_args__ = (
        sa.Index("redemption_cheque_id_idx", "cheque_id"),
        sa.CheckConstraint("num_nulls(paid_on, payment_reference) IN (0, 2)", name="paid"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    cheque_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("cheque.id"))
    """Null while only its payment has arrived."""
    structure_id: Mapped[UUID | None]
    redeemed_on: Mapped[date | None]
    reversed_on: Mapped[date | None]
    paid_on: Mapped[date | None]
    payment_reference: Mapped[str | None]
    payment_booked: Mapped[bool] = mapped_column(server_default=sa.false())
