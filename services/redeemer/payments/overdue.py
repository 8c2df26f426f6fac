"""Statements that are not paid in time, and within how many days each programme's are to be."""

from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.payments import account_sql
from shared.values import clock

COLUMNS = (
    "number", "statement_id", "structure_id", "structure_name", "siret", "month", "due_on", "days_late", "due_cents",
    "paid_cents", "late_cents",
)  # fmt: skip

_LATE = sa.text(account_sql.LATE)


def late(session: Session, today: date | None = None, structure_id: UUID | None = None) -> list[dict[str, Any]]:
    """What should have been paid before today, the oldest first, less what the same structure owes back.

    For all structures, or for one.
    """
    given = {"today": today or clock.today(), "structure_id": structure_id}
    return [{**row, "late_cents": int(row["late_cents"])} for row in session.execute(_LATE, given).mappings()]
