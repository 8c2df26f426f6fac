"""The table of beneficiaries."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.tables import Base
from shared.values.ids import new_id


class Beneficiary(Base):
    """A person: the only table with identities, encrypted. The accounts do not need it."""

    __tablename__ = "beneficiary"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    digest: Mapped[bytes] = mapped_column(unique=True)
    digest_key: Mapped[str | None]
    """The id of the digest's key; null in rows older than this column."""
    sealed_identity: Mapped[bytes]
    last_granted_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
