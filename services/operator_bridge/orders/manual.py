"""What people look up and decide of orders: to be sent again, or settled by their word; their note is kept.

An order without an outcome goes out under the reference that the operator has: whatever it did already, it does not do
twice. One that was refused gets a fresh reference, as operators answer a reference that they have as they did the first
time; what was refused stays in the register, and stays refused until the operator has accepted it after all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.interface import Receipt
from services.operator_bridge.orders import creating, deriving, outcomes
from services.operator_bridge.register.models import MAX_UNANSWERED, Contract, Order
from services.operator_bridge.register.transitions import LINK, UNSENT, WORKING
from shared.database.lookup import get_or_404
from shared.database.paging import page
from shared.observability.logs import logger
from shared.problems import Conflict
from shared.values import clock

_STUCK = sa.text("""
    SELECT order_id FROM operator_order JOIN contract USING (contract_id)
    WHERE contract.state = ANY(:working) AND contract.held_at IS NULL AND operator_order.state = 'unknown'
      AND lost >= :max AND contract_id = coalesce(:contract, contract_id)
    FOR UPDATE OF operator_order
""").bindparams(sa.bindparam("contract", type_=sa.Uuid))

_WANT_AGAIN = sa.text("""
    UPDATE link SET state = 'wanted', reason = NULL, changed_at = clock_timestamp()
    WHERE contract_id = :contract AND cheque_id = :cheque AND state = ANY(:before) AND NOT EXISTS (
        SELECT FROM link other JOIN contract USING (contract_id) WHERE other.cheque_id = :cheque
        AND other.contract_id <> :contract AND other.state IN ('wanted', 'registered') AND contract.state = 'live')
    RETURNING cheque_id
""")

# The redemptions of a cheque that were not declared as it was not registered.
_UNDECLARED = sa.text("""
    SELECT o.order_id FROM operator_order o JOIN redemption ON redemption.redemption_id = o.redemption_id
    WHERE redemption.cheque_id = :cheque AND o.contract_id = :contract AND o.kind = 'declare' AND o.state = 'refused'
      AND redemption.state = 'refused' AND redemption.reference = o.order_id::text
""")

_REFER = sa.text("""
    UPDATE redemption SET reference = CAST(:again AS text)
    WHERE redemption_id = :redemption AND contract_id = :contract AND state = 'refused'
      AND reference = CAST(:refused AS text) RETURNING redemption_id
""")

# What is to be sent again by a person's word was perhaps done the first time: no other operator gets it before that is
# settled.
_DOUBTFUL = sa.text("""
    SELECT order_id FROM operator_order
    WHERE contract_id = :contract AND state IN ('pending', 'held') AND details ? 'retries'
      AND NOT details -> 'retries' -> -1 ? 'of'
    FOR UPDATE
""")


def browse(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the orders of a state, a kind or a contract, stuck or not, oldest first."""
    equal = {name: query[name] for name in ("state", "kind", "contract_id", "stuck") if query[name] is not None}
    return page(session, sa.select(Order).filter_by(**equal), Order.order_id, query["after"], query["limit"])


def settle(session: Session, order_id: UUID, done: bool, asked_by: str, note: str) -> Order:
    """Settles an order without an outcome, as reported by a person who asked the operator by other means.

    Done, it is accepted with all that follows; not done, it is to be sent again, or goes to another operator in a
    switch. Raises NotFound; Conflict where it has an outcome, or is a registration that was done where the operator
    gave the cheque a number: without that it is of no use.
    """
    order = _locked(session, order_id)
    if order.state != "unknown":
        raise Conflict(f"This order is {order.state}: expected one whose outcome is unknown.", slug="not-unknown")
    operator = session.get_one(Contract, order.contract_id).operator
    if done and order.kind == "register" and lookup.adapter(operator).supplies_codes:
        raise Conflict("The operator gave the cheque a number, which only its answer tells: have it sent again.",
                       slug="number-unknown")  # fmt: skip
    reason = "done, by a person's word" if done else "not done, by a person's word"
    outcomes.note(session, [order_id], "vouched", _decision(asked_by, note) | {"done": done})
    if done:
        outcomes.settle(session, operator, [Receipt(str(order_id), "accepted", reason)])
    else:
        outcomes.send_again(session, [order_id], reason, "unknown")
    logger().info("order_vouched", order_id=str(order_id), done=done, by=asked_by)
    session.expire(order)
    return session.get_one(Order, order_id)


def retry(session: Session, order_id: UUID, asked_by: str, note: str) -> Order:
    """Sends an order again that has no outcome, or a registration or declaration that was refused.

    Returns the order that is sent: the same, or the one that follows the refused. Raises NotFound; Conflict where it is
    settled otherwise, or nothing is sent under its contract now, or what it was about is somebody else's now.
    """
    order = _locked(session, order_id)
    decision = _decision(asked_by, note)
    contract = session.get_one(Contract, order.contract_id)
    if contract.state not in WORKING or contract.held_at is not None:
        raise Conflict("Nothing is sent under the contract of this order, or not now.", slug="contract-silent")
    if order.state == "unknown":
        again = order_id
        _send_again(session, [order_id], decision)
    elif order.state == "refused" and order.kind in _AFTER_ALL:
        again = _AFTER_ALL[order.kind](session, order, decision)
    else:
        expected = "one whose outcome is unknown, or a registration or declaration that was refused"
        raise Conflict(f"This order is {order.kind} and {order.state}: {expected} is sent again.", slug="not-retried")
    logger().info("order_retried", order_id=str(order_id), again=str(again), by=asked_by)
    session.expire(order)
    return session.get_one(Order, again)


def retry_stuck(session: Session, asked_by: str, note: str, contract_id: UUID | None = None) -> int:
    """Sends all orders again that got no answer too often, of one contract or of all; returns how many."""
    params = {"contract": contract_id, "max": MAX_UNANSWERED, "working": list(WORKING)}
    stuck = session.scalars(_STUCK, params).all()
    _send_again(session, stuck, _decision(asked_by, note))
    logger().info("orders_retried", number=len(stuck), by=asked_by)
    return len(stuck)


def doubt(session: Session, contract_id: UUID) -> None:
    """Marks what a person wanted sent again, and was not yet, as unknown once more."""
    doubtful = session.scalars(_DOUBTFUL, {"contract": contract_id}).all()
    outcomes.mark_unknown(session, dict.fromkeys(doubtful, "it was to be sent again"), UNSENT)


def _locked(session: Session, order_id: UUID) -> Order:
    creating.lock_orders(session)
    return get_or_404(session, Order, order_id, "There is no such order.", lock=True)


def _decision(asked_by: str, note: str) -> dict[str, Any]:
    return {"by": asked_by, "note": note, "at": clock.now().isoformat()}


def _send_again(session: Session, orders: Sequence[UUID], decision: Mapping[str, Any]) -> None:
    outcomes.note(session, orders, "retries", decision)
    outcomes.send_again(session, orders, "sent again by a person", "unknown")


def _register(session: Session, order: Order, decision: Mapping[str, Any]) -> UUID:
    params = {"contract": order.contract_id, "cheque": order.cheque_id}
    wanted = session.scalars(_WANT_AGAIN, {**params, "before": LINK.before("wanted")}).all()
    if not wanted:
        raise Conflict("The cheque is not refused by this operator any more, or another has it.", slug="not-retried")
    again = creating.repeat(session, order.order_id, decision)
    for undeclared in session.scalars(_UNDECLARED, params).all():
        _declare(session, session.get_one(Order, undeclared), decision)
    deriving.catch_up(session, wanted)
    return again


def _declare(session: Session, order: Order, decision: Mapping[str, Any]) -> UUID:
    again = creating.repeat(session, order.order_id, decision)
    params = {"again": str(again), "refused": str(order.order_id), "redemption": order.redemption_id}
    if not session.scalar(_REFER, {**params, "contract": order.contract_id}):
        raise Conflict("The redemption is not refused by this operator any more.", slug="not-retried")
    return again


_AFTER_ALL: Mapping[str, Callable[[Session, Order, Mapping[str, Any]], UUID]] = {
    "register": _register,
    "declare": _declare,
}
