"""Payments as typed: listed, exported, and withdrawn where one was a mistake.

A counter-entry cancels a payment, and what it paid is unpaid again.
Nothing is rewritten: payment and counter-entry both stay. What the statement's other payments cover is settled again,
and redemptions that the operator paid as well are settled by the operator's payment.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.payments import settlement
from services.redeemer.payments.models import PAYMENT, WITHDRAWAL, Payment
from services.redeemer.statements.models import Statement
from shared.database import paging
from shared.database.lookup import get_or_404
from shared.problems import Conflict

# Every payment that the accountant typed, for `shared.files.csv_export.export_in_parts`.
REGISTER = """
    SELECT payment.id AS payment_id, statement.name AS statement, statement.structure_name, statement.siret,
           payment.amount_cents, payment.paid_on, payment.reference, payment.typed_by, payment.typed_at, payment.kind,
           payment.withdraws, payment.reason
    FROM payment JOIN statement ON statement.id = payment.statement_id
    WHERE payment.id > :after
      AND (CAST(:since AS date) IS NULL OR payment.paid_on >= :since)
      AND (CAST(:until AS date) IS NULL OR payment.paid_on <= :until)
    ORDER BY payment.id LIMIT :limit
"""


def page(session: Session, query: Mapping[str, Any], structure_id: UUID | None) -> dict[str, Any]:
    """One page of payments, of a statement where the query names one, and of one structure or of all."""
    found: sa.Select[Any] = sa.select(Payment)
    if query["statement_id"]:
        found = found.where(Payment.statement_id == query["statement_id"])
    if structure_id:
        own = sa.select(Statement.id).where(Statement.structure_id == structure_id)
        found = found.where(Payment.statement_id.in_(own))
    return paging.page(session, found, Payment.id, query["after"], query["limit"])


def withdraw(session: Session, payment_id: UUID, reason: str, by: str) -> Payment:
    """The counter-entry that withdraws a payment; withdrawing it twice gives the same one.

    Raises NotFound, or Conflict where the entry is not a payment.
    """
    payment = get_or_404(session, Payment, payment_id, "There is no payment of this id.")
    if payment.kind != PAYMENT:
        raise Conflict("Only a payment can be withdrawn.", slug="not-a-payment")
    settlement.lock_statements(session, [payment.statement_id])
    earlier = session.scalar(sa.select(Payment).where(Payment.withdraws == payment_id))
    if earlier is not None:
        return earlier
    entry = _counter_entry(payment, reason, by)
    session.add(entry)
    session.flush()
    settlement.settle_anew(session, payment.statement_id)
    return entry


def _counter_entry(payment: Payment, reason: str, by: str) -> Payment:
    return Payment(
        kind=WITHDRAWAL,
        statement_id=payment.statement_id,
        amount_cents=-payment.amount_cents,
        paid_on=payment.paid_on,
        reference=payment.reference,
        file_digest="",
        typed_by=by,
        withdraws=payment.id,
        reason=reason,
    )
