"""Granting: orders held against rules and money, each granted or refused by itself, in the order given."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import psycopg.errors
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.issuer import envelopes, issuing
from services.issuer.beneficiaries import Identities
from services.issuer.envelopes import Outrun
from services.issuer.issuing import Charged, Granted, Secrets
from services.issuer.models import Beneficiary, Grant
from services.issuer.orders import Draft, Order, draft_all
from shared.problems import Conflict, Problem, Unavailable

Earlier = tuple[Grant, bytes | None]
"""A grant made before, with the digest of its person while that is known."""

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
                return _attempt(session, secrets, drafts, lock=attempt >= _UNLOCKED_PLANS)
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
    session: Session, secrets: Secrets, drafts: Sequence[Draft | Problem], *, lock: bool
) -> list[Granted | Problem]:
    """Plans, writes, and charges the envelopes last; raises Outrun where they have not what was planned."""
    earlier = _earlier(session, drafts)
    plan = envelopes.plan(session, {draft.programme.id for draft in drafts if isinstance(draft, Draft)}, lock=lock)
    placed = [
        draft if isinstance(draft, Problem) else _place(draft, plan, earlier, secrets.identities) for draft in drafts
    ]
    granted = iter(issuing.issue(session, secrets, [each for each in placed if isinstance(each, Charged)]))
    envelopes.charge(session, plan.charges)
    return [next(granted) if isinstance(each, Charged) else each for each in placed]


def _place(
    draft: Draft, plan: envelopes.Plan, earlier: Mapping[tuple[UUID, str | None], Earlier], identities: Identities
) -> Charged | Granted | Problem:
    """Charges one draft in the plan, unless it was granted before or cannot be."""
    order = draft.order
    known = earlier.get((order.prescriber_id, order.reference))
    try:
        if known:
            return _repeated(known, draft, identities)
        return Charged(draft, plan.take(draft.programme, order.target_public, draft.granted_on, draft.cheques))
    except Problem as problem:
        return problem


def _earlier(session: Session, drafts: Iterable[Draft | Problem]) -> dict[tuple[UUID, str | None], Earlier]:
    """The grants made before under the references of these drafts, with the digest of the person."""
    named = {
        (draft.order.prescriber_id, draft.order.reference)
        for draft in drafts
        if isinstance(draft, Draft) and draft.order.reference
    }
    if not named:
        return {}
    query = sa.select(Grant, Beneficiary.digest).outerjoin(Beneficiary, Beneficiary.id == Grant.beneficiary_id)
    found = session.execute(query.where(sa.tuple_(Grant.prescriber_id, Grant.reference).in_(named)))
    return {(grant.prescriber_id, grant.reference): (grant, digest) for grant, digest in found}


def _repeated(earlier: Earlier, draft: Draft, identities: Identities) -> Granted:
    """The grant made before, if it is the one that is asked for; raises Conflict where it is another's."""
    known, digest = earlier
    order = draft.order
    asked = (draft.programme.id, draft.outcome.amount_cents, order.target_public, order.granted_on or known.granted_on)
    same = asked == (known.programme_id, known.amount_cents, known.target_public, known.granted_on)
    same_person = digest is None or (order.beneficiary is not None and digest in identities.digests(order.beneficiary))
    if not (same and same_person):
        raise Conflict("Another grant was made under this reference.", slug="reference-reused", grant_id=str(known.id))
    return Granted(known, (), already=True)
