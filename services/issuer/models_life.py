"""The issuer's tables about what becomes of cheques on the way: notices, replacements, lots."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.tables import Base
from shared.ids import new_id


class Notice(Base):
    """Something that somebody should be told, once; another system sends it."""

    __tablename__ = "notice"
    __table_args__ = (
        sa.UniqueConstraint("kind", "key"),
        sa.Index("notice_prescriber_id_idx", "prescriber_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    key: Mapped[str]
    """What makes it the same notice: of one kind and key there is one."""
    subject_id: Mapped[UUID | None]
    """The grant, envelope or lot that it is about."""
    prescriber_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("prescriber.id"))
    """The prescriber whom it concerns, and who may read it; nobody's: for the département alone."""
    body: Mapped[dict[str, Any]]
    posted_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


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

    The new one's code is made with the request, so that whoever hears of the cancellation needs no key. Until then it
    is no cheque: neither the redeemer nor an operator knows it.
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
    """When the new cheque came into being."""


class Lot(Base):
    """Grants that belong together: a print run, a distribution, a campaign."""

    __tablename__ = "lot"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    programme_id: Mapped[UUID] = mapped_column(sa.ForeignKey("programme.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    suspended_at: Mapped[datetime | None]
    suspended_by: Mapped[str | None]
    suspension_reason: Mapped[str | None]
    closed_at: Mapped[datetime | None]
    """When its statement was agreed: nothing is granted in it any more."""


class SuspendedCheque(Base):
    """A cheque that is blocked because its lot is suspended, and for no reason of its own."""

    __tablename__ = "suspended_cheque"

    cheque_id: Mapped[UUID] = mapped_column(sa.ForeignKey("cheque.id"), primary_key=True)
    lot_id: Mapped[UUID] = mapped_column(sa.ForeignKey("lot.id"), index=True)


class LotStatement(Base):
    """What a lot came to, as it was agreed at its end. It is never rewritten."""

    __tablename__ = "lot_statement"

    lot_id: Mapped[UUID] = mapped_column(sa.ForeignKey("lot.id"), primary_key=True)
    figures: Mapped[dict[str, Any]]
    digest: Mapped[str]
    """SHA-256 of the figures, which whoever agreed had seen."""
    agreed_by: Mapped[str]
    agreed_at: Mapped[datetime]
