"""Granting: each request is assessed, allocated to envelopes and issued, or refused by itself, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import psycopg.errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.issuer.funding import allocation, envelopes
from services.issuer.funding.envelopes import AllocationConflict
from services.issuer.grants import beneficiaries, duplicates, issuing
from services.issuer.grants.beneficiaries import BeneficiaryRecord, Histories
from services.issuer.grants.issuing import AllocatedGrant, IssuedGrant, Secrets
from services.issuer.grants.requests import EligibleGrant, GrantRequest, assess_all
from services.issuer.people.identities import Identities, Identity
from services.issuer.programmes import person_limits
from services.issuer.programmes.person_limits import Exceeded, PastGrant
from shared.database import engine
from shared.problems import Problem, Unavailable

_REFERENCE_CONSTRAINT = "cheque_grant_once_key"
# Plans made without locks before the envelopes are locked first, and after how many in all granting gives up.
_MAX_UNLOCKED_PLANS = 3
_MAX_PLANS = 10


def grant(session: Session, secrets: Secrets, request: GrantRequest) -> IssuedGrant:
    """The grant made for one request, with its codes; raises the Problem for which it is refused."""
    [answer] = grant_all(session, secrets, [request])
    if isinstance(answer, Problem):
        raise answer
    if answer.already:
        return replace(answer, cheques=secrets.codes.of_grant(session, answer.grant.id))
    return answer


def grant_all(session: Session, secrets: Secrets, requests: Sequence[GrantRequest]) -> list[IssuedGrant | Problem]:
    """An answer for each request in its place: the grant made for it, or the problem for which it is refused.

    Concurrent grants never overdraw an envelope, and no envelope is called exhausted while it has money for a request:
    a plan that others outran is made again, at last with the envelopes locked. Raises Unavailable after too many plans.
    """
    assessed = assess_all(session, requests)
    for attempt in range(_MAX_PLANS):
        try:
            with session.begin_nested():
                answers = _attempt(session, secrets, requests, assessed, lock=attempt >= _MAX_UNLOCKED_PLANS)
            made = [answer for answer in answers if isinstance(answer, IssuedGrant) and not answer.already]
            engine.after_commit(session, partial(issuing.log_grants, made))
            return answers
        except AllocationConflict:
            continue
        except DBAPIError as error:
            if not _lost_a_race(error):
                raise
    raise Unavailable("Too many are granting at this moment. Nothing was done.", headers={"Retry-After": "1"})


def _lost_a_race(error: DBAPIError) -> bool:
    """Whether another transaction granted under the same reference, or the two waited for each other."""
    cause = error.orig
    if isinstance(cause, psycopg.errors.UniqueViolation):
        return cause.diag.constraint_name == _REFERENCE_CONSTRAINT
    return isinstance(cause, psycopg.errors.DeadlockDetected)


def _attempt(
    session: Session,
    secrets: Secrets,
    requests: Sequence[GrantRequest],
    assessed: Sequence[EligibleGrant | Problem],
    *,
    lock: bool,
) -> list[IssuedGrant | Problem]:
    """Plans, writes, and charges the envelopes last; raises AllocationConflict where they lack what was planned.

    The people are locked first, so that no two transactions check one person's limit at once.
    """
    identities = secrets.identities
    earlier = duplicates.find_earlier(session, requests, identities)
    judged = [
        duplicates.answer(found, request, identities) if (found := earlier.get(duplicates.key(request))) else result
        for request, result in zip(requests, assessed, strict=True)
    ]
    eligible = [result for result in judged if isinstance(result, EligibleGrant)]
    context = _context(session, identities, eligible, lock=lock)
    allocated = [context.allocate(result) if isinstance(result, EligibleGrant) else result for result in judged]
    refused = [request for request, result in zip(requests, allocated, strict=True) if isinstance(result, Exceeded)]
    if duplicates.find_earlier(session, refused, identities):
        raise AllocationConflict  # what exceeds a person's limit is a repeat, granted meanwhile
    to_issue = [result for result in allocated if isinstance(result, AllocatedGrant)]
    granted_to = {result.person.id for result in to_issue if result.person}
    people = context.people.values()
    beneficiaries.forget_unused(session, [person for person in people if person.id not in granted_to])
    issued = iter(issuing.issue(session, secrets, to_issue))
    envelopes.charge(session, context.plan.charges)
    return [next(issued) if isinstance(result, AllocatedGrant) else result for result in allocated]


@dataclass(frozen=True, slots=True)
class GrantContext:
    """The people, their past grants and the envelopes that decide on eligible grants."""

    people: Mapping[Identity | None, BeneficiaryRecord]
    histories: Histories
    plan: allocation.Plan

    def allocate(self, eligible: EligibleGrant) -> AllocatedGrant | Problem:
        """The grant with its envelopes, charged in the plan; or the problem for which it cannot be made."""
        person = self.people.get(eligible.request.beneficiary)
        try:
            exception_reason = self._enforce_limit(eligible, person)
            allocated = AllocatedGrant(eligible, self.plan.take(eligible.need), person, exception_reason)
        except Problem as problem:
            return problem
        if person:
            past = PastGrant(eligible.need.day, eligible.outcome.amount_cents)
            self.histories[person.id, eligible.programme.id].append(past)
        return allocated

    def _enforce_limit(self, eligible: EligibleGrant, person: BeneficiaryRecord | None) -> str | None:
        """The reason for which the grant exceeds the programme's limit; None where it does not. Raises Problem."""
        limit = person_limits.of(eligible.programme)
        if limit is None:
            return None
        if person is None:
            person_limits.require_beneficiary(limit)
            return None
        pasts = self.histories[person.id, eligible.programme.id]
        usage = person_limits.usage(limit, pasts, eligible.need.day)
        reason, cents = eligible.request.exception_reason, eligible.outcome.amount_cents
        return person_limits.enforce(usage, cents, reason=reason, allowed=eligible.may_exceed)


def _context(
    session: Session, identities: Identities, eligible: Sequence[EligibleGrant], *, lock: bool
) -> GrantContext:
    people = beneficiaries.find_or_add(session, identities, {grant.request.beneficiary for grant in eligible})
    histories = beneficiaries.histories(
        session, (grant.programme for grant in eligible), (person.id for person in people.values())
    )
    plan = allocation.plan(session, {grant.programme.id for grant in eligible}, lock=lock)
    return GrantContext(people, histories, plan)
