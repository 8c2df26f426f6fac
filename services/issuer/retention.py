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

from services.issuer import answers, erasing, programmes
from services.issuer.beneficiaries import Identities
from services.issuer.models import Programme
from services.issuer.models_people import RETENTION
from shared import clock
from shared.ids import new_id
from shared.runtime import Runtime

_PORTION = 500
# Well under what a task, or whoever waits for an answer, is given.
_SECONDS = 30.0

# The last day of contact on which a person is due, by programme; the instant is for the index alone, and a day wide.
_LAST_DAYS = """
    WITH last AS MATERIALIZED (
        SELECT id, code, CAST(CAST(:today AS date) - make_interval(months => retention_months) AS date) AS day
        FROM programme
    )
"""
_IS_DUE = """
    given.beneficiary_id IS NOT NULL
    AND given.created_at < (SELECT max(day) + 2 FROM last)
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
"""
_PEOPLE_DUE = sa.text(f"""
    {_LAST_DAYS}
    SELECT DISTINCT given.beneficiary_id FROM cheque_grant AS given JOIN last ON last.id = given.programme_id
    WHERE given.beneficiary_id > :after AND {_IS_DUE}
    ORDER BY given.beneficiary_id LIMIT :limit
""")
_LINKS_DUE = sa.text(f"""
    {_LAST_DAYS}
    SELECT DISTINCT given.beneficiary_id, given.programme_id
    FROM cheque_grant AS given JOIN last ON last.id = given.programme_id
    WHERE given.beneficiary_id = ANY(CAST(:people AS uuid[])) AND {_IS_DUE}
""")
_COUNTED = sa.text(f"""
    {_LAST_DAYS}, due AS (
        SELECT given.id, given.beneficiary_id, last.code, last.day
        FROM cheque_grant AS given JOIN last ON last.id = given.programme_id WHERE {_IS_DUE}
    )
    SELECT code AS programme, day AS last_contact_until, count(DISTINCT beneficiary_id) AS people, count(*) AS grants
    FROM due GROUP BY code, day ORDER BY code
""")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did; `finished` where nothing is due any more. `erasure_id` is None where there was nothing to do."""

    erasure_id: UUID | None
    people: int
    grants: int
    finished: bool


def due(session: Session, today: date | None = None) -> Sequence[Mapping[str, Any]]:
    """What a run would do: by programme, how many people and grants; a person may be due in several."""
    return [dict(row) for row in session.execute(_COUNTED, {"today": today or clock.today()}).mappings()]


def run(runtime: Runtime, by: str, today: date | None = None, *, seconds: float = _SECONDS) -> Run:
    """Forgets those who are due, for so many seconds at most; the next run goes on with the rest."""
    identities, erasure_id, until = Identities(runtime.settings.keys), new_id(), time.monotonic() + seconds
    asked = {"today": today or clock.today(), "after": UUID(int=0), "limit": _PORTION}
    people = grants = 0
    finished = False
    while not finished and time.monotonic() < until:
        with runtime.transaction() as session:
            found = session.scalars(_PEOPLE_DUE, asked).all()
            done = _forget(session, identities, found, asked["today"])
            if done.grant_ids:
                erasing.note(session, erasure_id, RETENTION, by, done)
        people, grants = people + done.people, grants + len(done.grant_ids)
        finished = len(found) < _PORTION
        asked["after"] = max(found, default=asked["after"])
    answers.empty_old(runtime, clock.now())
    return Run(erasure_id if grants else None, people, grants, finished)


def keep_for(session: Session, code: str, months: int) -> Programme:
    """Changes how long a programme keeps who its grants are for; raises NotFound."""
    programme = programmes.find(session, code)
    programme.retention_months = months
    session.flush()
    return programme


def _forget(session: Session, identities: Identities, found: Sequence[UUID], today: date) -> erasing.Forgotten:
    """Forgets those of these people who are still due once they are locked."""
    locked = erasing.lock(session, found, skip_locked=True)
    links = [(row.beneficiary_id, row.programme_id)
             for row in session.execute(_LINKS_DUE, {"people": locked, "today": today})]  # fmt: skip
    return erasing.forget(session, identities, links)
