"""TODO."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.tables import Base
from shared.values.ids import new_id


class Beneficiary(Base):
    """A person: the only row with an identity, and that one sealed. Nothing of the ledger needs it."""

    __tablename__ = "beneficiary"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    digest: Mapped[bytes] = mapped_column(unique=True)
    digest_key: Mapped[str | None]
    """The key of the digest, by its id; null: not noted, made before that was."""
    sealed_identity: Mapped[bytes]
    last_granted_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
