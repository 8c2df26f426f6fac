"""Linking a programme to its contract that went live: in portions, each committed, from where the last one ended.

Whoever orders something else waits for one portion at most. A contract whose linking is not finished says where the
next portion begins (`Contract.linking_after`), so that any worker goes on after one that died.
"""

import time
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.orders import creating, deriving
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.transitions import WORKING
from shared.process.runtime import Runtime

BATCH_SIZE = 5_000
"""How many cheques one transaction links."""

_FIRST = UUID(int=0)

# The cheques of a programme that nobody has yet, and that somebody still has to know: to take them, or to pay for them.
_WITHOUT_OPERATOR = sa.text("""
    SELECT cheque_id FROM cheque
    WHERE programme = :programme AND cheque_id > :after
      AND (cheque.state = 'open' OR EXISTS (
            SELECT FROM redemption WHERE redemption.cheque_id = cheque.cheque_id
            AND redemption.contract_id IS NULL AND redemption.state = 'due'))
      AND NOT EXISTS (
            SELECT FROM link JOIN contract holder USING (contract_id)
            WHERE link.cheque_id = cheque.cheque_id AND link.state IN ('wanted', 'registered')
            AND holder.state = ANY(:working))
    ORDER BY cheque_id LIMIT :limit
""")


def begin(contract: Contract) -> None:
    """Has a contract that goes live take the cheques of its programme that no operator has."""
    contract.linking_after = _FIRST


def unfinished(session: Session) -> list[UUID]:
    """The contracts whose programmes are not linked to their end."""
    return list(session.scalars(sa.select(Contract.contract_id).where(Contract.linking_after.is_not(None))))


def link(runtime: Runtime, contract_id: UUID, seconds: float, batch_size: int = BATCH_SIZE) -> bool:
    """Links portion after portion for about so many seconds; returns whether the programme is linked to its end."""
    deadline = time.monotonic() + seconds
    while True:
        with runtime.transaction() as session:
            if not _link_portion(session, contract_id, batch_size):
                return True
        if time.monotonic() > deadline:
            return False


def _link_portion(session: Session, contract_id: UUID, batch_size: int) -> bool:
    """Links the next cheques and declares what is due on them; False where nothing is left, or all is another's."""
    creating.lock_orders(session)
    contract = contracts.find(session, contract_id, lock=True)
    if contract.linking_after is None:
        return False
    cheques = _next(session, contract, batch_size) if contract.state == "live" else []
    creating.register(session, cheques, contract_id)
    deriving.catch_up(session, cheques)
    contract.linking_after = cheques[-1] if cheques else None
    return bool(cheques)


def _next(session: Session, contract: Contract, batch_size: int) -> list[UUID]:
    params = {"programme": contract.programme, "after": contract.linking_after, "working": list(WORKING)}
    return list(session.scalars(_WITHOUT_OPERATOR, {**params, "limit": batch_size}))
