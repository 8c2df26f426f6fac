"""Settling orders: what an operator answered, at once, by message or on its statement, and all that follows from it.

One transaction settles all receipts of a batch, each thing in one statement. An order is settled once: whatever else
is said of it later takes no row.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.interface import Receipt
from services.operator_bridge.operators import lookup
from services.operator_bridge.register import discrepancies
from services.operator_bridge.register.transitions import LINK, ORDER, REDEMPTION, before
from shared.eventlog import log
from shared.values import cheque_code

Settled = sa.RowMapping
"""An order that was settled just now, with its operator and the number that it gave the cheque."""

# `state || ''`, as no index is to be taken for it: rows are found by the ids that are given. By statistics of before a
# switch next to nothing is unsettled, and all of what is would be read for each batch.
_SETTLE = sa.text("""
    UPDATE operator_order o SET state = :state, reason = r.reason, settled_at = clock_timestamp()
    FROM unnest(CAST(:references AS uuid[]), CAST(:reasons AS text[]), CAST(:numbers AS text[]))
         AS r (order_id, reason, number), contract
    WHERE o.order_id = r.order_id AND o.state || '' = ANY(:before)
      AND contract.contract_id = o.contract_id AND contract.operator = :operator
    RETURNING o.order_id, o.contract_id, o.kind, o.cheque_id, o.redemption_id, o.state, o.reason, r.number,
              contract.operator
""")

_MARK_UNANSWERED = sa.text("""
    UPDATE operator_order o SET state = 'unknown', lost = lost + 1, reason = r.reason
    FROM unnest(CAST(:orders AS uuid[]), CAST(:reasons AS text[])) AS r (order_id, reason)
    WHERE o.order_id = r.order_id AND o.state = 'sent'
""")

_MOVE_LINKS = sa.text("""
    UPDATE link SET state = :state, reason = r.reason, number = coalesce(r.number, link.number),
                    changed_at = clock_timestamp()
    FROM unnest(CAST(:contracts AS uuid[]), CAST(:cheques AS uuid[]), CAST(:reasons AS text[]),
                CAST(:numbers AS text[])) AS r (contract_id, cheque_id, reason, number)
    WHERE link.contract_id = r.contract_id AND link.cheque_id = r.cheque_id AND link.state || '' = ANY(:before)
    RETURNING link.contract_id, link.cheque_id, link.reason
""")

_KEEP_NUMBERS = sa.text("""
    UPDATE link SET number = r.number
    FROM unnest(CAST(:contract AS uuid[]), CAST(:cheque AS uuid[]), CAST(:numbers AS text[]))
         AS r (contract_id, cheque_id, number)
    WHERE link.contract_id = r.contract_id AND link.cheque_id = r.cheque_id AND r.number IS NOT NULL
""")

_MOVE_REDEMPTIONS = sa.text("""
    UPDATE redemption SET state = :state
    FROM unnest(CAST(:contracts AS uuid[]), CAST(:redemptions AS uuid[]), CAST(:reasons AS text[]))
         AS r (contract_id, redemption_id, reason)
    WHERE redemption.redemption_id = r.redemption_id AND redemption.contract_id = r.contract_id
      AND redemption.state = ANY(:before)
    RETURNING r.contract_id, r.redemption_id, r.reason
""")

# What was to follow an order that was refused has become void: it is never sent.
_VOID = sa.text("""
    UPDATE operator_order o SET state = 'refused', reason = :reason, settled_at = clock_timestamp()
    FROM unnest(CAST(:contracts AS uuid[]), CAST(:cheques AS uuid[]), CAST(:redemptions AS uuid[]))
         AS r (contract_id, cheque_id, redemption_id)
    WHERE o.contract_id = r.contract_id AND o.cheque_id = r.cheque_id AND o.state = ANY(:before)
      AND (r.redemption_id IS NULL OR o.redemption_id = r.redemption_id)
    RETURNING o.order_id, o.contract_id, o.kind, o.cheque_id, o.redemption_id, o.state, o.reason, NULL AS number,
              (SELECT operator FROM contract WHERE contract.contract_id = o.contract_id) AS operator
""")


def settle(session: Session, operator: str, receipts: Iterable[Receipt]) -> int:
    """Settles an operator's orders by their receipts, with all that follows; says how many were not settled before.

    A receipt for a reference that is none of ours is passed over.
    """
    given = [(order_id, receipt) for receipt in receipts if (order_id := _order_id(receipt.reference))]
    return sum(_settle(session, operator, outcome, given) for outcome in ("accepted", "refused"))


def mark_unanswered(session: Session, reasons: Mapping[UUID, str]) -> None:
    """Marks orders that were sent and got no answer, each with what went wrong."""
    if reasons:
        session.execute(
            _MARK_UNANSWERED, {"orders": list(reasons), "reasons": list(map(cheque_code.mask, reasons.values()))}
        )


def _order_id(reference: str) -> UUID | None:
    try:
        return UUID(reference)
    except ValueError:
        return None


def _settle(session: Session, operator: str, outcome: str, receipts: Iterable[tuple[UUID, Receipt]]) -> int:
    chosen = {order_id: receipt for order_id, receipt in receipts if receipt.outcome == outcome}
    if not chosen:
        return 0
    given = {
        "operator": operator,
        "state": outcome,
        "before": before(ORDER, outcome),
        "references": list(chosen),
        "reasons": [receipt.reason and cheque_code.mask(receipt.reason) for receipt in chosen.values()],
        "numbers": [receipt.number for receipt in chosen.values()],
    }
    settled = session.execute(_SETTLE, given).mappings().all()
    _follow(session, settled)
    return len(settled)


def _follow(session: Session, settled: Iterable[Settled]) -> None:
    concerned: dict[tuple[str, str], list[Settled]] = {}
    for order in settled:
        concerned.setdefault((order["kind"], order["state"]), []).append(order)
    for what, consequence in _CONSEQUENCES.items():
        if what in concerned:
            consequence(session, concerned[what])


def _taken_in(session: Session, orders: Sequence[Settled]) -> None:
    """Links are registered at once, or once they are activated where the operator needs that."""
    waiting = [order for order in orders if lookup.adapter(order["operator"]).activates]
    _registered(session, [order for order in orders if not lookup.adapter(order["operator"]).activates])
    if waiting:
        given = {name: _column(waiting, f"{name}_id") for name in ("contract", "cheque")}
        session.execute(_KEEP_NUMBERS, {**given, "numbers": _column(waiting, "number")})


def _registered(session: Session, orders: Sequence[Settled]) -> None:
    for contract_id, links in _by_contract(_move_links(session, "registered", orders)).items():
        body = {"contract_id": contract_id, "cheque_ids": [link["cheque_id"] for link in links]}
        log.append(session, "cheques.registered", contract_id, body)


def _not_registered(session: Session, orders: Sequence[Settled]) -> None:
    for contract_id, links in _by_contract(_move_links(session, "refused", orders)).items():
        cheques = [{"cheque_id": link["cheque_id"], "reason": link["reason"] or "refused"} for link in links]
        log.append(session, "cheques.refused", contract_id, {"contract_id": contract_id, "cheques": cheques})
    _void(session, orders, "cheque-not-registered")


def _declared(session: Session, orders: Sequence[Settled]) -> None:
    for contract_id, moved in _by_contract(_move_redemptions(session, "confirmed", orders)).items():
        ids = [redemption["redemption_id"] for redemption in moved]
        log.append(session, "redemptions.confirmed", contract_id, {"contract_id": contract_id, "redemption_ids": ids})


def _not_declared(session: Session, orders: Sequence[Settled]) -> None:
    for contract_id, moved in _by_contract(_move_redemptions(session, "refused", orders)).items():
        refused = [{"redemption_id": each["redemption_id"], "reason": each["reason"] or "refused"} for each in moved]
        log.append(session, "redemptions.refused", contract_id, {"contract_id": contract_id, "redemptions": refused})
    _void(session, orders, "redemption-not-declared")


def _cancelled(session: Session, orders: Sequence[Settled]) -> None:
    _move_links(session, "closed", orders)


def _disputed(session: Session, orders: Sequence[Settled]) -> None:
    """What we took back or cancelled stands otherwise with the operator: a person has to look."""
    differences = [
        discrepancies.found(
            order["operator"], "status_differs", str(order["order_id"]),
            contract_id=order["contract_id"], cheque_id=order["cheque_id"],
            ours={"ordered": order["kind"]}, theirs={"refused": order["reason"] or "refused"},
        )
        for order in orders
    ]  # fmt: skip
    discrepancies.record(session, differences)


_CONSEQUENCES: Mapping[tuple[str, str], Callable[[Session, Sequence[Settled]], None]] = {
    ("register", "accepted"): _taken_in,
    ("activate", "accepted"): _registered,
    ("register", "refused"): _not_registered,
    ("declare", "accepted"): _declared,
    ("declare", "refused"): _not_declared,
    ("cancel", "accepted"): _cancelled,
    ("cancel", "refused"): _disputed,
    ("reverse", "refused"): _disputed,
}


def _void(session: Session, orders: Sequence[Settled], reason: str) -> None:
    given = {
        "reason": reason,
        "before": ["pending", "held"],
        "contracts": _column(orders, "contract_id"),
        "cheques": _column(orders, "cheque_id"),
        "redemptions": _column(orders, "redemption_id"),
    }
    _follow(session, session.execute(_VOID, given).mappings().all())


def _move_links(session: Session, state: str, orders: Sequence[Settled]) -> Sequence[Settled]:
    given = {
        "state": state,
        "before": before(LINK, state),
        "contracts": _column(orders, "contract_id"),
        "cheques": _column(orders, "cheque_id"),
        "reasons": _column(orders, "reason"),
        "numbers": _column(orders, "number"),
    }
    return session.execute(_MOVE_LINKS, given).mappings().all()


def _move_redemptions(session: Session, state: str, orders: Sequence[Settled]) -> Sequence[Settled]:
    given = {
        "state": state,
        "before": before(REDEMPTION, state),
        "contracts": _column(orders, "contract_id"),
        "redemptions": _column(orders, "redemption_id"),
        "reasons": _column(orders, "reason"),
    }
    return session.execute(_MOVE_REDEMPTIONS, given).mappings().all()


def _column(rows: Sequence[Settled], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _by_contract(rows: Iterable[Settled]) -> dict[UUID, list[Settled]]:
    found: dict[UUID, list[Settled]] = {}
    for row in rows:
        found.setdefault(row["contract_id"], []).append(row)
    return found
