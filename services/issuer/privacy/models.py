"""What is kept of forgetting people: that it was done, never to whom."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.tables import Base
from shared.values.ids import new_id

REQUEST, RETENTION = "request", "retention"
GROUNDS = (REQUEST, RETENTION)


class Erasure(Base):
    """People erased together: one on request, or all whose retention ended on a day."""

    __tablename__ = "erasure"
    __table_args__ = (sa.CheckConstraint("ground IN ('request', 'retention')", name="ground"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    ground: Mapped[str]
    asked_by: Mapped[str]
    erased_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    people: Mapped[int]
    """Identities that are gone. One is kept while grants of another programme still need it."""
    grants: Mapped[int]
    """Grants that no longer refer to their person."""
