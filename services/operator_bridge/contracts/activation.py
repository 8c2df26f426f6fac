"""Activating cheques with an operator that lets them be spent only once it knows that they were paid for."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.orders import creating
from services.operator_bridge.orders.creating import NewOrder
from services.operator_bridge.register import contracts
from services.operator_bridge.register.transitions import UNFINISHED
from shared.problems import Conflict

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


def activate(session: Session, contract_id: UUID, payment_order: str, cheques: Sequence[UUID] | None = None) -> int:
    """Orders the activation of those of the cheques, or of all, that are not active yet; says how many that are.

    `payment_order` is the number of the payment order (mandat) that paid for them. The order follows the registration,
    if that is still on its way. Raises NotFound, or Conflict where the operator needs no activation.
    """
    creating.lock_orders(session)
    contract = contracts.find(session, contract_id)
    if not lookup.adapter(contract.operator).activates:
        raise Conflict("Cheques need no activation with this operator.", slug="needs-no-activation")
    chosen = None if cheques is None else list(cheques)
    params = {"contract": contract_id, "unfinished": list(UNFINISHED), "cheques": chosen}
    details = {"payment_order": payment_order}
    orders = [NewOrder(contract_id, details, cheque_id) for cheque_id in session.scalars(_INACTIVE, params)]
    creating.create(session, "activate", orders)
    return len(orders)
