"""Keeping who a grant is for no longer than its programme says: so many months after the last contact.

The last contact of a person with a programme is the last grant, or the last day on which one of its cheques was spent.
When it is that long ago, the grants of this programme do not say any more whose they are, and who has no other grants
is gone. Whether cheques may still be spent makes no difference: they stay what they are.

A run works in portions, each a transaction of its own, and looks anew each time at what is due: one that was cut short
is made good by the next, and two at once harm nothing. Who is granted something at that moment is left for the next.
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
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id

_PORTION = 500
# Well under what a task, or whoever waits for an answer, is given.
_SECONDS = 30.0

# Grants whose person is due. The instant is for the index alone, and wide enough for any zone.
_DUE = (
    sa.text("""
        SELECT given.beneficiary_id, given.programme_id, last.code, last.day
        FROM cheque_grant AS given
        JOIN (
            SELECT id, code, CAST(CAST(:today AS date) - make_interval(months => retention_months) AS date) AS day
            FROM programme
        ) AS last ON last.id = given.programme_id
        WHERE given.beneficiary_id IS NOT NULL
          AND given.created_at < CAST(:today AS date) + 2
              - make_interval(months => (SELECT min(retention_months) FROM programme))
          AND CAST(given.created_at AT TIME ZONE 'Europe/Paris' AS date) <= last.day
          AND NOT EXISTS (
              SELECT FROM cheque_grant AS other
              WHERE other.beneficiary_id = given.beneficiary_id AND other.programme_id = given.programme_id
                AND CAST(other.created_at AT TIME ZONE 'Europe/Paris' AS date) > last.day
          )
          AND NOT EXISTS (
              SELECT FROM cheque_grant AS other
              JOIN cheque ON cheque.grant_id = other.id
              JOIN redemption ON redemption.cheque_id = cheque.id
              WHERE other.beneficiary_id = given.beneficiary_id AND other.programme_id = given.programme_id
                AND greatest(redemption.redeemed_on, redemption.reversed_on) > last.day
          )
    """)
    .columns(beneficiary_id=sa.Uuid, programme_id=sa.Uuid, code=sa.Text, day=sa.Date)
    .subquery("due")
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did; `finished` where nothing is due any more. `erasure_id` is None where there was nothing to do."""

    erasure_id: UUID | None
    people: int
    grants: int
    finished: bool


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


def run(runtime: Runtime, by: str, today: date | None = None, *, seconds: float = _SECONDS) -> Run:
    """Forgets those who are due, for so many seconds at most; the next run goes on with the rest."""
    identities, erasure_id, until = Identities(runtime.settings.keys), new_id(), time.monotonic() + seconds
    day, after = today or clock.today(), UUID(int=0)
    people = grants = 0
    finished = False
    while not finished and time.monotonic() < until:
        with runtime.transaction() as session:
            found = session.scalars(_people_after(after), {"today": day}).all()
            done = _forget(session, identities, found, day)
            if done.grant_ids:
                erasure.note(session, erasure_id, RETENTION, by, done)
        people, grants = people + done.people, grants + len(done.grant_ids)
        finished = len(found) < _PORTION
        after = max(found, default=after)
    stored_answers.empty_old(runtime, clock.now())
    return Run(erasure_id if grants else None, people, grants, finished)


def keep_for(session: Session, code: str, months: int) -> Programme:
    """Changes how long a programme keeps who its grants are for; raises NotFound."""
    programme = programmes.find(session, code)
    programme.retention_months = months
    session.flush()
    return programme


def _people_after(after: UUID) -> sa.Select[Any]:
    person = _DUE.c.beneficiary_id
    return sa.select(person).distinct().where(person > after).order_by(person).limit(_PORTION)


def _forget(session: Session, identities: Identities, found: Sequence[UUID], today: date) -> erasure.Forgotten:
    """Forgets those of these people who are still due once they are locked."""
    locked = erasure.lock(session, found, skip_locked=True)
    query = sa.select(_DUE.c.beneficiary_id, _DUE.c.programme_id).distinct()
    rows = session.execute(query.where(engine.among(_DUE.c.beneficiary_id, locked)), {"today": today})
    links = [(row.beneficiary_id, row.programme_id) for row in rows]
    return erasure.forget(session, identities, links)
