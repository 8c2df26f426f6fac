"""Redemptions that the accountant paid, by the redeemer's events: no operator has to pay them any more.

A declaration that waits to be sent is withdrawn where the operator would pay by it. Then no operator has the
redemption, and its cheque is cancelled with the operator, so that the operator's till no longer accepts it. A sent
declaration may be done: it stays as it is, and a payment for it is recognised as a repeated one.
"""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.orders import creating, deriving, outcomes
from services.operator_bridge.orders.creating import NewOrder
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.transitions import PAID_BY_ACCOUNTANT
from shared.database import engine

PAID = "paid-by-accountant"
WITHDRAWN = "payment-withdrawn"

# One that got no answer before may have been done.
_DECLARATIONS = sa.text("""
    SELECT o.order_id FROM redemption
    JOIN operator_order o
      ON o.order_id = CASE redemption.via WHEN 'till' THEN CAST(redemption.reference AS uuid) END
    WHERE redemption.redemption_id = ANY(:redemptions) AND redemption.state = 'due'
      AND redemption.contract_id = ANY(:contracts) AND o.state IN ('pending', 'held') AND o.lost = 0
    FOR UPDATE OF o
""")

_RELEASE = sa.text("""
    UPDATE redemption SET contract_id = NULL, reference = NULL WHERE redemption_id = ANY(:redemptions)
""")

_LINKS = sa.text("""
    SELECT contract_id, cheque_id FROM link
    JOIN unnest(CAST(:contract_id AS uuid[]), CAST(:cheque_id AS uuid[])) AS withdrawn (contract_id, cheque_id)
    USING (contract_id, cheque_id)
    WHERE state IN ('wanted', 'registered') AND contract_id = ANY(:supporting)
""")

_PAY = sa.text("""
    UPDATE redemption SET state = 'paid' WHERE redemption_id = ANY(:redemptions) AND state = ANY(:before)
""")

# What an operator paid as well stays paid; the rest an operator had accepted, or it is to be declared.
_OPEN = sa.text("""
    UPDATE redemption SET state = CASE
        WHEN via = 'operator' OR EXISTS (
            SELECT FROM operator_order o
            WHERE CAST(o.order_id AS text) = redemption.reference AND o.kind = 'declare' AND o.state = 'accepted'
        ) THEN 'confirmed' ELSE 'due' END
    WHERE redemption_id = ANY(:redemptions) AND state = 'paid'
      AND NOT EXISTS (SELECT FROM payment WHERE payment.redemption_id = redemption.redemption_id)
    RETURNING cheque_id, contract_id
""")

_CANCELLATIONS = sa.text("""
    SELECT order_id FROM operator_order
    WHERE cheque_id = ANY(:cheques) AND kind = 'cancel' AND details ->> 'reason' = :paid
      AND state IN ('pending', 'held') AND lost = 0
    FOR UPDATE
""")

# A cheque whose cancellation was sent cannot be declared there: another contract has to adopt it.
_KEPT = sa.text("""
    SELECT cheque_id FROM unnest(CAST(:cheques AS uuid[])) AS cheque_id
    WHERE NOT EXISTS (SELECT FROM operator_order o WHERE o.cheque_id = cheque_id AND o.kind = 'cancel'
                      AND o.details ->> 'reason' = :paid AND o.state <> 'refused')
""")


def pay(session: Session, redemptions: Sequence[UUID]) -> None:
    """Marks redemptions that the accountant paid, and withdraws those of their declarations that were not sent yet."""
    params = {"redemptions": list(redemptions), "contracts": _paying(session)}
    withdrawn = outcomes.refuse(session, session.scalars(_DECLARATIONS, params).all(), PAID)
    if withdrawn:
        session.execute(_RELEASE, {"redemptions": [order["redemption_id"] for order in withdrawn]})
        columns = engine.columns(("contract_id", "cheque_id"), withdrawn)
        links = session.execute(_LINKS, {**columns, "supporting": creating.supporting(session, "cancel")})
        orders = [NewOrder(contract, {"reason": PAID}, cheque) for contract, cheque in links]
        creating.create(session, "cancel", orders)
    session.execute(_PAY, {"redemptions": list(redemptions), "before": list(PAID_BY_ACCOUNTANT)})


def unpay(session: Session, redemptions: Sequence[UUID]) -> None:
    """Marks redemptions as to be paid that the accountant had only seemed to pay, and declares them again."""
    opened = session.execute(_OPEN, {"redemptions": list(redemptions)}).all()
    cheques = [row.cheque_id for row in opened if row.contract_id is None]
    if cheques:
        params = {"cheques": cheques, "paid": PAID}
        outcomes.refuse(session, session.scalars(_CANCELLATIONS, params).all(), WITHDRAWN)
        deriving.catch_up(session, session.scalars(_KEPT, params).all())


def _paying(session: Session) -> list[UUID]:
    """The contracts whose operators pay by themselves what is declared to them."""
    found = session.execute(sa.select(Contract.contract_id, Contract.operator))
    return [contract_id for contract_id, operator in found if not lookup.adapter(operator).paid_by_accountant]
