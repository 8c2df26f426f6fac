"""Statements that are not paid in time."""

from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.statements.statements import PENDING, account_query
from shared.values import clock

_ISSUED_BY_THEN = """
    (statement.issued_at AT TIME ZONE 'Europe/Paris')::date <= :today
    AND (CAST(:structure_id AS uuid) IS NULL OR statement.structure_id = :structure_id)
"""

# What a structure owes back (paid too much on other statements, or corrections still to come) is taken off what is
# owed to it, the oldest first, before anything is called late.
_LATE = sa.text(f"""
    WITH account AS MATERIALIZED (
        SELECT account.*, account.due_cents - account.paid_cents AS open_cents
        FROM ({account_query(":today", _ISSUED_BY_THEN)}) account
    ),
    credit AS (
        SELECT structure_id, sum(cents) AS cents FROM (
            SELECT structure_id, -open_cents AS cents FROM account WHERE open_cents < 0
            UNION ALL SELECT structure_id, -cents FROM ({PENDING}) pending WHERE cents < 0
        ) back GROUP BY structure_id
    ),
    owed AS (
        SELECT account.*, least(open_cents, greatest(0, sum(open_cents) OVER (
                   PARTITION BY account.structure_id ORDER BY statement.due_on, statement.id
               ) - coalesce(credit.cents, 0))) AS late_cents
        FROM account JOIN statement USING (id) LEFT JOIN credit ON credit.structure_id = account.structure_id
        WHERE open_cents > 0
    )
    SELECT statement.name AS number, statement.id AS statement_id, statement.structure_id,
           statement.structure_name, statement.siret, statement.month, statement.due_on,
           CAST(:today AS date) - statement.due_on AS days_late, statement.due_cents, owed.paid_cents, owed.late_cents
    FROM owed JOIN statement USING (id)
    WHERE late_cents > 0 AND statement.due_on < :today
    ORDER BY statement.due_on, statement.id
""")  # noqa: S608 (constants of this package)


def late(session: Session, today: date | None = None, structure_id: UUID | None = None) -> list[dict[str, Any]]:
    """What should have been paid before today to all structures or one, the oldest first, less what each owes back."""
    params = {"today": today or clock.today(), "structure_id": structure_id}
    return [{**row, "late_cents": int(row["late_cents"])} for row in session.execute(_LATE, params).mappings()]
