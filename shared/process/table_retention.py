"""Deletes old rows: answers kept for repeated requests, and the ids of events that were applied."""

import time
from datetime import datetime, timedelta

import sqlalchemy as sa

from shared.process import slices
from shared.process.runtime import Runtime
from shared.values import clock

BATCH_SIZE = 5_000

_ANSWERS = sa.text("""
    DELETE FROM idempotent_answer WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM idempotent_answer WHERE created_at < :before LIMIT :limit
    ))
""")

# Events that a reader has yet to read are younger than what it applied last, less the longest transaction: a day.
_FORGET = sa.text("""
    UPDATE cursor SET forgotten_before = safe.instant
    FROM (
        SELECT publisher, least(CAST(:before AS timestamptz), max(occurred_at) - interval '1 day') AS instant
        FROM applied_event WHERE applied_at > :recently GROUP BY publisher
    ) safe
    WHERE cursor.publisher = safe.publisher AND coalesce(cursor.forgotten_before, '-infinity') < safe.instant
""")
_APPLIED = sa.text("""
    DELETE FROM applied_event WHERE event_id = ANY(ARRAY(
        SELECT event_id FROM applied_event JOIN cursor USING (publisher)
        WHERE applied_at < :before AND occurred_at < forgotten_before LIMIT :limit
    ))
""")
_RECENT = timedelta(days=30)


def prune(runtime: Runtime, batch_size: int = BATCH_SIZE, seconds: float = slices.SECONDS) -> int:
    """Deletes what is older than the settings say, for about so many seconds; returns the number of rows.

    Each batch is a transaction, and the next run deletes the rest. The cursors note first, in a transaction of their
    own, before when all was applied: a page that is being applied locks its cursor's row.
    """
    now, settings = clock.now(), runtime.settings
    applied_before = now - timedelta(days=settings.applied_event_retention_days)
    with runtime.transaction() as session:
        session.execute(_FORGET, {"before": applied_before, "recently": now - _RECENT})
    deadline = time.monotonic() + seconds
    answers = _delete(runtime, _ANSWERS, now - timedelta(days=settings.answer_retention_days), batch_size, deadline)
    return answers + _delete(runtime, _APPLIED, applied_before, batch_size, deadline)


def _delete(runtime: Runtime, statement: sa.TextClause, before: datetime, batch_size: int, deadline: float) -> int:
    deleted = 0
    while True:
        with runtime.transaction() as session:
            found = session.execute(statement, {"before": before, "limit": batch_size})
            batch: int = found.rowcount  # type: ignore[attr-defined]
        deleted += batch
        if batch < batch_size or time.monotonic() >= deadline:
            return deleted
