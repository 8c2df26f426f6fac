"""Requests for grants, checked by the programme's rules before any money is allocated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.funding.allocation import FundingNeed
from services.issuer.grants import lots
from services.issuer.grants.models import Lot
from services.issuer.people.identities import Identity
from services.issuer.prescribers.models import Prescriber
from services.issuer.programmes import assessment, person_limits, programmes
from services.issuer.programmes.assessment import Outcome, Rule
from services.issuer.programmes.models import Programme
from shared.problems import Conflict, Forbidden, Problem
from shared.values import clock


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """A request for one grant: by answers to the programme's questions, or by an amount and its reason."""

    prescriber_id: UUID
    programme: str
    answers: Mapping[str, str] | None = field(default=None, repr=False)
    amount_cents: int | None = None
    reason: str | None = None
    target_public: str | None = None
    granted_on: date | None = None
    beneficiary: Identity | None = None
    exception_reason: str | None = None
    """Why the person should have more than the programme's limit; used only where the grant exceeds it."""
    role: str = "prescriber"
    requested_by: str = "prescriber"
    reference: str | None = None
    """The prescriber's own name for the grant: under one reference there is one grant."""
    lot: str | None = None
    """The code of the lot that the grant belongs to."""


@dataclass(frozen=True, slots=True)
class EligibleGrant:
    """A request that the programme's rules allow, and the money that it needs."""

    request: GrantRequest
    programme: Programme
    outcome: Outcome
    need: FundingNeed
    valid_until: date
    presentable_until: date
    may_exceed: bool
    """Whether the requester may exceed the programme's limit for one person."""
    lot_id: UUID | None = None


def assess_all(session: Session, requests: Sequence[GrantRequest]) -> list[EligibleGrant | Problem]:
    """For each request the eligible grant, or the problem for which the programme's rules refuse it."""
    by_code = sa.select(Programme).where(Programme.code.in_({request.programme for request in requests}))
    programmes_by_code = {programme.code: programme for programme in session.scalars(by_code)}
    columns = (Prescriber.id, Prescriber.typologies, Prescriber.postcode, Prescriber.insee_code)
    by_id = sa.select(*columns).where(Prescriber.id.in_({request.prescriber_id for request in requests}))
    prescribers = {row.id: row for row in session.execute(by_id)}
    lots_by_code = lots.lock_shared(session, {request.lot for request in requests if request.lot})
    return [
        _assess(
            request,
            programmes_by_code.get(request.programme),
            prescribers.get(request.prescriber_id),
            lots_by_code.get(request.lot or ""),
        )
        for request in requests
    ]


def outcome(request: GrantRequest, rule: Rule | None) -> Outcome:
    """The amount of a request by a rule: the stated one, or the one that its answers give."""
    if request.answers is None:
        return Outcome(request.amount_cents or 0, request.reason or "")
    return assessment.assess(rule, request.answers)


def _assess(
    request: GrantRequest, programme: Programme | None, prescriber: Any, lot: Lot | None
) -> EligibleGrant | Problem:
    try:
        if prescriber is None:
            raise Forbidden("This prescriber is not registered here.", slug="unknown-prescriber")
        if programme is None:
            raise programmes.unknown()
        result = _eligible_outcome(request, programme, prescriber.typologies)
        lot_id = lots.admit(lot, request.lot, programme)
        granted_on = request.granted_on or clock.today()
        valid_until, presentable_until = programmes.validity(programme, granted_on)
        values = assessment.values(programme, result.amount_cents)
        place = (prescriber.postcode, prescriber.insee_code, next(iter(prescriber.typologies), None))
        return EligibleGrant(
            request=request,
            programme=programme,
            outcome=result,
            need=FundingNeed(programme.id, request.target_public, granted_on, values, *place),
            valid_until=valid_until,
            presentable_until=presentable_until,
            may_exceed=person_limits.may_exceed(person_limits.of(programme), request.role, prescriber.typologies),
            lot_id=lot_id,
        )
    except Problem as problem:
        return problem


def _eligible_outcome(request: GrantRequest, programme: Programme, typologies: Sequence[str]) -> Outcome:
    result = outcome(request, programme.assessment)
    if request.answers is None:
        assessment.check_stated(programme, result.amount_cents, request.role, typologies)
    elif result.amount_cents == 0:
        raise Conflict(result.reason, slug="not-eligible", points=result.points)
    return result
