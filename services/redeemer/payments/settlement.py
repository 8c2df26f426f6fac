"""What the accountant's payments clear: which redemptions they pay, told to the other services.

A statement that comes to nothing or less is cleared without a payment, by what it takes back: an entry of 0 cents says
so (a set-off), once all that was stated to its structure until then is paid.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.payments import account_sql, payment_sql
from services.redeemer.transitions import REDEMPTION, before
from shared.eventlog import log
from shared.values import clock
from shared.values.ids import new_id

BY_ITSELF = "schedule"
_IDS_AN_EVENT = 1000
# A redemption that its operator refuses is not owed: what was paid for it is taken off the next statement.
_PAYABLE = [state for state in before(REDEMPTION, "paid") if state != "refused"]

_SETTLE, _HOLD = sa.text(payment_sql.SETTLE), sa.text(payment_sql.HOLD)
_WAITING, _SET_OFF = sa.text(account_sql.SET_OFF), sa.text(payment_sql.SET_OFF)


def settle(session: Session, statement_ids: Collection[UUID]) -> Sequence[Any]:
    """Marks what the payments of statements pay that was not paid yet; `tell_paid` tells of it."""
    return session.execute(_SETTLE, {"statements": sorted(statement_ids), "before": _PAYABLE}).all()


def set_off(session: Session) -> int:
    """Clears the statements that what they take back pays; says how many redemptions that is."""
    waiting = session.execute(_WAITING, {"before": _PAYABLE}).all()
    if not waiting:
        return 0
    session.execute(_HOLD, {"names": [row.name for row in waiting]})
    given = {
        "ids": [new_id() for _ in waiting],
        "statements": [row.id for row in waiting],
        "names": [row.name for row in waiting],
    }
    session.execute(_SET_OFF, {**given, "today": clock.today(), "by": BY_ITSELF, "now": clock.now()})
    settled = settle(session, given["statements"])
    tell_paid(session, settled)
    return len(settled)


def tell_paid(session: Session, rows: Iterable[Any]) -> None:
    """Tells of redemptions that were paid, by contract and payment."""
    log.append_many(session, "redemptions.paid", list(_told(rows)))


def tell_unpaid(session: Session, rows: Iterable[Any]) -> None:
    """Tells of redemptions that were told to be paid and are not, by contract and payment."""
    log.append_many(session, "redemptions.unpaid", list(_told(rows)))


def _told(rows: Iterable[Any]) -> Iterator[tuple[object, Mapping[str, Any]]]:
    def payment(row: Any) -> tuple[str, str, date]:
        return str(row.contract_id or ""), row.payment_reference, row.paid_on

    for (_, reference, paid_on), group in groupby(sorted(rows, key=payment), payment):
        paid = list(group)
        body = {"contract_id": paid[0].contract_id, "payment_reference": reference, "paid_on": paid_on}
        ids = sorted(row.id for row in paid)
        for at in range(0, len(ids), _IDS_AN_EVENT):
            yield paid[0].contract_id or reference, {**body, "redemption_ids": ids[at : at + _IDS_AN_EVENT]}
