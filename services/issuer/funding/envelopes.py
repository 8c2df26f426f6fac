"""Envelopes: money of one funder for one programme, of which none is ever engaged beyond its amount.

`allocation` plans which envelope each cheque is charged to, without locks. `charge` checks the plan against
what there is, by a conditional update that comes last in its transaction: an envelope's row, which every grant of its
programme writes, is locked only while the transaction commits.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque
from services.issuer.funding import conventions
from services.issuer.funding.models import OPENED, Charge, Convention, Envelope, EnvelopeMovement
from services.issuer.notices import outbox
from services.issuer.programmes.models import Programme
from shared.database import engine
from shared.database.lookup import get_or_404
from shared.problems import Conflict, Invalid
from shared.values import clock
from shared.values.ids import new_id

_RELEASES = "envelope releases"
WARNED_AT = (80, 90, 100)
"""Percentages of an envelope's amount, engaged, at which a notice is posted."""


@dataclass(frozen=True, slots=True)
class Engaged:
    """An envelope after a change of its engaged cents."""

    id: UUID
    funder: str
    convention_reference: str
    amount_cents: int
    engaged_cents: int


class AllocationConflict(Exception):
    """Another transaction took money between plan and charge: plan again."""


def create(session: Session, programme: Programme, terms: Mapping[str, Any], by: str = "system") -> Envelope:
    """Adds an envelope to a programme; `terms` are its columns by name, and `convention_id` where that is known.

    Without it the convention is the one of this funder and reference, made if there is none. What the terms do not say
    the convention does. Raises NotFound, Invalid where the two do not go together, Conflict where the convention does
    not grant so much.
    """
    convention = conventions.locked(session, conventions.named(session, terms, by).id)
    whole = _whole(convention, terms)
    check_amount(session, convention, whole["amount_cents"])
    envelope = Envelope(id=new_id(), programme=programme, convention=convention, engaged_cents=0, **whole)
    envelope.reserved_cents = conventions.reserved_cents(convention, envelope.amount_cents)
    envelope.engaged_reserved_cents = 0
    session.add(envelope)
    session.flush()
    move(session, envelope, OPENED, 0, envelope.amount_cents, "Opened.", by)
    return envelope


def find(session: Session, envelope_id: UUID) -> Envelope:
    """An envelope; raises NotFound."""
    return get_or_404(session, Envelope, envelope_id, "There is no such envelope.")


def every(programme: str | None, convention_id: UUID | None = None) -> sa.Select[Any]:
    """The query of all envelopes, or of one programme's, or of one convention's."""
    query = sa.select(Envelope)
    if convention_id:
        query = query.where(Envelope.convention_id == convention_id)
    return query.join(Programme).where(Programme.code == programme) if programme else query


def check_amount(session: Session, convention: Convention, more_cents: int) -> None:
    """Raises Conflict where a locked convention has less left for its envelopes."""
    amount, held = convention.amount_cents, conventions.held_cents(session, convention)
    if amount is not None and held + more_cents > amount:
        raise Conflict(
            "The envelopes would hold more than their convention grants.",
            slug="convention-exceeded",
            convention_cents=amount,
            available_cents=amount - held,
            wanted_cents=more_cents,
        )


def move(
    session: Session, envelope: Envelope, kind: str, before_cents: int, after_cents: int, reason: str, by: str
) -> EnvelopeMovement:
    """The movement that records a change of an envelope's amount."""
    movement = EnvelopeMovement(
        id=new_id(),
        envelope_id=envelope.id,
        kind=kind,
        before_cents=before_cents,
        after_cents=after_cents,
        reason=reason,
        made_by=by,
        made_on=clock.today(),
        made_at=clock.now(),
    )
    session.add(movement)
    session.flush()
    return movement


def charge(session: Session, charges: Mapping[tuple[UUID, bool], int]) -> None:
    """Engages these cents, by envelope and by whether they are for a public that it reserves money for.

    Raises AllocationConflict where an envelope has less left. Locks in the order of the ids, as every transaction
    does, so that two never deadlock.
    """
    for envelope_id in sorted({envelope_id for envelope_id, _ in charges}):
        reserved, others = charges.get((envelope_id, True), 0), charges.get((envelope_id, False), 0)
        cents = reserved + others
        enough = sa.and_(
            Envelope.closed_at.is_(None),
            Envelope.engaged_cents + cents <= Envelope.amount_cents,
            Envelope.engaged_cents - Envelope.engaged_reserved_cents + others
            <= Envelope.amount_cents - Envelope.reserved_cents,
        )
        engaged = _engage(session, envelope_id, cents, reserved, enough)
        if engaged is None:
            raise AllocationConflict
        warn(session, engaged, engaged.engaged_cents - cents, engaged.amount_cents)


def release(session: Session, cheque_ids: Sequence[UUID]) -> None:
    """Gives the money of these cheques back to their envelopes as the transaction commits, whenever it is called."""
    _later(session, cheque_ids, 1)


def retain(session: Session, cheque_ids: Sequence[UUID]) -> None:
    """Engages the money of cheques made in the place of others that are released in the same transaction.

    The two cancel out: it works where the envelope is full, or closed.
    """
    _later(session, cheque_ids, -1)


def warn(session: Session, envelope: Engaged | Envelope, before_cents: int, before_amount_cents: int) -> None:
    """Posts a notice of each percentage that the engaged cents have just reached, once for each amount."""
    amount = envelope.amount_cents
    for percent in WARNED_AT:
        was = before_cents * 100 >= before_amount_cents * percent
        if envelope.engaged_cents * 100 < amount * percent or was or not amount:
            continue
        body = {
            "envelope_id": str(envelope.id),
            "funder": envelope.funder,
            "convention_reference": envelope.convention_reference,
            "percent": percent,
            "engaged_cents": envelope.engaged_cents,
            "amount_cents": amount,
        }
        key = f"{envelope.id} {percent} of {amount}"
        outbox.post(session, "envelope.filling", key, body, subject_id=envelope.id)


def _later(session: Session, cheque_ids: Sequence[UUID], sign: int) -> None:
    if not cheque_ids:
        return
    if _RELEASES not in session.info:
        session.info[_RELEASES] = Counter()
        event.listen(session, "before_commit", _release_all)
    sums = (
        sa.select(Cheque.envelope_id, Charge.reserved, sa.func.sum(Cheque.value_cents))
        .join(Charge, sa.and_(Charge.grant_id == Cheque.grant_id, Charge.envelope_id == Cheque.envelope_id))
        .where(engine.among(Cheque.id, cheque_ids))
        .group_by(Cheque.envelope_id, Charge.reserved)
    )
    for envelope_id, reserved, cents in session.execute(sums):
        session.info[_RELEASES][envelope_id, reserved] += sign * int(cents)


def _release_all(session: Session) -> None:
    freed: Counter[tuple[UUID, bool]] = session.info[_RELEASES]
    for envelope_id in sorted({envelope_id for envelope_id, _ in freed}):
        reserved = freed[envelope_id, True]
        cents = reserved + freed[envelope_id, False]
        if cents or reserved:
            _engage(session, envelope_id, -cents, -reserved, sa.true())
    freed.clear()


def _engage(
    session: Session, envelope_id: UUID, cents: int, reserved_cents: int, condition: sa.ColumnElement[bool]
) -> Engaged | None:
    statement = (
        sa.update(Envelope)
        .where(Envelope.id == envelope_id, condition)
        .values(
            engaged_cents=Envelope.engaged_cents + cents,
            engaged_reserved_cents=Envelope.engaged_reserved_cents + reserved_cents,
        )
        .returning(
            Envelope.id,
            Envelope.funder,
            Envelope.convention_reference,
            Envelope.amount_cents,
            Envelope.engaged_cents,
        )
        .execution_options(synchronize_session=False)
    )
    found = session.execute(statement).one_or_none()
    return Engaged(**found._mapping) if found else None


def _whole(convention: Convention, terms: Mapping[str, Any]) -> dict[str, Any]:
    """The envelope's columns, completed from its convention; raises Invalid where the two do not go together."""
    starts_on = terms.get("starts_on") or convention.starts_on
    ends_on = terms.get("ends_on") or convention.ends_on
    publics = terms.get("target_publics") or convention.target_publics
    errors = {
        **_period_faults(convention, starts_on, ends_on),
        **_public_faults(convention, publics),
    }
    if errors:
        raise Invalid("The envelope does not go with its convention: see `errors`.", errors=errors)
    return {
        "funder": convention.funder,
        "convention_reference": convention.reference,
        "amount_cents": terms["amount_cents"],
        "starts_on": starts_on,
        "ends_on": ends_on,
        "target_publics": list(publics),
        "priority": terms.get("priority", 0),
        "share_bp": terms.get("share_bp"),
    }


def _period_faults(convention: Convention, starts_on: date | None, ends_on: date | None) -> dict[str, list[str]]:
    errors = {}
    if starts_on is None:
        errors["starts_on"] = ["The convention does not say it: give a day."]
    elif convention.starts_on and starts_on < convention.starts_on:
        errors["starts_on"] = [f"Not before the convention's, {convention.starts_on}."]
    if ends_on is None:
        errors["ends_on"] = ["The convention does not say it: give a day."]
    elif convention.ends_on and ends_on > convention.ends_on:
        errors["ends_on"] = [f"Not after the convention's, {convention.ends_on}."]
    elif starts_on and ends_on < starts_on:
        errors["ends_on"] = ["Not before `starts_on`."]
    return errors


def _public_faults(convention: Convention, publics: Sequence[str]) -> dict[str, list[str]]:
    strange = set(publics) - set(convention.target_publics) if convention.target_publics else set()
    if strange:
        return {"target_publics": [f"Only of the convention's: {', '.join(convention.target_publics)}."]}
    if publics and not set(convention.reserved_publics) <= set(publics):
        reserved = ", ".join(convention.reserved_publics)
        return {"target_publics": [f"With all for whom the convention reserves money: {reserved}."]}
    return {}
