"""The tables of cheques: the rules of spending, the state of each, and the progress of expiry."""

from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.redeemer.tables import Base

_STATE = """CASE WHEN ending IS NOT NULL THEN ending WHEN blocked THEN 'blocked'
                 WHEN active THEN 'spendable' ELSE 'pending' END"""


class Programme(Base):
    """The name of a programme on what people read, as the issuer published it."""

    __tablename__ = "programme"

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class SpendingRules(Base):
    """A programme's rules of spending as they were at some grant: few rows, shared by millions of cheques."""

    __tablename__ = "spending_rules"
    __table_args__ = (sa.Index("spending_rules_programme_idx", "programme"),)

    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    digest: Mapped[bytes] = mapped_column(unique=True)
    """SHA-256 of the rules, by which they are found again."""
    programme: Mapped[str]
    services: Mapped[list[str]]
    """Services that the cheques pay for; empty: any."""
    territory: Mapped[list[str]]
    """Beginnings of postcodes or INSEE codes where they are taken; empty: anywhere."""


class Cheque(Base):
    """A cheque as it can be spent. Whoever presents it again learns `redeemed_at`."""

    __tablename__ = "cheque"
    __table_args__ = (
        sa.CheckConstraint("value_cents > 0", name="value"),
        sa.CheckConstraint("ending IN ('redeemed', 'cancelled', 'expired')", name="ending"),
        sa.CheckConstraint("(ending = 'redeemed') IS TRUE = (redeemed_at IS NOT NULL)", name="redeemed_at"),
        sa.Index("cheque_presentable_until_idx", "presentable_until"),
        # Room to rewrite a row in its page. Nothing that changes is indexed, so no index is touched either.
        {"postgresql_with": {"fillfactor": "85"}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(unique=True)
    """Keyed digest of the code; the code itself never comes here."""
    rules_id: Mapped[int] = mapped_column(sa.ForeignKey("spending_rules.id"))
    grant_id: Mapped[UUID]
    value_cents: Mapped[int]
    granted_on: Mapped[date]
    valid_until: Mapped[date]
    """The last day of a workshop that it pays for."""
    presentable_until: Mapped[date]
    """The last day on which it may be presented."""
    active: Mapped[bool]
    blocked: Mapped[bool] = mapped_column(server_default=sa.false())
    ending: Mapped[str | None]
    state: Mapped[str] = mapped_column(sa.Computed(_STATE, persisted=True))
    redeemed_at: Mapped[datetime | None]


class Expiry(Base):
    """The day before which no cheque is left that has to expire; its only row is made by the first run."""

    __tablename__ = "expiry"
    __table_args__ = (sa.CheckConstraint("everything", name="everything"),)

    everything: Mapped[bool] = mapped_column(primary_key=True)
    done_before: Mapped[date]
