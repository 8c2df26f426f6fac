"""Envelopes: money of one funder for one programme, of which none is ever engaged beyond its amount.

`allocation` plans which envelope each cheque is charged to, without locks. `charge` checks the plan against
what there is, by a conditional update that comes last in its transaction: an envelope's row, which every grant of its
programme writes, is locked only while the transaction commits.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque
from services.issuer.funding import conventions, models
from services.issuer.funding.models import Charge, Convention, Envelope, EnvelopeMovement
from services.issuer.notices import outbox
from services.issuer.programmes.models import Programme
from shared.database import engine, paging
from shared.database.lookup import get_or_404
from shared.problems import Conflict
from shared.values import clock
from shared.values.money import euros

WARNED_AT = (80, 90, 100)
"""Percentages of an envelope's amount, engaged, at which a notice is posted."""


class Freed(NamedTuple):
    """Cheques that ended, and cheques made in their place, which take over their money."""

    ended: Sequence[UUID]
    replacements: Sequence[UUID] = ()


class AllocationConflict(Exception):
    """Another transaction took money between plan and charge: plan again."""


def create(session: Session, programme: Programme, terms: Mapping[str, Any], by: str) -> Envelope:
    """Adds an envelope to a programme; `terms` are its columns by name, and `convention_id` where it is known.

    Without it the convention is the one of this funder and reference, made if there is none. What the terms leave out
    is the convention's. Raises NotFound, Invalid where the two do not go together, Conflict where the convention does
    not grant so much.
    """
    convention = conventions.locked(session, conventions.named(session, terms, by).id)
    columns = conventions.envelope_columns(convention, terms)
    _check_amount(session, convention, columns["amount_cents"])
    envelope = Envelope(
        programme=programme, convention=convention, engaged_cents=0, engaged_reserved_cents=0, **columns
    )
    session.add(envelope)
    session.flush()
    _record(session, envelope, models.OPENED, 0, "Opened.", by)
    return envelope


def find(session: Session, envelope_id: UUID) -> Envelope:
    """An envelope; raises NotFound."""
    return get_or_404(session, Envelope, envelope_id, "There is no such envelope.")


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the envelopes, of all or of the `programme` and the `convention_id` of a query."""
    envelopes = sa.select(Envelope)
    if query["programme"]:
        envelopes = envelopes.join(Programme).where(Programme.code == query["programme"])
    if query["convention_id"]:
        envelopes = envelopes.where(Envelope.convention_id == query["convention_id"])
    return paging.page(session, envelopes, Envelope.id, query["after"], query["limit"])


def movements(session: Session, envelope_id: UUID, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of what was done to an envelope; raises NotFound."""
    find(session, envelope_id)
    return paging.page_by(session, EnvelopeMovement, {**query, "envelope_id": envelope_id})


def set_amount(session: Session, envelope_id: UUID, amount_cents: int, reason: str, by: str) -> EnvelopeMovement:
    """Raises or lowers an envelope to an amount.

    Raises NotFound, Conflict where it is closed, where less would be left than is engaged, or where its convention does
    not grant so much.
    """
    convention, envelope = _locked(session, envelope_id)
    before = envelope.amount_cents
    reserved = conventions.reserved_cents(convention, amount_cents)
    if amount_cents < before:
        _check_lowered(envelope, amount_cents, reserved)
    elif amount_cents > before:
        _check_amount(session, convention, amount_cents - before)
    else:
        raise Conflict("That is its amount already.", slug="amount-unchanged")
    envelope.amount_cents, envelope.reserved_cents = amount_cents, reserved
    kind = models.RAISED if amount_cents > before else models.LOWERED
    movement = _record(session, envelope, kind, before, reason, by)
    _warn(session, envelope, envelope.engaged_cents, before)
    return movement


def close(session: Session, envelope_id: UUID, reason: str, by: str) -> EnvelopeMovement:
    """Closes an envelope: it keeps what is engaged and takes no more cheques; the rest is its convention's again.

    Raises NotFound, Conflict where it is closed.
    """
    _convention, envelope = _locked(session, envelope_id)
    before = envelope.amount_cents
    envelope.amount_cents, envelope.reserved_cents = envelope.engaged_cents, 0
    envelope.closed_at = clock.now()
    return _record(session, envelope, models.CLOSED, before, reason, by)


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
        _warn(session, engaged, engaged.engaged_cents - cents, engaged.amount_cents)


def release(session: Session, freed: Sequence[Freed]) -> None:
    """Gives the money of ended cheques back to their envelopes, or to the cheques made in their place.

    The latter is never free in between: it works where the envelope is full, or closed. To be called once and last in a
    transaction: it locks in the order of the ids, as `charge` does.
    """
    replacements = [cheque_id for item in freed for cheque_id in item.replacements]
    cheque_ids = [cheque_id for item in freed for cheque_id in item.ended] + replacements
    if not cheque_ids:
        return
    cents = sa.case((engine.among(Cheque.id, replacements), -Cheque.value_cents), else_=Cheque.value_cents)
    sums = (
        sa.select(Cheque.envelope_id, sa.func.sum(cents), sa.func.sum(sa.case((Charge.reserved, cents), else_=0)))
        .join(Charge, sa.and_(Charge.grant_id == Cheque.grant_id, Charge.envelope_id == Cheque.envelope_id))
        .where(engine.among(Cheque.id, cheque_ids))
        .group_by(Cheque.envelope_id)
        .order_by(Cheque.envelope_id)
    )
    for envelope_id, released, reserved in session.execute(sums).all():
        if released or reserved:
            _engage(session, envelope_id, -int(released), -int(reserved), sa.true())


def _warn(session: Session, envelope: Envelope | sa.Row[Any], before_cents: int, before_amount_cents: int) -> None:
    """Posts a notice of each percentage that the engaged cents have just reached, once for each amount."""
    amount = envelope.amount_cents
    for percent in WARNED_AT:
        was = before_cents * 100 >= before_amount_cents * percent
        if amount and not was and envelope.engaged_cents * 100 >= amount * percent:
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


_ENGAGED = (
    Envelope.id, Envelope.funder, Envelope.convention_reference, Envelope.amount_cents, Envelope.engaged_cents,
)  # fmt: skip


def _engage(
    session: Session, envelope_id: UUID, cents: int, reserved_cents: int, condition: sa.ColumnElement[bool]
) -> sa.Row[*tuple[Any, ...]] | None:
    """The envelope after a change of its engaged cents; None where it does not meet the condition."""
    statement = (
        sa.update(Envelope)
        .where(Envelope.id == envelope_id, condition)
        .values(
            engaged_cents=Envelope.engaged_cents + cents,
            engaged_reserved_cents=Envelope.engaged_reserved_cents + reserved_cents,
        )
        .returning(*_ENGAGED)
        .execution_options(synchronize_session=False)
    )
    return session.execute(statement).one_or_none()


def _locked(session: Session, envelope_id: UUID) -> tuple[Convention, Envelope]:
    """An open envelope, which no grant can be charged to until the commit, and its convention.

    The convention comes first, as it does for who adds an envelope to it.
    """
    convention = conventions.locked(session, find(session, envelope_id).convention_id)
    envelope = session.get_one(
        Envelope, envelope_id, with_for_update={"key_share": True, "of": Envelope}, populate_existing=True
    )
    if envelope.closed_at:
        raise Conflict("The envelope is closed.", slug="envelope-closed")
    return convention, envelope


def _check_amount(session: Session, convention: Convention, more_cents: int) -> None:
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


def _check_lowered(envelope: Envelope, amount_cents: int, reserved_cents: int) -> None:
    others = envelope.engaged_cents - envelope.engaged_reserved_cents
    if amount_cents < envelope.engaged_cents or amount_cents - reserved_cents < others:
        raise Conflict(
            f"{euros(envelope.engaged_cents)} are engaged, of which {euros(others)} for publics that no money is kept"
            f" for. Of {euros(amount_cents)}, {euros(reserved_cents)} would be kept for others.",
            slug="amount-engaged",
            engaged_cents=envelope.engaged_cents,
            wanted_cents=amount_cents,
        )


def _record(
    session: Session, envelope: Envelope, kind: str, before_cents: int, reason: str, by: str
) -> EnvelopeMovement:
    """The movement that records a change to an envelope's current amount."""
    movement = EnvelopeMovement(
        envelope_id=envelope.id,
        kind=kind,
        before_cents=before_cents,
        after_cents=envelope.amount_cents,
        reason=reason,
        made_by=by,
    )
    session.add(movement)
    session.flush()
    return movement
