"""The table of agreed statements of lots."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.issuer.tables import Base


class LotStatement(Base):
    """The figures of a lot, as agreed at its end. They never change."""

    __tablename__ = "lot_statement"

    lot_id: Mapped[UUID] = mapped_column(sa.ForeignKey("lot.id"), primary_key=True)
    figures: Mapped[dict[str, Any]]
    digest: Mapped[str]
    """SHA-256 of the figures, which whoever agreed had seen."""
    agreed_by: Mapped[str]
    agreed_at: Mapped[datetime]
