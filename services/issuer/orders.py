"""Orders: what prescribers ask for, held against the programme's rules before any money is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer import assessing, programmes
from services.issuer.assessing import Outcome
from services.issuer.beneficiaries import Identity
from services.issuer.models import Prescriber, Programme
from shared import clock
from shared.problems import Conflict, Forbidden, Problem


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
    reference: str | None = None
    """The prescriber's own name for the grant: under one reference there is one grant."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An order that is granted if there is money for it."""

    order: Order
    programme: Programme
    outcome: Outcome
    granted_on: date
    valid_until: date
    presentable_until: date

    @property
    def cheques(self) -> int:
        """How many cheques make the amount."""
        return self.outcome.amount_cents // self.programme.face_value_cents


def draft_all(session: Session, orders: Sequence[Order]) -> list[Draft | Problem]:
    """A draft of each order, or the problem for which its programme does not allow it."""
    codes = {order.programme for order in orders}
    found = session.scalars(sa.select(Programme).where(Programme.code.in_(codes)))
    by_code = {programme.code: programme for programme in found}
    wanted = {order.prescriber_id for order in orders}
    prescribers = set(session.scalars(sa.select(Prescriber.id).where(Prescriber.id.in_(wanted))))
    return [_draft(order, by_code.get(order.programme), order.prescriber_id in prescribers) for order in orders]


def _draft(order: Order, programme: Programme | None, registered: bool) -> Draft | Problem:
    try:
        if not registered:
            raise Forbidden("This prescriber is not registered here.", slug="unknown-prescriber")
        if programme is None:
            raise programmes.unknown()
        outcome = _outcome(order, programme)
        granted_on = order.granted_on or clock.today()
        return Draft(order, programme, outcome, granted_on, *programmes.validity(programme, granted_on))
    except Problem as problem:
        return problem


def _outcome(order: Order, programme: Programme) -> Outcome:
    if order.answers is None:
        return assessing.state(programme, order.amount_cents or 0, order.reason or "")
    outcome = assessing.assess(programme, order.answers)
    if outcome.amount_cents == 0:
        raise Conflict(outcome.reason, slug="not-eligible", points=outcome.points)
    return outcome
