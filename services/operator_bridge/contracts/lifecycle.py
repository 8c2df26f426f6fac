"""Contracts with operators: draft → live → draining → ended or failed."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge import interface
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.contracts import linking
from services.operator_bridge.orders import creating
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.transitions import CONTRACT, UNFINISHED
from shared.database.paging import page
from shared.eventlog import log
from shared.problems import Conflict, Invalid
from shared.settings.settings import ConfigurationError
from shared.values import clock

_LEFT = sa.text("""
    SELECT
        (SELECT count(*) FROM operator_order WHERE contract_id = :contract AND state = ANY(:unfinished)) AS orders,
        (SELECT count(*) FROM redemption
         WHERE contract_id = :contract AND state IN ('due', 'confirmed')) AS redemptions
""")


def create(session: Session, payload: Mapping[str, Any]) -> Contract:
    """Drafts a contract; raises Invalid where there is no such operator, Conflict where its code is taken."""
    _adapter(payload["operator"])
    if session.scalar(sa.select(Contract.contract_id).where(Contract.code == payload["code"])):
        raise Conflict("There is a contract of this code already.", slug="contract-exists")
    contract = Contract(**payload)
    session.add(contract)
    tell(session, contract)
    return contract


def browse(session: Session, after: UUID | None, limit: int) -> dict[str, Any]:
    """A page of all contracts, oldest first."""
    return page(session, sa.select(Contract), Contract.contract_id, after, limit)


def change(
    session: Session, settings: Mapping[str, str], contract_id: UUID, state: str, *, link: bool = True
) -> Contract:
    """Takes a contract to another state; going live begins to link the cheques of its programme (`linking`).

    Not so without `link`: a switch links them itself, part by part.
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
    tell(session, contract)
    return contract


def _require_settled(session: Session, contract_id: UUID) -> None:
    """An end leaves nothing behind: whatever an operator has still to do is done, or the contract has failed."""
    left = session.execute(_LEFT, {"contract": contract_id, "unfinished": list(UNFINISHED)}).one()
    if left.orders or left.redemptions:
        detail = f"{left.orders} orders have no outcome yet and {left.redemptions} redemptions are not paid."
        raise Conflict(detail, slug="contract-not-settled", orders=left.orders, redemptions=left.redemptions)


def tell(session: Session, contract: Contract) -> None:
    """Tells the others of a contract as it stands."""
    session.flush()
    names = ("contract_id", "code", "operator", "programme", "state", "starts_on", "ends_on", "succeeds")
    body = {name: getattr(contract, name) for name in names}
    log.append(session, "contract.changed", contract.contract_id, body)


def _adapter(code: str) -> type[interface.Operator]:
    try:
        return lookup.adapter(code)
    except interface.UnknownOperator as error:
        raise Invalid(str(error), slug="unknown-operator") from None


def require_settings(code: str, settings: Mapping[str, str]) -> None:
    """Raises Conflict where an operator cannot be reached for want of settings."""
    try:
        lookup.connect(code, settings)
    except ConfigurationError as error:
        raise Conflict(str(error), slug="operator-not-configured") from None
