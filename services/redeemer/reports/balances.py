"""Balances: how many cheques and cents are in each state, counted from the rows."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.transitions import CHEQUE, REDEMPTION

REVERSED = "reversed"

_CHEQUES = sa.text("""
    SELECT programme, state, sum(number) AS number, sum(cents) AS cents
    FROM (
        SELECT rules_id, state, count(*) AS number, sum(value_cents) AS cents FROM cheque GROUP BY rules_id, state
    ) counted
    JOIN spending_rules ON spending_rules.id = rules_id
    GROUP BY programme, state
""")
_REDEMPTIONS = sa.text("""
    SELECT programme, CASE WHEN reversed_at IS NULL THEN state ELSE 'reversed' END AS state,
           count(*) AS number, sum(amount_cents) AS cents
    FROM redemption GROUP BY 1, 2
""")


def balances(session: Session) -> list[dict[str, Any]]:
    """Each programme's cheques issued and by state, and its redemptions by state, those reversed apart."""
    cheques = session.execute(_CHEQUES).all()
    redemptions = session.execute(_REDEMPTIONS).all()
    return [
        {
            "programme": programme,
            "issued": _sum(row for row in cheques if row.programme == programme),
            "states": _by_state(cheques, programme, CHEQUE),
            "redemptions": _by_state(redemptions, programme, (*REDEMPTION, REVERSED)),
        }
        for programme in sorted({row.programme for row in cheques})
    ]


def _by_state(rows: Iterable[Any], programme: str, states: Iterable[str]) -> dict[str, dict[str, int]]:
    return {state: _sum(row for row in rows if row.programme == programme and row.state == state) for state in states}


def _sum(rows: Iterable[Any]) -> dict[str, int]:
    sums = [(int(row.number), int(row.cents)) for row in rows]
    return {"number": sum(number for number, _ in sums), "cents": sum(cents for _, cents in sums)}
