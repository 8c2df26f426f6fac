"""Expiring the cheques whose last day to be presented has passed.

A run reads the cheques whose last day lies between the day before which everything was expired and today. Whoever makes
an older cheque spendable calls `read_again` or `read_from`. The next run completes an interrupted one.
"""

import math
from collections.abc import Collection
from datetime import date
from functools import partial
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.cheques import ending
from services.redeemer.transitions import CHEQUE
from shared.eventlog import log
from shared.process import slices
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id

BATCH_SIZE = 1000

# Found by the index on the last day: those that have ended since then are the only others that are read.
DUE = """
    SELECT id, presentable_until FROM cheque
    WHERE presentable_until >= :since AND presentable_until < :today AND state = ANY(:before)
      AND presentable_until >= coalesce((SELECT done_before FROM expiry), '-infinity')
"""
_NEXT = sa.text(f"{DUE} ORDER BY presentable_until LIMIT :limit")

# It waits for everybody who has a day read again, and lets nobody begin to until it ends.
_LOCK = sa.text("LOCK TABLE expiry IN SHARE ROW EXCLUSIVE MODE")
_DONE = sa.text(f"""
    INSERT INTO expiry (everything, done_before) SELECT true, :today WHERE NOT EXISTS ({DUE})
    ON CONFLICT (everything) DO UPDATE SET done_before = excluded.done_before
""")
_READ_AGAIN = sa.text("""
    UPDATE expiry SET done_before = earliest.day
    FROM (SELECT min(presentable_until) AS day FROM cheque WHERE id = ANY(:ids)) earliest
    WHERE earliest.day < done_before
""")
_READ_FROM = sa.text("UPDATE expiry SET done_before = :day WHERE :day < done_before")


def expire(runtime: Runtime, today: date | None = None, seconds: float = math.inf) -> tuple[int, bool]:
    """Expires cheques for about so many seconds; returns how many, and whether some are left for the next run."""
    do_slice = partial(expire_slice, runtime, today or clock.today())
    expired, following = slices.run(do_slice, date.min, seconds)
    return expired, following is not None


def expire_slice(runtime: Runtime, today: date, since: date) -> tuple[int, date | None]:
    """Expires cheques in one transaction; returns how many, and the last day with which the next one begins."""
    params = {"since": since, "today": today, "before": CHEQUE.before("expired")}
    with runtime.transaction() as session:
        cheques = session.execute(_NEXT, {**params, "limit": BATCH_SIZE}).all()
        cheque_ids = [cheque.id for cheque in cheques]
        ending.lock(session, cheque_ids)
        expired = ending.end(session, cheque_ids, "expired")
        if expired:
            log.append(session, "cheques.expired", new_id(), {"cheque_ids": expired, "expired_at": clock.now()})
    if len(cheques) == BATCH_SIZE:
        return len(expired), cheques[-1].presentable_until
    with runtime.transaction() as session:
        session.execute(_LOCK)
        session.execute(_DONE, {**params, "since": date.min})
    return len(expired), None


def read_again(session: Session, cheque_ids: Collection[UUID]) -> None:
    """Makes the next run read the last days of these cheques, which have become spendable."""
    session.execute(_READ_AGAIN, {"ids": list(cheque_ids)})


def read_from(session: Session, day: date) -> None:
    """Makes the next run read the last days from this one on: that of the oldest cheque among new ones."""
    session.execute(_READ_FROM, {"day": day})
