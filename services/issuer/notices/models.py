"""The table of notices."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.tables import Base
from shared.values.ids import new_id


class Notice(Base):
    """Something that somebody should know, once; another system sends it."""

    __tablename__ = "notice"
    __table_args__ = (
        sa.UniqueConstraint("kind", "key"),
        sa.Index("notice_prescriber_id_idx", "prescriber_id", "id"),
        sa.Index("notice_subject_id_idx", "subject_id", "id"),
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
