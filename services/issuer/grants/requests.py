"""Orders: what prescribers ask for, held against the programme's rules before any money is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

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
class Order:
    """One grant as it is asked for: by answers, or as a stated amount with its reason."""

    prescriber_id: UUID
    programme: str
    answers: Mapping[str, str] | None = field(default=None, repr=False)
    amount_cents: int | None = None
    reason: str | None = None
    target_public: str | None = None
    granted_on: date | None = None
    beneficiary: Identity | None = None
    exception_reason: str | None = None
    """Why the person is to have more than the programme gives one person, if it comes to that."""
    role: str = "prescriber"
    asked_by: str = "prescriber"
    """The role of who asks, and who it is."""
    reference: str | None = None
    """The prescriber's own name for the grant: under one reference there is one grant."""
    lot: str | None = None
    """The lot that it belongs to, by its code."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An order that is granted if there is money for it."""

    order: Order
    programme: Programme
    outcome: Outcome
    granted_on: date
    valid_until: date
    presentable_until: date

    may_exceed: bool
    """Whether who asks may go beyond what the programme gives one person."""
    lot_id: UUID | None = None

    @property
    def values(self) -> tuple[int, ...]:
        """What each cheque is worth, in cents."""
        return assessment.values(self.programme, self.outcome.amount_cents)


def draft_all(session: Session, orders: Sequence[Order]) -> list[Draft | Problem]:
    """A draft of each order, or the problem for which its programme does not allow it."""
    codes = {order.programme for order in orders}
    found = session.scalars(sa.select(Programme).where(Programme.code.in_(codes)))
    by_code = {programme.code: programme for programme in found}
    wanted = {order.prescriber_id for order in orders}
    registered = session.execute(sa.select(Prescriber.id, Prescriber.typologies).where(Prescriber.id.in_(wanted)))
    typologies = {row.id: row.typologies for row in registered}
    by_name = lots.named(session, {order.lot for order in orders if order.lot})
    return [
        _draft(order, by_code.get(order.programme), typologies.get(order.prescriber_id), by_name.get(order.lot or ""))
        for order in orders
    ]


def outcome(order: Order, rule: Rule | None) -> Outcome:
    """What an order comes to by a rule: the amount that it states, or what its answers give."""
    if order.answers is None:
        return Outcome(order.amount_cents or 0, order.reason or "")
    return assessment.assess(rule, order.answers)


def _draft(
    order: Order, programme: Programme | None, typologies: Sequence[str] | None, lot: Lot | None
) -> Draft | Problem:
    try:
        if typologies is None:
            raise Forbidden("This prescriber is not registered here.", slug="unknown-prescriber")
        if programme is None:
            raise programmes.unknown()
        given = _eligible(order, programme, typologies)
        lot_id = lots.admit(lot, order.lot, programme)
        granted_on = order.granted_on or clock.today()
        limit = person_limits.of(programme)
        may_exceed = limit is not None and person_limits.may_exceed(limit, order.role, typologies)
        valid = programmes.validity(programme, granted_on)
        return Draft(order, programme, given, granted_on, *valid, may_exceed, lot_id)
    except Problem as problem:
        return problem


def _eligible(order: Order, programme: Programme, typologies: Sequence[str]) -> Outcome:
    given = outcome(order, programme.assessment)
    if order.answers is None:
        assessment.check_stated(programme, given.amount_cents, order.role, typologies)
    elif given.amount_cents == 0:
        raise Conflict(given.reason, slug="not-eligible", points=given.points)
    return given
