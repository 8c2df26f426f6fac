"""Which cheques a contract has: a programme's when it goes live, adopted ones, and their activation.

Cheques are linked batch by batch, each in a transaction, so that whoever orders something else waits for one batch at
most. A contract whose programme is not linked to its end says where the next batch begins (`Contract.linking_after`),
so that any worker goes on after one that died.
"""

import time
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.orders import creating, deriving
from services.operator_bridge.orders.creating import NewOrder
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.transitions import UNFINISHED, WORKING
from shared.problems import Conflict
from shared.process.runtime import Runtime

BATCH_SIZE = 5_000
"""How many cheques one transaction links."""

_FIRST = UUID(int=0)

_HAS_OPERATOR = """EXISTS (
    SELECT FROM link JOIN contract USING (contract_id)
    WHERE link.cheque_id = cheque.cheque_id AND link.state IN ('wanted', 'registered')
      AND contract.state = ANY(:working))
"""

# The cheques of a programme that nobody has yet, and that somebody still has to know: to take them, or to pay for them.
_WITHOUT_OPERATOR = sa.text(f"""
    SELECT cheque_id FROM cheque
    WHERE programme = :programme AND cheque_id > :after
      AND (cheque.state = 'open' OR EXISTS (
            SELECT FROM redemption WHERE redemption.cheque_id = cheque.cheque_id
            AND redemption.contract_id IS NULL AND redemption.state = 'due'))
      AND NOT {_HAS_OPERATOR}
    ORDER BY cheque_id LIMIT :limit
""")  # noqa: S608 (SQL of this module)

# Nobody has it, one refused it or gave it up as the accountant seemed to have paid; and it can be spent, or it was and
# that was neither paid nor judged by an operator. The reference of a redemption at our till is the order that declared
# it.
_ORPHANS = f"""
    FROM cheque WHERE EXISTS (
            SELECT FROM link WHERE link.cheque_id = cheque.cheque_id
            AND (link.state = 'refused' OR link.state = 'closed' AND cheque.state = 'redeemed'))
      AND NOT {_HAS_OPERATOR}
      AND (cheque.state = 'open' OR EXISTS (
            SELECT FROM redemption WHERE redemption.cheque_id = cheque.cheque_id AND (
                redemption.state = 'due' AND redemption.contract_id IS NULL
                OR redemption.state = 'refused' AND EXISTS (
                    SELECT FROM operator_order o WHERE o.reason = 'cheque-not-registered'
                    AND o.order_id = CASE redemption.via WHEN 'till' THEN CAST(redemption.reference AS uuid) END))))
"""  # noqa: S608 (as above)

_SUMS = sa.text(f"""
    SELECT programme, state, count(*) AS number, sum(value_cents) AS cents {_ORPHANS}
    GROUP BY programme, state ORDER BY programme, state
""")

_ADOPTABLE = sa.text(f"""
    SELECT cheque_id {_ORPHANS} AND programme = :programme AND NOT EXISTS (
        SELECT FROM link WHERE link.cheque_id = cheque.cheque_id AND link.contract_id = :contract)
    ORDER BY cheque_id LIMIT :limit
""")  # noqa: S608 (as above)

_NEVER_JUDGED = sa.text("""
    UPDATE redemption SET contract_id = :contract, reference = NULL
    FROM operator_order o
    WHERE redemption.cheque_id = ANY(:cheques) AND redemption.state = 'refused'
      AND o.order_id = CASE redemption.via WHEN 'till' THEN CAST(redemption.reference AS uuid) END
      AND o.reason = 'cheque-not-registered'
    RETURNING redemption.redemption_id
""")

# An activation that was refused may be ordered again, with another number.
_INACTIVE = sa.text("""
    SELECT cheque_id FROM link
    WHERE contract_id = :contract AND state = 'wanted'
      AND (CAST(:cheques AS uuid[]) IS NULL OR cheque_id = ANY(:cheques))
      AND NOT EXISTS (
            SELECT FROM operator_order o WHERE o.contract_id = link.contract_id AND o.cheque_id = link.cheque_id
            AND o.kind = 'activate' AND o.state = ANY(:unfinished))
    ORDER BY cheque_id
""")


def begin(contract: Contract) -> None:
    """Makes workers link the cheques of a contract's programme that no operator has."""
    contract.linking_after = _FIRST


def unfinished(session: Session) -> Sequence[UUID]:
    """The contracts whose programmes are not linked to their end."""
    return session.scalars(sa.select(Contract.contract_id).where(Contract.linking_after.is_not(None))).all()


def link(runtime: Runtime, contract_id: UUID, seconds: float, batch_size: int = BATCH_SIZE) -> bool:
    """Links batch after batch for about so many seconds; returns whether the programme is linked to its end."""
    deadline = time.monotonic() + seconds
    while True:
        with runtime.transaction() as session:
            if not _link_batch(session, contract_id, batch_size):
                return True
        if time.monotonic() > deadline:
            return False


def _link_batch(session: Session, contract_id: UUID, batch_size: int) -> bool:
    """Links the next cheques and declares what is due on them; False where nothing is left, or all is another's."""
    creating.lock_orders(session)
    contract = contracts.find(session, contract_id, lock=True)
    if contract.linking_after is None:
        return False
    params = {"programme": contract.programme, "after": contract.linking_after, "working": list(WORKING)}
    live = contract.state == "live"
    cheques = session.scalars(_WITHOUT_OPERATOR, {**params, "limit": batch_size}).all() if live else []
    creating.register(session, cheques, contract_id)
    deriving.catch_up(session, cheques)
    contract.linking_after = cheques[-1] if cheques else None
    return bool(cheques)


def orphans(session: Session) -> list[sa.RowMapping]:
    """The cheques that no operator has because one refused or gave them up: number and cents by programme and state."""
    return list(session.execute(_SUMS, {"working": list(WORKING)}).mappings())


def adopt(runtime: Runtime, contract_id: UUID, batch_size: int = BATCH_SIZE) -> int:
    """Links the orphans of a contract's programme to it, with what is due on them; returns how many cheques.

    Such as to a contract with the régie: otherwise nobody would pay what is due. Batches that were committed stay
    where a later one fails. Raises NotFound; Conflict where nothing is sent under the contract.
    """
    adopted = 0
    while True:
        with runtime.transaction() as session:
            cheques = _adopt_batch(session, contract_id, batch_size)
        adopted += len(cheques)
        if len(cheques) < batch_size:
            return adopted


def _adopt_batch(session: Session, contract_id: UUID, batch_size: int) -> Sequence[UUID]:
    creating.lock_orders(session)
    contract = contracts.find(session, contract_id)
    if contract.state not in WORKING:
        raise Conflict(f"A contract that is {contract.state} takes no cheques.", slug="illegal-transition")
    params = {"contract": contract_id, "programme": contract.programme, "working": list(WORKING), "limit": batch_size}
    cheques = session.scalars(_ADOPTABLE, params).all()
    creating.register(session, cheques, contract_id)
    never_judged = session.scalars(_NEVER_JUDGED, {"contract": contract_id, "cheques": cheques}).all()
    if "declare" in lookup.adapter(contract.operator).supported_orders:
        creating.declare(session, never_judged)
    deriving.catch_up(session, cheques)
    return cheques


def activate(session: Session, contract_id: UUID, payment_order: str, cheques: Sequence[UUID] | None = None) -> int:
    """Orders the activation of these cheques, or of all, that are not active yet; returns how many.

    `payment_order` is the number of the payment order (mandat) that paid for them. The order follows the registration,
    if that is still on its way. Raises NotFound, or Conflict where the operator needs no activation.
    """
    creating.lock_orders(session)
    contract = contracts.find(session, contract_id)
    if not lookup.adapter(contract.operator).activates:
        raise Conflict("Cheques need no activation with this operator.", slug="needs-no-activation")
    params = {"contract": contract_id, "unfinished": list(UNFINISHED), "cheques": cheques and list(cheques)}
    details = {"payment_order": payment_order}
    orders = [NewOrder(contract_id, details, cheque_id) for cheque_id in session.scalars(_INACTIVE, params)]
    creating.create(session, "activate", orders)
    return len(orders)
