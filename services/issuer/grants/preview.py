"""The grant that a request would get: nothing is written, locked or counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.grants import beneficiaries
from services.issuer.people.identities import Identities, Identity
from services.issuer.prescribers.models import Prescriber
from services.issuer.programmes import assessment, person_limits, programmes
from services.issuer.programmes.assessment import Outcome
from shared.values import clock
from shared.values.money import euros

ALLOWED, WITH_REASON, REFUSED = "allowed", "with_reason", "refused"
VERDICTS = (ALLOWED, WITH_REASON, REFUSED)


@dataclass(frozen=True, slots=True)
class PersonVerdict:
    """The person's usage of the programme's limit, and whether the caller may grant this to them."""

    verdict: str
    detail: str | None
    usage: person_limits.Usage


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be granted, by which version of the rule, as which cheques, and whether the person may have it."""

    outcome: Outcome
    rule_version: int | None
    cheques: Sequence[int]
    per_person: PersonVerdict | None
    person_id: UUID | None
    """The person whose past grants were read, if any."""


def preview(
    session: Session,
    identities: Identities,
    programme: str,
    *,
    answers: Mapping[str, str] | None = None,
    amount_cents: int = 0,
    granted_on: date | None = None,
    beneficiary: Identity | None = None,
    role: str,
    prescriber_id: UUID | None,
) -> Preview:
    """What the programme would grant to a caller, who need be no prescriber; raises the Problem that prevents it."""
    found = programmes.named(session, programme)
    day = granted_on or clock.today()
    programmes.validity(found, day)
    typologies = session.scalar(sa.select(Prescriber.typologies).where(Prescriber.id == prescriber_id)) or ()
    if answers is not None:
        outcome = assessment.assess(found.assessment, answers)
    else:
        assessment.check_stated(found, amount_cents, role, typologies)
        outcome = Outcome(amount_cents, f"Stated: {euros(amount_cents)}.")
    limit = person_limits.of(found)
    per_person, person_id = None, None
    if limit and beneficiary:
        person_id = identities.by_digest(session, beneficiary)
        pasts = beneficiaries.histories(session, [found], [person_id])[person_id, found.id] if person_id else []
        usage = person_limits.usage(limit, pasts, day)
        allowed = person_limits.may_exceed(limit, role, typologies)
        per_person = _verdict(usage, outcome.amount_cents, allowed=allowed)
    cheques = assessment.values(found, outcome.amount_cents) if outcome.amount_cents else ()
    return Preview(outcome, found.assessment_version, cheques, per_person, person_id)


def _verdict(usage: person_limits.Usage, cents: int, *, allowed: bool) -> PersonVerdict:
    try:
        person_limits.enforce(usage, cents, reason=None, allowed=allowed)
    except person_limits.Exceeded as excess:
        return PersonVerdict(WITH_REASON if allowed else REFUSED, excess.detail, usage)
    return PersonVerdict(ALLOWED, None, usage)
