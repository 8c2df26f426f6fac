"""The issuer's mirror of where cheques are taken: training structures, their affiliations, the operators' contracts."""

from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.tables import Base


class TrainingStructure(Base):
    """A place where cheques are taken, as the redeemer last published it; what it left out is null."""

    __tablename__ = "training_structure"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    address: Mapped[str | None]
    postcode: Mapped[str | None]
    commune: Mapped[str | None]
    insee_code: Mapped[str | None]
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    services: Mapped[list[str] | None]
    phone: Mapped[str | None]
    suspended: Mapped[bool] = mapped_column(server_default=sa.false())


class StructureAffiliation(Base):
    """A structure takes the cheques of a contract's programme, from a day and perhaps until one.

    Another service publishes the contract, perhaps later: there is no foreign key to it.
    """

    __tablename__ = "structure_affiliation"

    structure_id: Mapped[UUID] = mapped_column(sa.ForeignKey("training_structure.id"), primary_key=True)
    contract_id: Mapped[UUID] = mapped_column(primary_key=True)
    starts_on: Mapped[date] = mapped_column(primary_key=True)
    ends_on: Mapped[date | None]


class OperatorContract(Base):
    """Which programme a contract with an operator is for."""

    __tablename__ = "operator_contract"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    programme: Mapped[str]
