"""The tables of grants and of the lots that they belong to."""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.programmes.models import OfProgramme
from services.issuer.tables import Base
from shared.files.file_import import FileColumns
from shared.values.ids import new_id


class GrantImport(FileColumns, Base):
    """A file of grants that was taken in. Its digest is keyed, as the file may name people."""

    __tablename__ = "grant_import"


class Grant(OfProgramme, Base):
    """An amount granted to a person, handed over as cheques."""

    __tablename__ = "cheque_grant"
    __table_args__ = (
        sa.CheckConstraint("amount_cents > 0", name="amount"),
        sa.CheckConstraint("granted_on <= valid_until AND valid_until <= presentable_until", name="validity"),
        sa.CheckConstraint("num_nonnulls(exception_reason, exception_by) <> 1", name="exception"),
        sa.UniqueConstraint("prescriber_id", "reference", name="cheque_grant_once_key"),
        sa.ForeignKeyConstraint(
            ["programme_id", "rule_version"], ["assessment_rule.programme_id", "assessment_rule.version"]
        ),
        sa.Index("cheque_grant_beneficiary_id_idx", "beneficiary_id"),
        sa.Index("cheque_grant_number_idx", sa.text("right(CAST(id AS text), 8)"), "id"),
        sa.Index("cheque_grant_valid_until_idx", "valid_until", "id"),
        sa.Index("cheque_grant_kept_idx", "created_at", postgresql_where=sa.text("beneficiary_id IS NOT NULL")),
        sa.Index("cheque_grant_lot_id_idx", "lot_id", postgresql_where=sa.text("lot_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    prescriber_id: Mapped[UUID] = mapped_column(sa.ForeignKey("prescriber.id"))
    beneficiary_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("beneficiary.id", ondelete="SET NULL"))
    lot_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("lot.id"))
    reference: Mapped[str | None]
    """The prescriber's own name for the grant: a reference is used for one grant only."""
    target_public: Mapped[str | None]
    amount_cents: Mapped[int] = mapped_column(sa.BigInteger)
    points: Mapped[int | None]
    reason: Mapped[str]
    rule_version: Mapped[int | None]
    """The version of the programme's rule that decided it; null if there was none."""
    exception_reason: Mapped[str | None]
    """Why the grant exceeds the person's limit; null where it does not."""
    exception_by: Mapped[str | None]
    previous_grants: Mapped[int]
    granted_on: Mapped[date]
    valid_until: Mapped[date]
    presentable_until: Mapped[date]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


def booklet_number() -> sa.ColumnElement[str]:
    """The end of a grant's id, by which its booklet is spoken of, as the index has it: a parameter would not match."""
    return sa.func.right(sa.cast(Grant.id, sa.Text), sa.literal_column("8"))


class Lot(OfProgramme, Base):
    """Grants that belong together: a print run, a distribution, a campaign."""

    __tablename__ = "lot"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    suspended_at: Mapped[datetime | None]
    suspended_by: Mapped[str | None]
    suspension_reason: Mapped[str | None]
    closed_at: Mapped[datetime | None]
    """When its statement was agreed: nothing is granted in it any more."""
