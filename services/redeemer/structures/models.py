"""The tables of structures, of the contracts that the bridge publishes, and of affiliations between them."""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.redeemer.tables import Base
from shared.files.file_import import FileColumns
from shared.places.importer import PlaceColumns
from shared.values.ids import new_id


class Contract(Base):
    """A contract with an operator, as the bridge publishes it."""

    __tablename__ = "contract"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str]
    operator: Mapped[str]
    programme: Mapped[str]
    state: Mapped[str]
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]


class Structure(PlaceColumns, Base):
    """A training structure, as a file of the national schema describes it."""

    __tablename__ = "structure"
    __table_args__ = (sa.CheckConstraint("(suspended_at IS NULL) = (suspension_reason IS NULL)", name="suspension"),)

    services: Mapped[list[str]]
    publics: Mapped[list[str]]
    suspended_at: Mapped[datetime | None]
    suspension_reason: Mapped[str | None]


class StructureImport(FileColumns, Base):
    """An imported file of structures, recognised by its SHA-256."""

    __tablename__ = "structure_import"


class Affiliation(Base):
    """A structure may redeem under a contract, from a day and perhaps until one."""

    __tablename__ = "affiliation"
    __table_args__ = (
        sa.CheckConstraint("ends_on >= starts_on", name="period"),
        sa.Index("affiliation_structure_id_idx", "structure_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    structure_id: Mapped[UUID] = mapped_column(sa.ForeignKey("structure.id"))
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.id"))
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
