"""Statements that are not paid in time, and within how many days each programme's are to be."""

from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.models_statements import PaymentTerm
from services.redeemer.payments import account_sql
from shared import clock

USUAL_TERM_DAYS = 30
"""Code de la commande publique, article R. 2192-10: what a local authority has, from the request for payment on."""

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


def set_term(session: Session, programme: str, days: int, by: str) -> PaymentTerm:
    """Says within how many days of issue the statements of a programme are to be paid, from the next ones on."""
    given = pg.insert(PaymentTerm).values(programme=programme, days=days, changed_by=by, changed_at=clock.now())
    changes = {name: given.excluded[name] for name in ("days", "changed_by", "changed_at")}
    session.execute(given.on_conflict_do_update(index_elements=["programme"], set_=changes))
    return session.get_one(PaymentTerm, programme, populate_existing=True)
