"""Granting: orders held against rules and money, each granted or refused by itself, in the order given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import psycopg.errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.issuer.funding import allocation, envelopes
from services.issuer.funding.envelopes import Outrun
from services.issuer.grants import duplicates, history, issuing
from services.issuer.grants.beneficiaries import Known, forget_unused, remember
from services.issuer.grants.issuing import Charged, Granted
from services.issuer.grants.requests import Draft, Order, draft_all
from services.issuer.grants.secrets import Secrets
from services.issuer.people.identities import Identities, Identity
from services.issuer.programmes import person_limits
from services.issuer.programmes.person_limits import Past
from shared.database import engine
from shared.problems import Problem, Unavailable

_ONCE = "cheque_grant_once_key"
# Plans made without locks before the envelopes are locked first, and after how many in all one gives up.
_UNLOCKED_PLANS = 3
_PLANS = 10


def grant(session: Session, secrets: Secrets, order: Order) -> Granted:
    """Grants one order; raises the Problem for which it is refused."""
    [answer] = grant_all(session, secrets, [order])
    if isinstance(answer, Problem):
        raise answer
    if answer.already:
        return replace(answer, cheques=secrets.codes.of_grant(session, answer.grant.id))
    return answer


def grant_all(session: Session, secrets: Secrets, orders: Sequence[Order]) -> list[Granted | Problem]:
    """Grants what can be granted, and answers for each order in its place.

    No envelope is overdrawn by anybody's concurrent grants, and none is called exhausted while there is money for an
    order in it: a plan that others outran is made again, at last with the envelopes locked.
    """
    drafts = draft_all(session, orders)
    for attempt in range(_PLANS):
        try:
            with session.begin_nested():
                answers = _attempt(session, secrets, orders, drafts, lock=attempt >= _UNLOCKED_PLANS)
            made = [answer for answer in answers if isinstance(answer, Granted) and not answer.already]
            engine.after_commit(session, partial(issuing.say, made))
            return answers
        except Outrun:
            continue
        except DBAPIError as error:
            if not _lost_a_race(error):
                raise
    raise Unavailable("Too many are granting at this moment. Nothing was done.", headers={"Retry-After": "1"})


def _lost_a_race(error: DBAPIError) -> bool:
    """Somebody granted under the same reference, or waited for what we hold while we waited for theirs."""
    cause = error.orig
    if isinstance(cause, psycopg.errors.UniqueViolation):
        return cause.diag.constraint_name == _ONCE
    return isinstance(cause, psycopg.errors.DeadlockDetected)


def _attempt(
    session: Session, secrets: Secrets, orders: Sequence[Order], drafts: Sequence[Draft | Problem], *, lock: bool
) -> list[Granted | Problem]:
    """Plans, writes, and charges the envelopes last; raises Outrun where they have not what was planned.

    The people are locked first, so that what one of them has is not judged by two at once.
    """
    earlier = duplicates.earlier(session, orders, secrets.identities)
    fresh = [draft for draft in drafts if isinstance(draft, Draft) and duplicates.key(draft.order) not in earlier]
    people = remember(session, secrets.identities, {draft.order.beneficiary for draft in fresh})
    pasts = history.histories(session, (draft.programme for draft in fresh), (known.id for known in people.values()))
    places = allocation.places(session, [draft.order.prescriber_id for draft in fresh])
    plan = allocation.plan(session, {draft.programme.id for draft in fresh}, lock=lock)
    desk = _Desk(secrets.identities, earlier, people, pasts, places, plan)
    placed = [desk.place(order, draft) for order, draft in zip(orders, drafts, strict=True)]
    _recognise(session, secrets.identities, orders, placed)
    charged = [each for each in placed if isinstance(each, Charged)]
    granted_to = {each.person.id for each in charged if each.person}
    forget_unused(session, [person for person in people.values() if person.id not in granted_to])
    granted = iter(issuing.issue(session, secrets, charged))
    envelopes.charge(session, plan.charges)
    return [next(granted) if isinstance(each, Charged) else each for each in placed]


@dataclass(frozen=True, slots=True)
class _Desk:
    """What an order is held against."""

    identities: Identities
    earlier: Mapping[duplicates.Key, duplicates.Earlier]
    people: Mapping[Identity | None, Known]
    pasts: history.Histories
    places: Mapping[UUID, allocation.Place]
    plan: allocation.Plan

    def place(self, order: Order, draft: Draft | Problem) -> Charged | Granted | Problem:
        """Charges one draft in the plan, unless it was granted before or cannot be."""
        try:
            if known := self.earlier.get(duplicates.key(order)):
                return Granted(duplicates.same(known, order, self.identities), (), already=True)
            return draft if isinstance(draft, Problem) else self._charge(draft)
        except Problem as problem:
            return problem

    def _charge(self, draft: Draft) -> Charged:
        order, person = draft.order, self.people.get(draft.order.beneficiary)
        exception_reason = self._hold(draft, person)
        place = self.places[order.prescriber_id]
        need = allocation.Need(draft.programme.id, order.target_public, draft.granted_on, draft.values, place)
        taken = self.plan.take(need)
        if person:
            self.pasts[person.id, draft.programme.id].append(Past(draft.granted_on, draft.outcome.amount_cents))
        return Charged(draft, taken, person, exception_reason)

    def _hold(self, draft: Draft, person: Known | None) -> str | None:
        """Holds the draft against the programme's limit; gives the reason for which it goes beyond it, if it does."""
        limit = person_limits.of(draft.programme)
        if limit is None:
            return None
        if person is None:
            person_limits.check_nobody(limit)
            return None
        standing = person_limits.standing(limit, self.pasts[person.id, draft.programme.id], draft.granted_on)
        reason, cents = draft.order.exception_reason, draft.outcome.amount_cents
        return person_limits.hold(limit, standing, cents, reason=reason, allowed=draft.may_exceed)


def _recognise(
    session: Session, identities: Identities, orders: Sequence[Order], placed: Sequence[Charged | Granted | Problem]
) -> None:
    """Raises Outrun where what seems too much for a person is the very order, granted while this one waited for it."""
    refused = [order for order, each in zip(orders, placed, strict=True) if isinstance(each, person_limits.Exceeded)]
    if duplicates.earlier(session, refused, identities):
        raise Outrun
