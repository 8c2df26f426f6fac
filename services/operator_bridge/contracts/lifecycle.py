"""Contracts with operators: draft → live → draining → ended or failed, and planned stops.

While a contract is held nothing is sent under it, and nothing is lost: its orders are `held` with the reason, in their
order. What was on its way is still answered or settled by the statement, and the operator's messages are applied.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge import interface
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.contracts import linking
from services.operator_bridge.orders import creating, outcomes
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.transitions import CONTRACT, UNFINISHED
from shared.database.paging import page
from shared.eventlog import log
from shared.observability.logs import logger
from shared.problems import Conflict, Invalid
from shared.settings.settings import ConfigurationError
from shared.values import clock

_LEFT = sa.text("""
    SELECT
        (SELECT count(*) FROM operator_order WHERE contract_id = :contract AND state = ANY(:unfinished)) AS orders,
        (SELECT count(*) FROM redemption
         WHERE contract_id = :contract AND state IN ('due', 'confirmed')) AS redemptions
""")

_HELD = sa.text("SELECT contract_id FROM contract WHERE held_at IS NOT NULL FOR SHARE SKIP LOCKED")

_PUBLISHED = ("contract_id", "code", "operator", "programme", "state", "starts_on", "ends_on", "succeeds")


def create(session: Session, payload: Mapping[str, Any]) -> Contract:
    """Drafts a contract; raises Invalid where there is no such operator, Conflict where its code is taken."""
    try:
        lookup.adapter(payload["operator"])
    except interface.UnknownOperator as error:
        raise Invalid(str(error), slug="unknown-operator") from None
    if session.scalar(sa.select(Contract.contract_id).where(Contract.code == payload["code"])):
        raise Conflict("There is a contract of this code already.", slug="contract-exists")
    contract = Contract(**payload)
    session.add(contract)
    publish(session, contract)
    return contract


def browse(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of all contracts, oldest first."""
    return page(session, sa.select(Contract), Contract.contract_id, query["after"], query["limit"])


def change(
    session: Session, settings: Mapping[str, str], contract_id: UUID, state: str, *, link: bool = True
) -> Contract:
    """Takes a contract to another state; going live begins to link its programme, but for a switch, which does it.

    Raises Conflict where that state may not follow, or where the operator's settings are incomplete.
    """
    creating.lock_orders(session)
    contract = contracts.find(session, contract_id, lock=True)
    if contract.state == state:
        return contract
    if state not in CONTRACT[contract.state]:
        raise Conflict(f"A contract that is {contract.state} cannot become {state}.", slug="illegal-transition")
    if state == "ended":
        _require_settled(session, contract_id)
    contract.state = state
    if state == "live":
        require_settings(contract.operator, settings)
        contract.live_at = clock.now()
        session.flush()
        if link:
            linking.begin(contract)
    publish(session, contract)
    return contract


def _require_settled(session: Session, contract_id: UUID) -> None:
    """An end leaves nothing behind: whatever an operator has still to do is done, or the contract has failed."""
    left = session.execute(_LEFT, {"contract": contract_id, "unfinished": list(UNFINISHED)}).one()
    if left.orders or left.redemptions:
        detail = f"{left.orders} orders have no outcome yet and {left.redemptions} redemptions are not paid."
        raise Conflict(detail, slug="contract-not-settled", orders=left.orders, redemptions=left.redemptions)


def require_settings(code: str, settings: Mapping[str, str]) -> None:
    """Raises Conflict where an operator cannot be reached for want of settings."""
    try:
        lookup.connect(code, settings)
    except ConfigurationError as error:
        raise Conflict(str(error), slug="operator-not-configured") from None


def publish(session: Session, contract: Contract) -> None:
    """Publishes a contract as it stands."""
    session.flush()
    body = {name: getattr(contract, name) for name in _PUBLISHED}
    log.append(session, "contract.changed", contract.contract_id, body)


def hold(session: Session, contract_id: UUID, reason: str) -> Contract:
    """Stops sending under a contract, or changes the reason of a stop.

    Raises NotFound, or Conflict where the contract has ended and nothing is sent under it anyway.
    """
    contract = contracts.find(session, contract_id, lock=True)
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
    """Ends a planned stop: what was held is sent. A contract that is not held stays as it is. Raises NotFound."""
    contract = contracts.find(session, contract_id, lock=True)
    if contract.held_at is not None:
        contract.held_at = contract.held_reason = None
        session.flush()
        outcomes.release(session, contract_id)
        logger().info("contract_released", contract=contract.code)
    return contract


def hold_new(session: Session) -> None:
    """Marks the orders that came since a planned stop as held too; they were not sent in any case."""
    held = session.scalars(_HELD).all()
    if held:
        outcomes.hold(session, held)
