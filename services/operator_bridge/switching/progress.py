"""The figures of a switch, counted from the rows each time, so they are the same after a restart.

Numbers with their cents of EUR.
"""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.register.transitions import UNFINISHED
from services.operator_bridge.switching.moving import Work

Figures = dict[str, Any]

# The cheques that no live contract has. The old one is not live any more.
_SPENDABLE = sa.text("""
    SELECT count(*) AS number, coalesce(sum(value_cents), 0) AS cents FROM cheque
    WHERE programme = :programme AND state = 'open' AND NOT EXISTS (
        SELECT FROM link JOIN contract USING (contract_id) WHERE link.cheque_id = cheque.cheque_id
        AND contract.state = 'live' AND link.state IN ('wanted', 'registered'))
""")

_UNPAID = sa.text("""
    SELECT redemption.state, count(*) AS number, coalesce(sum(amount_cents), 0) AS cents
    FROM redemption JOIN cheque USING (cheque_id)
    WHERE programme = :programme AND redemption.state IN ('due', 'confirmed', 'stranded')
      AND (contract_id = :old OR contract_id IS NULL)
    GROUP BY redemption.state ORDER BY redemption.state
""")

_IN_FLIGHT = sa.text("""
    SELECT kind, count(*) AS number FROM operator_order
    WHERE contract_id = :old AND state = ANY(:unfinished) GROUP BY kind ORDER BY kind
""")

# Orders that were sent and have no outcome, and redemptions at its till that the redeemer has not decided.
_UNSETTLED = sa.text("""
    SELECT (SELECT count(*) FROM operator_order WHERE contract_id = :old AND state IN ('sent', 'unknown'))
         + (SELECT count(*) FROM report WHERE contract_id = :old AND contested IS NULL AND amount_cents > 0
            AND NOT EXISTS (SELECT FROM redemption WHERE redemption.cheque_id = report.cheque_id
                            AND redemption.reference = report.reference))
""")

_CLAIMED = sa.text("""
    SELECT kind, count(*) AS number, sum(amount_cents) AS cents FROM claim
    WHERE switch_id = :switch GROUP BY kind ORDER BY kind
""")

_ORDERED = sa.text("""
    SELECT o.state, count(*) AS number, coalesce(sum(coalesce(redemption.amount_cents, cheque.value_cents)), 0) AS cents
    FROM operator_order o LEFT JOIN cheque ON cheque.cheque_id = o.cheque_id
    LEFT JOIN redemption ON redemption.redemption_id = o.redemption_id
    WHERE details ->> 'switch' = CAST(:switch AS text) AND details ? 'switch'
      AND (CAST(:kind AS text) IS NULL OR o.kind = :kind)
    GROUP BY o.state
""")

_INACTIVE = sa.text("""
    SELECT count(*) AS number,
           count(*) FILTER (WHERE EXISTS (
               SELECT FROM operator_order o WHERE o.cheque_id = link.cheque_id AND o.contract_id = link.contract_id
               AND o.kind = 'activate' AND o.state = ANY(:unfinished))) AS ordered
    FROM link WHERE contract_id = :contract AND state = 'wanted'
""")

_NOT_DECLARED = sa.text("""
    SELECT count(*) AS number, coalesce(sum(amount_cents), 0) AS cents FROM redemption
    WHERE state IN ('stranded', 'refused') AND contract_id = :old OR redemption_id IN (
        SELECT o.redemption_id FROM operator_order o
        WHERE details ->> 'switch' = CAST(:switch AS text) AND details ? 'switch'
          AND o.kind = 'declare' AND o.state = 'refused') AND state = 'refused'
""")

_LEFT = sa.text("""
    SELECT count(*) AS number, coalesce(sum(amount_cents), 0) AS cents FROM redemption
    WHERE contract_id = :old AND state = 'confirmed'
""")


def inventory(session: Session, work: Work) -> Figures:
    """What there is to move: spendable cheques, redemptions that are not paid, orders in flight."""
    in_flight = session.execute(_IN_FLIGHT, work.params(unfinished=list(UNFINISHED)))
    return {
        "spendable": _amount(session, _SPENDABLE, work.params()),
        "unpaid": _amounts(session, _UNPAID, work.params()),
        "in_flight": {row.kind: row.number for row in in_flight},
    }


def unsettled(session: Session, contract_id: UUID) -> int:
    """The number of orders and reports of a contract without an outcome."""
    return int(session.execute(_UNSETTLED, {"old": contract_id}).scalar_one())


def claimed(session: Session, switch_id: UUID) -> Figures:
    """What is claimed, by kind and in all."""
    kinds = _amounts(session, _CLAIMED, {"switch": switch_id})
    total = {name: sum(kind[name] for kind in kinds.values()) for name in ("number", "cents")}
    return {"claimed": total, "kinds": kinds}


def ordered(session: Session, switch_id: UUID, kind: str | None = None) -> Figures:
    """The outcomes of the orders of a switch, of one kind or of all."""
    by_state = _amounts(session, _ORDERED, {"switch": switch_id, "kind": kind})
    nothing = {"number": 0, "cents": 0}
    return {
        "accepted": by_state.get("accepted", nothing),
        "refused": by_state.get("refused", nothing),
        "unsettled": sum(found["number"] for state, found in by_state.items() if state in UNFINISHED),
    }


def inactive(session: Session, contract_id: UUID) -> tuple[int, int]:
    """The number of a contract's cheques that wait for their activation, and for how many of them it is ordered."""
    row = session.execute(_INACTIVE, {"contract": contract_id, "unfinished": list(UNFINISHED)}).one()
    return int(row.number), int(row.ordered)


def register_proof(session: Session, work: Work) -> Figures:
    """What our own register still misses: cheques that no live contract has, redemptions that were not declared."""
    return {
        "not_registered": _amount(session, _SPENDABLE, work.params()),
        "not_declared": _amount(session, _NOT_DECLARED, work.params()),
    }


def left(session: Session, contract_id: UUID) -> Figures:
    """What an operator that was handed over from has accepted and has still to pay."""
    return {"left_to_pay": _amount(session, _LEFT, {"old": contract_id})}


def _amount(session: Session, query: sa.TextClause, params: dict[str, Any]) -> dict[str, int]:
    row = session.execute(query, params).one()
    return {"number": row.number, "cents": int(row.cents)}


def _amounts(session: Session, query: sa.TextClause, params: dict[str, Any]) -> dict[str, dict[str, int]]:
    """By the first column of a query's rows, their number and cents."""
    rows = session.execute(query, params)
    return {name: {"number": number, "cents": int(cents)} for name, number, cents in rows}
