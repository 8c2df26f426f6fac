"""What a grant would come to, without making it: nothing is written, locked or counted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.grants import history
from services.issuer.people.identities import Identities, Identity
from services.issuer.prescribers.models import Prescriber
from services.issuer.programmes import assessment, person_limits, programmes
from services.issuer.programmes.assessment import Outcome
from services.issuer.programmes.models import Programme
from shared.values import clock
from shared.values.money import euros

ALLOWED, WITH_REASON, REFUSED = "allowed", "with_reason", "refused"
VERDICTS = (ALLOWED, WITH_REASON, REFUSED)


@dataclass(frozen=True, slots=True)
class Situation:
    """What somebody would ask for, and for whom."""

    programme: str
    answers: Mapping[str, str] | None = field(default=None, repr=False)
    amount_cents: int | None = None
    granted_on: date | None = None
    beneficiary: Identity | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the person stands against the programme's limit, and what that means for the asker."""

    verdict: str
    detail: str | None
    grants: int
    granted_cents: int
    remaining_cents: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be granted, by which version of the rule, as which cheques, and whether the person may have it."""

    amount_cents: int
    points: int | None
    reason: str
    rule_version: int | None
    cheques: Sequence[int]
    per_person: Standing | None
    person_id: UUID | None
    """Whose earlier grants were looked at, if anybody's."""


def preview(
    session: Session, identities: Identities, situation: Situation, *, role: str, prescriber_id: UUID | None
) -> Preview:
    """What the programme would grant; raises the Problem for which the situation cannot be judged."""
    programme = programmes.named(session, situation.programme)
    day = situation.granted_on or clock.today()
    programmes.validity(programme, day)
    typologies = session.scalar(sa.select(Prescriber.typologies).where(Prescriber.id == prescriber_id)) or ()
    outcome = _outcome(programme, situation, role, typologies)
    limit = person_limits.of(programme)
    standing, person_id = None, None
    if limit and situation.beneficiary:
        person_id = identities.by_digest(session, situation.beneficiary)
        now = _now(session, programme, limit, person_id, day)
        allowed = person_limits.may_exceed(limit, role, typologies)
        standing = _judged(limit, now, outcome.amount_cents, allowed=allowed)
    cheques = assessment.values(programme, outcome.amount_cents) if outcome.amount_cents else ()
    version = programme.assessment_version
    return Preview(outcome.amount_cents, outcome.points, outcome.reason, version, cheques, standing, person_id)


def _outcome(programme: Programme, situation: Situation, role: str, typologies: Collection[str]) -> Outcome:
    if situation.answers is not None:
        return assessment.assess(programme.assessment, situation.answers)
    cents = situation.amount_cents or 0
    assessment.check_stated(programme, cents, role, typologies)
    return Outcome(cents, f"Stated: {euros(cents)}.")


def _now(
    session: Session, programme: Programme, limit: person_limits.Limit, person: UUID | None, day: date
) -> person_limits.Standing:
    had = history.histories(session, [programme], [person])[person, programme.id] if person else []
    return person_limits.standing(limit, had, day)


def _judged(limit: person_limits.Limit, now: person_limits.Standing, cents: int, *, allowed: bool) -> Standing:
    verdict, detail = ALLOWED, None
    try:
        person_limits.hold(limit, now, cents, reason=None, allowed=allowed)
    except person_limits.Exceeded as excess:
        verdict, detail = WITH_REASON if allowed else REFUSED, excess.detail
    return Standing(verdict, detail, now.grants, now.granted_cents, now.remaining_cents)
