"""What becomes of orders: every UPDATE of `operator_order`, from the states that `transitions` allows.

Receipts of a batch are settled in one transaction, each thing in one statement, with all that follows. An order is
settled once: a later receipt changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.interface import Receipt
from services.operator_bridge.orders.consequences import CONSEQUENCES, VOIDED, Settled
from services.operator_bridge.register.transitions import ORDER, UNSENT
from shared.values import cheque_code

# `state || ''`, so that rows are found by their ids and no index of states is read: by statistics of before a switch
# next to nothing is unsettled, and all of what is would be read for each batch.
_SETTLE = sa.text("""
    UPDATE operator_order o SET state = :state, reason = r.reason, settled_at = clock_timestamp()
    FROM unnest(CAST(:references AS uuid[]), CAST(:reasons AS text[]), CAST(:numbers AS text[]))
         AS r (order_id, reason, number), contract
    WHERE o.order_id = r.order_id AND o.state || '' = ANY(:before)
      AND contract.contract_id = o.contract_id AND contract.operator = :operator
    RETURNING o.order_id, o.contract_id, o.kind, o.cheque_id, o.redemption_id, o.state, o.reason, r.number,
              contract.operator
""")

_WITHDRAW = sa.text("""
    UPDATE operator_order o SET state = 'refused', reason = :reason, settled_at = clock_timestamp()
    FROM unnest(CAST(:contracts AS uuid[]), CAST(:cheques AS uuid[]), CAST(:redemptions AS uuid[]))
         AS r (contract_id, cheque_id, redemption_id)
    WHERE o.contract_id = r.contract_id AND o.cheque_id = r.cheque_id AND o.state IN ('pending', 'held')
      AND (r.redemption_id IS NULL OR o.redemption_id = r.redemption_id)
    RETURNING o.order_id, o.contract_id, o.kind, o.cheque_id, o.redemption_id, o.state, o.reason, NULL AS number,
              (SELECT operator FROM contract WHERE contract.contract_id = o.contract_id) AS operator
""")

_REFUSE = sa.text("""
    UPDATE operator_order SET state = 'refused', reason = :reason, settled_at = clock_timestamp()
    WHERE order_id = ANY(:orders) AND state || '' = ANY(:before)
    RETURNING order_id, contract_id, cheque_id, redemption_id
""")

_MARK_SENT = sa.text("""
    UPDATE operator_order SET state = 'sent', sent_at = clock_timestamp(), sent_by = :lease, attempts = attempts + 1,
                              reason = NULL
    WHERE order_id = ANY(:orders) AND state || '' = 'pending'
""")

_SEND_AGAIN = sa.text("""
    UPDATE operator_order SET state = 'pending', reason = :reason, settled_at = NULL,
                              next_attempt_at = clock_timestamp()
        + make_interval(secs => least(:longest_wait, power(2, least(attempts, 10) - 1)) * (0.5 + random()))
    WHERE order_id = ANY(:orders) AND state || '' = :state
""")

_MARK_UNKNOWN = sa.text("""
    UPDATE operator_order o SET state = 'unknown', lost = lost + CAST(o.state = 'sent' AS integer), reason = r.reason
    FROM unnest(CAST(:orders AS uuid[]), CAST(:reasons AS text[])) AS r (order_id, reason)
    WHERE o.order_id = r.order_id AND o.state || '' = ANY(:before)
""")

# Rows that are being settled just now are left for the next tick rather than waited for.
_HOLD = sa.text("""
    WITH waiting AS (
        SELECT order_id, held_reason FROM operator_order JOIN contract USING (contract_id)
        WHERE contract_id = ANY(:contracts) AND operator_order.state = 'pending' AND held_at IS NOT NULL
        FOR UPDATE OF operator_order SKIP LOCKED
    )
    UPDATE operator_order SET state = 'held', reason = waiting.held_reason
    FROM waiting WHERE operator_order.order_id = waiting.order_id
""")

_CHANGE_REASON = sa.text("UPDATE operator_order SET reason = :reason WHERE contract_id = :contract AND state = 'held'")

_RELEASE = sa.text("""
    UPDATE operator_order SET state = 'pending', reason = NULL, next_attempt_at = clock_timestamp()
    WHERE contract_id = :contract AND state = 'held'
""")

_NOTE = sa.text("""
    UPDATE operator_order SET lost = 0,
        details = jsonb_set(details, ARRAY[CAST(:name AS text)],
                            coalesce(details -> :name, '[]') || CAST(:note AS jsonb))
    WHERE order_id = ANY(:orders)
""").bindparams(sa.bindparam("note", type_=sa.JSON))


def settle(session: Session, operator: str, receipts: Iterable[Receipt]) -> int:
    """Settles an operator's orders by their receipts, with all that follows; returns how many were unsettled before.

    Receipts for references that are not ours are ignored.
    """
    ours = [(order_id, receipt) for receipt in receipts if (order_id := _order_id(receipt.reference))]
    number = 0
    for outcome in ("accepted", "refused"):
        chosen = {order_id: receipt for order_id, receipt in ours if receipt.outcome == outcome}
        if chosen:
            params = {
                "operator": operator,
                "state": outcome,
                "before": ORDER.before(outcome),
                "references": list(chosen),
                "reasons": [receipt.reason and cheque_code.mask(receipt.reason) for receipt in chosen.values()],
                "numbers": [receipt.number for receipt in chosen.values()],
            }
            settled = session.execute(_SETTLE, params).mappings().all()
            _follow(session, settled)
            number += len(settled)
    return number


def withdraw(
    session: Session, subjects: Sequence[tuple[UUID, UUID | None, UUID | None]], reason: str
) -> Sequence[Settled]:
    """Refuses orders that were not sent yet, by contract, cheque and redemption (None for all of the cheque)."""
    contracts, cheques, redemptions = ([subject[at] for subject in subjects] for at in range(3))
    params = {"contracts": contracts, "cheques": cheques, "redemptions": redemptions, "reason": reason}
    return session.execute(_WITHDRAW, params).mappings().all()


def refuse(
    session: Session, orders: Sequence[UUID], reason: str, states: Sequence[str] = UNSENT
) -> Sequence[sa.RowMapping]:
    """Refuses those of the orders that are in these states, with nothing that follows; returns them."""
    params = {"orders": list(orders), "reason": reason, "before": list(states)}
    return session.execute(_REFUSE, params).mappings().all()


def mark_sent(session: Session, orders: Sequence[UUID], lease: int) -> None:
    """Marks pending orders as sent by the worker that holds a lease."""
    session.execute(_MARK_SENT, {"orders": list(orders), "lease": lease})


def send_again(session: Session, orders: Sequence[UUID], reason: str, state: str, longest_wait: float = 0.0) -> None:
    """Makes orders in a state pending again.

    They are sent at once, or after half a second that doubles with each attempt up to about `longest_wait` seconds.
    """
    params = {"orders": list(orders), "reason": reason, "state": state, "longest_wait": longest_wait}
    session.execute(_SEND_AGAIN, params)


def mark_unknown(session: Session, reasons: Mapping[UUID, str], states: Sequence[str] = ("sent",)) -> None:
    """Marks orders in these states as unknown, with the reason of each; one that was sent got no answer once more."""
    if reasons:
        params = {"orders": list(reasons), "reasons": list(map(cheque_code.mask, reasons.values()))}
        session.execute(_MARK_UNKNOWN, {**params, "before": list(states)})


def hold(session: Session, contracts: Sequence[UUID]) -> None:
    """Marks the pending orders of held contracts as held."""
    session.execute(_HOLD, {"contracts": list(contracts)})


def change_held_reason(session: Session, contract_id: UUID, reason: str) -> None:
    """Gives the held orders of a contract another reason."""
    session.execute(_CHANGE_REASON, {"contract": contract_id, "reason": reason})


def release(session: Session, contract_id: UUID) -> None:
    """Makes the held orders of a contract pending again."""
    session.execute(_RELEASE, {"contract": contract_id})


def note(session: Session, orders: Sequence[UUID], name: str, entry: Mapping[str, Any]) -> None:
    """Adds what a person decided to a list (`retries`, `vouched`) of orders, whose missing answers no longer count."""
    session.execute(_NOTE, {"orders": list(orders), "name": name, "note": entry})


def _order_id(reference: str) -> UUID | None:
    try:
        return UUID(reference)
    except ValueError:
        return None


def _follow(session: Session, settled: Iterable[Settled]) -> None:
    by_outcome: dict[tuple[str, str], list[Settled]] = {}
    for order in settled:
        by_outcome.setdefault((order["kind"], order["state"]), []).append(order)
    for what, consequence in CONSEQUENCES.items():
        if orders := by_outcome.get(what):
            consequence(session, orders)
            if what in VOIDED:
                subjects = [(order["contract_id"], order["cheque_id"], order["redemption_id"]) for order in orders]
                _follow(session, withdraw(session, subjects, VOIDED[what]))
