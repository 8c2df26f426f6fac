"""A person's word on what became of an order, where the operator does not say it, or cannot be asked.

Whoever gives it has asked the operator by other means. Done, the order is accepted with all that follows; not done, it
is to be sent again, or goes to another operator in a switch.
"""

from uuid import UUID

from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.interface import Receipt
from services.operator_bridge.orders import creating, outcomes
from services.operator_bridge.register.models import Contract, Order
from shared.database.lookup import get_or_404
from shared.observability.logs import logger
from shared.problems import Conflict
from shared.values import clock


def record(session: Session, order_id: UUID, done: bool, asked_by: str, note: str) -> Order:
    """Settles an order without an outcome by a person's word. Raises NotFound; Conflict where it has an outcome.

    Conflict too for a registration that was done where the operator gave it a number: without that it is of no use.
    """
    creating.lock_orders(session)
    order = get_or_404(session, Order, order_id, "There is no such order.", lock=True)
    if order.state != "unknown":
        raise Conflict(f"This order is {order.state}: expected one whose outcome is unknown.", slug="not-unknown")
    operator = session.get_one(Contract, order.contract_id).operator
    if done and order.kind == "register" and lookup.adapter(operator).supplies_codes:
        raise Conflict("The operator gave the cheque a number, which only its answer tells: have it sent again.",
                       slug="number-unknown")  # fmt: skip
    reason = "done, by a person's word" if done else "not done, by a person's word"
    decision = {"by": asked_by, "note": note, "at": clock.now().isoformat(), "done": done}
    outcomes.note(session, [order_id], "vouched", decision)
    if done:
        outcomes.settle(session, operator, [Receipt(str(order_id), "accepted", reason)])
    else:
        outcomes.send_again(session, [order_id], reason, "unknown")
    logger().info("order_vouched", order_id=str(order_id), done=done, by=asked_by)
    session.expire(order)
    return session.get_one(Order, order_id)
