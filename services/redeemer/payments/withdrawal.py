"""Withdrawing a typed payment that was a mistake: a counter-entry says so, and what it paid is open again.

Nothing is rewritten: payment and counter-entry both stay. What the statement's other payments cover is settled anew,
and what the operator paid as well is paid by that.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.payments import payment_sql, settlement
from services.redeemer.payments.models import PAYMENT, WITHDRAWAL, Payment
from services.redeemer.statements.models import Statement
from shared.database.lookup import get_or_404
from shared.problems import Conflict

_OPEN_AGAIN = sa.text(payment_sql.OPEN_AGAIN)
_PAID_BY_OPERATOR = sa.text(payment_sql.PAID_BY_OPERATOR)


def withdraw(session: Session, payment_id: UUID, reason: str, by: str) -> Payment:
    """Withdraws a payment and gives its counter-entry; once is enough, the same again gives the first.

    Raises NotFound, Conflict where the entry is not of money that went.
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
    _clear_anew(session, payment.statement_id)
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


def _clear_anew(session: Session, statement_id: UUID) -> None:
    """Opens what the statement's payments settled, settles it by what is left, and tells of what differs."""
    before = session.execute(_OPEN_AGAIN, {"statement": statement_id}).all()
    by_operator = session.execute(_PAID_BY_OPERATOR, {"ids": [row.id for row in before]}).all()
    after = [*by_operator, *settlement.settle(session, [statement_id])]
    settlement.publish_unpaid(session, _missing(before, after))
    settlement.publish_paid(session, _missing(after, before))


def _missing(rows: Iterable[Any], others: Sequence[Any]) -> list[Any]:
    """Those of the rows whose redemption the others do not have as paid by the same payment."""
    known = {(row.id, row.payment_id) for row in others}
    return [row for row in rows if (row.id, row.payment_id) not in known]
