"""What follows from the outcome of an order: links and redemptions change, and events are published."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.register import discrepancies
from services.operator_bridge.register.transitions import LINK, REDEMPTION
from shared.database import engine
from shared.eventlog import log

Settled = sa.RowMapping
"""An order that was settled just now, with its operator and the number that it gave the cheque."""
_ByContract = Iterable[tuple[UUID, list[Settled]]]

_MOVE_LINKS = sa.text("""
    UPDATE link SET state = :state, reason = coalesce(r.reason, link.reason), number = coalesce(r.number, link.number),
                    changed_at = clock_timestamp()
    FROM unnest(CAST(:contract_id AS uuid[]), CAST(:cheque_id AS uuid[]), CAST(:reason AS text[]),
                CAST(:number AS text[])) AS r (contract_id, cheque_id, reason, number)
    WHERE link.contract_id = r.contract_id AND link.cheque_id = r.cheque_id AND link.state || '' = ANY(:before)
    RETURNING link.contract_id, link.cheque_id, link.reason
""")

_KEEP_NUMBERS = sa.text("""
    UPDATE link SET number = r.number
    FROM unnest(CAST(:contract_id AS uuid[]), CAST(:cheque_id AS uuid[]), CAST(:number AS text[]))
         AS r (contract_id, cheque_id, number)
    WHERE link.contract_id = r.contract_id AND link.cheque_id = r.cheque_id AND r.number IS NOT NULL
""")

_MOVE_REDEMPTIONS = sa.text("""
    UPDATE redemption SET state = :state
    FROM unnest(CAST(:contract_id AS uuid[]), CAST(:redemption_id AS uuid[]), CAST(:reason AS text[]))
         AS r (contract_id, redemption_id, reason)
    WHERE redemption.redemption_id = r.redemption_id AND redemption.contract_id = r.contract_id
      AND redemption.state = ANY(:before)
    RETURNING r.contract_id, r.redemption_id, r.reason
""")


def _taken_in(session: Session, orders: Sequence[Settled]) -> None:
    """Links are registered at once, or once they are activated where the operator needs that."""
    waiting = [order for order in orders if lookup.adapter(order["operator"]).activates]
    _registered(session, [order for order in orders if not lookup.adapter(order["operator"]).activates])
    if waiting:
        session.execute(_KEEP_NUMBERS, engine.columns(("contract_id", "cheque_id", "number"), waiting))


def _registered(session: Session, orders: Sequence[Settled]) -> None:
    for contract_id, links in _by_contract(move_links(session, "registered", orders)):
        body = {"contract_id": contract_id, "cheque_ids": [link["cheque_id"] for link in links]}
        log.append(session, "cheques.registered", contract_id, body)


def _not_registered(session: Session, orders: Sequence[Settled]) -> None:
    for contract_id, links in _by_contract(move_links(session, "refused", orders)):
        body = {"contract_id": contract_id, "cheques": _with_reasons("cheque_id", links)}
        log.append(session, "cheques.refused", contract_id, body)


def _declared(session: Session, orders: Sequence[Settled]) -> None:
    for contract_id, moved in _move_redemptions(session, "confirmed", orders):
        body = {"contract_id": contract_id, "redemption_ids": [redemption["redemption_id"] for redemption in moved]}
        log.append(session, "redemptions.confirmed", contract_id, body)


def _not_declared(session: Session, orders: Sequence[Settled]) -> None:
    for contract_id, moved in _move_redemptions(session, "refused", orders):
        body = {"contract_id": contract_id, "redemptions": _with_reasons("redemption_id", moved)}
        log.append(session, "redemptions.refused", contract_id, body)


def _cancelled(session: Session, orders: Sequence[Settled]) -> None:
    move_links(session, "closed", orders)


def _disputed(session: Session, orders: Sequence[Settled]) -> None:
    """A cheque that we reversed or cancelled has another state with the operator: a person has to look."""
    differences = [
        discrepancies.found(
            order["operator"], "status_differs", str(order["order_id"]),
            contract_id=order["contract_id"], cheque_id=order["cheque_id"],
            ours={"ordered": order["kind"]}, theirs={"refused": order["reason"] or "refused"},
        )
        for order in orders
    ]  # fmt: skip
    discrepancies.record(session, differences)


def move_links(
    session: Session, state: str, links: Sequence[Mapping[Any, Any]], before: Sequence[str] | None = None
) -> Sequence[Settled]:
    """Takes links, by contract and cheque, to a state that may follow theirs, or from those of `before` alone.

    With the operator's `reason` and `number` where there are any. Returns the links that it took.
    """
    params = {
        "state": state,
        "before": before or LINK.before(state),
        **engine.columns(("contract_id", "cheque_id"), links),
        "reason": [link.get("reason") for link in links],
        "number": [link.get("number") for link in links],
    }
    return session.execute(_MOVE_LINKS, params).mappings().all()


def _move_redemptions(session: Session, state: str, orders: Sequence[Settled]) -> _ByContract:
    columns = engine.columns(("contract_id", "redemption_id", "reason"), orders)
    params = {"state": state, "before": REDEMPTION.before(state), **columns}
    return _by_contract(session.execute(_MOVE_REDEMPTIONS, params).mappings())


def _by_contract(rows: Iterable[Settled]) -> _ByContract:
    found: dict[UUID, list[Settled]] = {}
    for row in rows:
        found.setdefault(row["contract_id"], []).append(row)
    return found.items()


def _with_reasons(name: str, rows: Sequence[Settled]) -> list[dict[str, Any]]:
    return [{name: row[name], "reason": row["reason"] or "refused"} for row in rows]


CONSEQUENCES: Mapping[tuple[str, str], Callable[[Session, Sequence[Settled]], None]] = {
    ("register", "accepted"): _taken_in,
    ("activate", "accepted"): _registered,
    ("register", "refused"): _not_registered,
    ("declare", "accepted"): _declared,
    ("declare", "refused"): _not_declared,
    ("cancel", "accepted"): _cancelled,
    ("cancel", "refused"): _disputed,
    ("reverse", "refused"): _disputed,
}
"""The consequences of the settled orders of a kind, in the order of their execution."""

VOIDED: Mapping[tuple[str, str], str] = {
    ("register", "refused"): "cheque-not-registered",
    ("declare", "refused"): "redemption-not-declared",
}
"""Why the orders that were to follow an order are not sent, where it is refused."""
