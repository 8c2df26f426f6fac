"""Planned stops: while a contract is held nothing is sent under it, and nothing is lost.

Issuing and redeeming go on, and what an operator has to be told of them is kept: its orders are `held` with the
reason, in their order. What was on its way when the stop was made is still answered or settled by the statement.
What the operator says is heard as ever. A stop ends when somebody ends it, by the orders being sent.
"""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.orders import outcomes
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.transitions import CONTRACT
from shared.database.lookup import get_or_404
from shared.observability.logs import logger
from shared.problems import Conflict
from shared.values import clock

_HELD = sa.text("SELECT contract_id FROM contract WHERE held_at IS NOT NULL FOR SHARE SKIP LOCKED")


def hold(session: Session, contract_id: UUID, reason: str) -> Contract:
    """Has nothing more sent under a contract; said again, it changes the reason.

    Raises NotFound, or Conflict where the contract has ended and nothing is sent under it anyway.
    """
    contract = _locked(session, contract_id)
    if not CONTRACT[contract.state]:
        raise Conflict(f"A contract that has {contract.state} is sent nothing.", slug="contract-over")
    contract.held_at = contract.held_at or clock.now()
    contract.held_reason = reason
    session.flush()
    outcomes.change_held_reason(session, contract_id, reason)
    outcomes.hold(session, [contract_id])
    logger().warning("contract_held", contract=contract.code, reason=reason)
    return contract


def release(session: Session, contract_id: UUID) -> Contract:
    """Has what was held sent; a contract that is not held is left as it is. Raises NotFound."""
    contract = _locked(session, contract_id)
    if contract.held_at is not None:
        contract.held_at = contract.held_reason = None
        session.flush()
        outcomes.release(session, contract_id)
        logger().info("contract_released", contract=contract.code)
    return contract


def hold_new(session: Session) -> None:
    """Has the orders that came since a planned stop was made shown as held too; they were not sent in any case."""
    held = session.scalars(_HELD).all()
    if held:
        outcomes.hold(session, held)


def _locked(session: Session, contract_id: UUID) -> Contract:
    return get_or_404(session, Contract, contract_id, "There is no such contract.", lock=True)
