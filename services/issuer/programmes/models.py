"""The tables of programmes and of the versions of their rules."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, relationship

from services.issuer.tables import Base
from shared.values.ids import new_id

ON_ISSUE, ON_REGISTRATION = "on_issue", "on_registration"


class Programme(Base):
    """What cheques are for, and the rules by which they are granted and may be spent."""

    __tablename__ = "programme"
    __table_args__ = (
        sa.CheckConstraint("face_value_cents > 0", name="face_value"),
        sa.CheckConstraint("minimum_grant_cents > 0 AND minimum_grant_cents % face_value_cents = 0", name="minimum"),
        sa.CheckConstraint("num_nonnulls(valid_months, valid_until) = 1", name="validity"),
        sa.CheckConstraint("grace_days >= 0", name="grace"),
        sa.CheckConstraint("retention_months BETWEEN 1 AND 120", name="retention"),
        sa.CheckConstraint("spendable IN ('on_issue', 'on_registration')", name="spendable"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    purpose: Mapped[str | None]
    """What the cheques pay for, in plain French, as it is printed for the people; null: the usual words."""
    face_value_cents: Mapped[int] = mapped_column(sa.BigInteger)
    minimum_grant_cents: Mapped[int] = mapped_column(sa.BigInteger)
    single_cheque: Mapped[bool] = mapped_column(server_default=sa.false())
    """A grant is one cheque of its whole amount, in steps of the face value; else cheques of the face value."""
    valid_months: Mapped[int | None]
    valid_until: Mapped[date | None]
    grace_days: Mapped[int]
    spendable: Mapped[str]
    services: Mapped[list[str]]
    """Services that the cheques pay for; empty: any."""
    territory: Mapped[list[str]]
    """Beginnings of postcodes or INSEE codes where they are taken; empty: anywhere."""
    assessment: Mapped[dict[str, Any] | None]
    """The rule in force, as `assessment` and `person_limits` read it."""
    assessment_version: Mapped[int | None]
    """The version of that rule; null where the programme never had a rule."""
    retention_months: Mapped[int] = mapped_column(server_default="24")
    """Months after the last contact before the identity is erased."""
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    @property
    def validity(self) -> dict[str, Any]:
        """How long a cheque may be spent: for `months` from its grant, or `until` a day."""
        return {"until": self.valid_until} if self.valid_until else {"months": self.valid_months}


class OfProgramme:
    """A row that belongs to a programme."""

    programme_id: Mapped[UUID] = mapped_column(sa.ForeignKey("programme.id"))

    @declared_attr
    def programme(cls) -> Mapped[Programme]:
        """The programme, read with the row."""
        return relationship(lazy="joined", innerjoin=True)

    @property
    def programme_code(self) -> str:
        """The programme's short name."""
        return self.programme.code


class AssessmentRule(Base):
    """A version of a programme's rule. It never changes: the programme's next rule is another version."""

    __tablename__ = "assessment_rule"
    __table_args__ = (sa.UniqueConstraint("programme_id", "version"), sa.CheckConstraint("version > 0", name="version"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    programme_id: Mapped[UUID] = mapped_column(sa.ForeignKey("programme.id"))
    version: Mapped[int]
    assessment: Mapped[dict[str, Any] | None]
    """Null: amounts are stated, without a limit for one person."""
    reason: Mapped[str | None]
    declared_by: Mapped[str]
    declared_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
