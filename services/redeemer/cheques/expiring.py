"""Expiring the cheques whose last day to be presented has passed. A run that was cut short is made good by the next."""

from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer import transitions
from services.redeemer.transitions import CHEQUE, before
from shared.eventlog import log
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id

BATCH = 1000

_OVERDUE = sa.text("SELECT id FROM cheque WHERE presentable_until < :today AND state = ANY(:before)")


def expire(runtime: Runtime, today: date | None = None) -> int:
    """Expires every cheque that may no longer be presented, a batch to a transaction, and says how many."""
    query = {"today": today or clock.today(), "before": before(CHEQUE, "expired")}
    expired = 0
    # The list is streamed from a snapshot of its own; what has changed since is left alone by the update.
    with runtime.engine.connect().execution_options(yield_per=BATCH) as connection:
        for cheque_ids in connection.execute(_OVERDUE, query).scalars().partitions(BATCH):
            with runtime.transaction() as session:
                expired += _expire(session, list(cheque_ids))
    return expired


def _expire(session: Session, cheque_ids: list[UUID]) -> int:
    transitions.hold(session, cheque_ids)
    expired = transitions.end(session, cheque_ids, "expired")
    if expired:
        body = {"cheque_ids": expired, "expired_at": clock.now()}
        log.append(session, "cheques.expired", new_id(), body)
    return len(expired)
