"""Withdrawing a payment that was typed by mistake: a counter-entry cancels it, and what it paid is unpaid again.

Nothing is rewritten: payment and counter-entry both stay. What the statement's other payments cover is settled again,
and redemptions that the operator paid as well are settled by the operator's payment.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.payments import payment_sql, settlement
from services.redeemer.payments.models import PAYMENT, WITHDRAWAL, Payment
from services.redeemer.statements.models import Statement
from shared.database import paging
from shared.database.lookup import get_or_404
from shared.problems import Conflict

_REOPEN = sa.text(payment_sql.REOPEN)
_PAID_BY_OPERATOR = sa.text(payment_sql.PAID_BY_OPERATOR)


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
    # As who takes a file in does: withdrawals and files of one statement follow each other.
    session.execute(sa.select(Statement.id).where(Statement.id == payment.statement_id).with_for_update())
    earlier = session.scalar(sa.select(Payment).where(Payment.withdraws == payment_id))
    if earlier is not None:
        return earlier
    entry = _counter_entry(payment, reason, by)
    session.add(entry)
    session.flush()
    _settle_anew(session, payment.statement_id)
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


def _settle_anew(session: Session, statement_id: UUID) -> None:
    """Reopens what the statement's payments settled, settles it by what is left, and publishes the differences."""
    before = session.execute(_REOPEN, {"statement": statement_id}).all()
    by_operator = session.execute(_PAID_BY_OPERATOR, {"ids": [row.id for row in before]}).all()
    after = [*by_operator, *settlement.settle(session, [statement_id])]
    settlement.publish_unpaid(session, _missing(before, after))
    settlement.publish_paid(session, _missing(after, before))


def _missing(rows: Iterable[Any], others: Sequence[Any]) -> list[Any]:
    """The rows whose redemption is not paid by the same payment among the others."""
    paid = {(row.id, row.payment_id) for row in others}
    return [row for row in rows if (row.id, row.payment_id) not in paid]
