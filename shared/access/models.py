"""The access tables, which every service has for itself, so that logins go on while the others are down."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from shared.eventlog import log
from shared.values.ids import new_id


class Base(DeclarativeBase):
    """Apart from the services' own models, beside the tables of events."""

    metadata = log.TABLES
    type_annotation_map = {str: sa.Text, datetime: sa.DateTime(timezone=True)}  # noqa: RUF012 (SQLAlchemy's own way)


class Secret(Base):
    """One of the at most two secrets of a client that are good at a time; of a secret only its digest is kept."""

    __tablename__ = "oauth_secret"

    secret_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    client_id: Mapped[UUID] = mapped_column(sa.ForeignKey("oauth_client.client_id"), index=True)
    digest: Mapped[bytes]
    """SHA-256. The secret is 256 random bits, so there is nothing to guess and no need to make guessing slow."""
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    created_by: Mapped[str]


class Client(Base):
    """A program that gets its tokens by a secret (RFC 6749, section 4.4): a till's software, a prescriber's."""

    __tablename__ = "oauth_client"

    client_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    role: Mapped[str]
    scope: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    created_by: Mapped[str]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    secrets: Mapped[list[Secret]] = relationship(order_by=Secret.secret_id, lazy="selectin")

    @property
    def subject(self) -> str:
        """What its tokens call it."""
        return f"client:{self.client_id}"


class Membership(Base):
    """A role of a person who logs in by the OpenID Connect provider, beyond what the person's SIRET gives."""

    __tablename__ = "membership"
    __table_args__ = (sa.UniqueConstraint("provider", "subject", "role", "scope", postgresql_nulls_not_distinct=True),)

    membership_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    provider: Mapped[str]
    """The identity provider of the person: a `sub` means nothing without it."""
    subject: Mapped[str]
    role: Mapped[str]
    scope: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    created_by: Mapped[str]


class Revocation(Base):
    """A token taken back, or all tokens of a holder or a scope issued `before` an instant."""

    __tablename__ = "revocation"

    revocation_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    value: Mapped[str]
    before: Mapped[datetime]
    until: Mapped[datetime | None]
    """When the last such token ends, and the row is of no use; None if unknown."""
    reason: Mapped[str]
    revoked_by: Mapped[str]


class Failure(Base):
    """How many token requests were refused, by address and by client, within the minute of the last one."""

    __tablename__ = "token_failure"

    key: Mapped[bytes] = mapped_column(primary_key=True)
    minute: Mapped[datetime]
    failures: Mapped[int]
