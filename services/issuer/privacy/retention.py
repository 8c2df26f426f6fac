"""Keeping the person of a grant no longer than its programme allows: some months after the last contact.

The last contact of a person with a programme is the last grant, or the last day on which one of its cheques was spent.
After that time the grants of this programme lose their person, and a person without other grants is erased.

A run works in batches, each a transaction of its own, and searches again for each batch: the next run completes an
interrupted one, and two at once do no harm. A person who receives a grant at that moment is left for the next run.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.people.identities import Identities
from services.issuer.privacy import erasure, stored_answers
from services.issuer.privacy.models import RETENTION
from services.issuer.programmes import programmes
from services.issuer.programmes.models import Programme
from shared.database import engine
from shared.process import slices
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id

BATCH_SIZE = 500
_FIRST = UUID(int=0)

# Grants whose person is due. The instant is for the index alone, and wide enough for any zone.
_DUE = (
    sa.text("""
        SELECT granted.beneficiary_id, granted.programme_id, last.code, last.day
        FROM cheque_grant AS granted
        JOIN (
            SELECT id, code, CAST(CAST(:today AS date) - make_interval(months => retention_months) AS date) AS day
            FROM programme
        ) AS last ON last.id = granted.programme_id
        WHERE granted.beneficiary_id IS NOT NULL
          AND granted.created_at < CAST(:today AS date) + 2
              - make_interval(months => (SELECT min(retention_months) FROM programme))
          AND CAST(granted.created_at AT TIME ZONE 'Europe/Paris' AS date) <= last.day
          AND NOT EXISTS (
              SELECT FROM cheque_grant AS other
              WHERE other.beneficiary_id = granted.beneficiary_id AND other.programme_id = granted.programme_id
                AND CAST(other.created_at AT TIME ZONE 'Europe/Paris' AS date) > last.day
          )
          AND NOT EXISTS (
              SELECT FROM cheque_grant AS other
              JOIN cheque ON cheque.grant_id = other.id
              JOIN redemption ON redemption.cheque_id = cheque.id
              WHERE other.beneficiary_id = granted.beneficiary_id AND other.programme_id = granted.programme_id
                AND greatest(redemption.redeemed_on, redemption.reversed_on) > last.day
          )
    """)
    .columns(beneficiary_id=sa.Uuid, programme_id=sa.Uuid, code=sa.Text, day=sa.Date)
    .subquery("due")
)


@dataclass(slots=True)
class Run:
    """What a run did. `erasure_id` is None where there was nothing to do."""

    erasure_id: UUID | None = None
    people: int = 0
    grants: int = 0
    rest: UUID | None = None
    """The person after whom the next run goes on; None where nothing is due any more."""

    @property
    def finished(self) -> bool:
        """Whether nothing is due any more."""
        return self.rest is None


def due(session: Session, today: date | None = None) -> Sequence[Mapping[str, Any]]:
    """What a run would do: by programme, how many people and grants; a person may be due in several."""
    query = (
        sa.select(
            _DUE.c.code.label("programme"),
            _DUE.c.day.label("last_contact_until"),
            sa.func.count(_DUE.c.beneficiary_id.distinct()).label("people"),
            sa.func.count().label("grants"),
        )
        .group_by(_DUE.c.code, _DUE.c.day)
        .order_by(_DUE.c.code)
    )
    return [dict(row) for row in session.execute(query, {"today": today or clock.today()}).mappings()]


def run(
    runtime: Runtime, by: str, today: date | None = None, *, after: UUID = _FIRST, seconds: float = slices.SECONDS
) -> Run:
    """Forgets those who are due, from one person on and for about so many seconds; then empties old answers."""
    done, day, identities = Run(), today or clock.today(), Identities(runtime.settings.keys)

    person = _DUE.c.beneficiary_id
    people = sa.select(person).distinct().order_by(person).limit(BATCH_SIZE)

    def forget_next(place: UUID) -> tuple[int, UUID | None]:
        with runtime.transaction() as session:
            found = session.scalars(people.where(person > place), {"today": day}).all()
            forgotten = _forget(session, identities, found, day)
            if forgotten.grant_ids:
                done.erasure_id = done.erasure_id or new_id()
                erasure.note(session, done.erasure_id, RETENTION, by, forgotten)
        done.people, done.grants = done.people + forgotten.people, done.grants + len(forgotten.grant_ids)
        return forgotten.people, max(found) if len(found) == BATCH_SIZE else None

    until = time.monotonic() + seconds
    done.rest = slices.run(forget_next, after, seconds)[1]
    if done.finished:
        stored_answers.empty_old(runtime, clock.now(), until - time.monotonic())
    return done


def keep_for(session: Session, code: str, months: int) -> Programme:
    """Changes how long a programme keeps who its grants are for; raises NotFound."""
    programme = programmes.find(session, code)
    programme.retention_months = months
    session.flush()
    return programme


def _forget(session: Session, identities: Identities, found: Sequence[UUID], today: date) -> erasure.Forgotten:
    """Forgets the people among these who are still due once they are locked."""
    locked = erasure.lock(session, found, skip_locked=True)
    query = sa.select(_DUE.c.beneficiary_id, _DUE.c.programme_id).distinct()
    rows = session.execute(query.where(engine.among(_DUE.c.beneficiary_id, locked)), {"today": today})
    links = [(row.beneficiary_id, row.programme_id) for row in rows]
    return erasure.forget(session, identities, links)
