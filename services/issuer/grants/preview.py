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
    """The request that a preview is about: like a `GrantRequest`, but of a caller who need be no prescriber."""

    programme: str
    answers: Mapping[str, str] | None = field(default=None, repr=False)
    amount_cents: int | None = None
    granted_on: date | None = None
    beneficiary: Identity | None = None


@dataclass(frozen=True, slots=True)
class PersonVerdict:
    """The person's usage of the programme's limit, and whether the caller may grant this to them."""

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
    per_person: PersonVerdict | None
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
    per_person, person_id = None, None
    if limit and situation.beneficiary:
        person_id = identities.by_digest(session, situation.beneficiary)
        usage = _usage(session, programme, limit, person_id, day)
        allowed = person_limits.may_exceed(limit, role, typologies)
        per_person = _verdict(limit, usage, outcome.amount_cents, allowed=allowed)
    cheques = assessment.values(programme, outcome.amount_cents) if outcome.amount_cents else ()
    version = programme.assessment_version
    return Preview(outcome.amount_cents, outcome.points, outcome.reason, version, cheques, per_person, person_id)


def _outcome(programme: Programme, situation: Situation, role: str, typologies: Collection[str]) -> Outcome:
    if situation.answers is not None:
        return assessment.assess(programme.assessment, situation.answers)
    cents = situation.amount_cents or 0
    assessment.check_stated(programme, cents, role, typologies)
    return Outcome(cents, f"Stated: {euros(cents)}.")


def _usage(
    session: Session, programme: Programme, limit: person_limits.Limit, person: UUID | None, day: date
) -> person_limits.Usage:
    had = history.histories(session, [programme], [person])[person, programme.id] if person else []
    return person_limits.usage(limit, had, day)


def _verdict(limit: person_limits.Limit, usage: person_limits.Usage, cents: int, *, allowed: bool) -> PersonVerdict:
    verdict, detail = ALLOWED, None
    try:
        person_limits.enforce(limit, usage, cents, reason=None, allowed=allowed)
    except person_limits.Exceeded as excess:
        verdict, detail = WITH_REASON if allowed else REFUSED, excess.detail
    return PersonVerdict(verdict, detail, usage.grants, usage.granted_cents, usage.remaining_cents)
