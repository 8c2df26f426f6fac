"""Settling redemptions by the accountant's payments, and publishing which of them are paid.

A statement that comes to nothing or less is settled without a payment, by its credits: an entry of 0 cents records
that (a set-off), once everything that was stated to its structure until then is paid.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.payments import account_sql, payment_sql
from services.redeemer.transitions import REDEMPTION
from shared.database import sql_files
from shared.eventlog import log
from shared.values import clock
from shared.values.ids import new_id

BY_ITSELF = "schedule"
_MAX_IDS = 1000  # in an event
BATCH_SIZE = 25
FIRST = UUID(int=0)
"""Comes before every statement."""

# A redemption that its operator refuses is not owed: what was paid for it is taken off the next statement.
_PAYABLE = [state for state in REDEMPTION.before("paid") if state != "refused"]

_SETTLE, _LOCK = sa.text(sql_files.load(__file__, "settle.sql")), sa.text(payment_sql.LOCK)
_COVERED_BY_CREDITS, _SET_OFF = sa.text(account_sql.SET_OFF), sa.text(payment_sql.SET_OFF)


def settle(session: Session, statement_ids: Collection[UUID]) -> Sequence[Any]:
    """The redemptions that the payments of these statements pay and that were not paid yet, marked as paid.

    The caller publishes them: `publish_paid`.
    """
    return session.execute(_SETTLE, {"statements": sorted(statement_ids), "before": _PAYABLE}).all()


def set_off_slice(session: Session, after: UUID) -> tuple[int, UUID | None]:
    """Settles the first statements behind a statement whose credits cover what is due.

    Gives the number of redemptions that were settled, and the last of these statements: None behind the last of all.
    """
    limits = {"before": _PAYABLE, "after": after, "limit": BATCH_SIZE}
    unpaid = session.execute(_COVERED_BY_CREDITS, limits).all()
    if not unpaid:
        return 0, None
    session.execute(_LOCK, {"names": [row.name for row in unpaid]})
    columns = {
        "ids": [new_id() for _ in unpaid],
        "statements": [row.id for row in unpaid],
        "names": [row.name for row in unpaid],
    }
    session.execute(_SET_OFF, {**columns, "today": clock.today(), "by": BY_ITSELF, "now": clock.now()})
    settled = settle(session, columns["statements"])
    publish_paid(session, settled)
    return len(settled), unpaid[-1].id


def set_off(session: Session) -> int:
    """Settles all statements whose credits cover what is due; gives the number of redemptions that were settled."""
    settled = 0
    after: UUID | None = FIRST
    while after is not None:
        number, after = set_off_slice(session, after)
        settled += number
    return settled


def publish_paid(session: Session, rows: Iterable[Any]) -> None:
    """Publishes redemptions as paid, an event for each contract and payment."""
    log.append_many(session, "redemptions.paid", list(_bodies(rows)))


def publish_unpaid(session: Session, rows: Iterable[Any]) -> None:
    """Publishes redemptions that were published as paid and are not, an event for each contract and payment."""
    log.append_many(session, "redemptions.unpaid", list(_bodies(rows)))


def _bodies(rows: Iterable[Any]) -> Iterator[tuple[object, Mapping[str, Any]]]:
    def payment(row: Any) -> tuple[str, str, date]:
        return str(row.contract_id or ""), row.payment_reference, row.paid_on

    for (_, reference, paid_on), group in groupby(sorted(rows, key=payment), payment):
        paid = list(group)
        body = {"contract_id": paid[0].contract_id, "payment_reference": reference, "paid_on": paid_on}
        ids = sorted(row.id for row in paid)
        for at in range(0, len(ids), _MAX_IDS):
            yield paid[0].contract_id or reference, {**body, "redemption_ids": ids[at : at + _MAX_IDS]}
