"""Amending conventions, and raising, lowering and closing envelopes; recorded with who did it and why."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.funding import conventions, envelopes
from services.issuer.funding.models import (
    CLOSED,
    LOWERED,
    RAISED,
    Convention,
    ConventionAmendment,
    Envelope,
    EnvelopeMovement,
)
from shared.problems import Conflict, Invalid
from shared.values import clock
from shared.values.money import euros


def amend(session: Session, convention_id: UUID, terms: Mapping[str, Any], reason: str, by: str) -> ConventionAmendment:
    """The amendment that gives a convention another amount, another end or both: the `terms`.

    Envelopes that ran to its end run to the new one, and none runs longer. Raises NotFound, Invalid where it would end
    before it begins, Conflict where its envelopes hold more, or begin later.
    """
    convention = conventions.locked(session, convention_id)
    amount_cents = terms.get("amount_cents", convention.amount_cents)
    held = conventions.held_cents(session, convention)
    if amount_cents is not None and held > amount_cents:
        raise Conflict(
            f"Its envelopes hold {euros(held)}: lower or close them first.", slug="amount-held", held_cents=held
        )
    if "ends_on" in terms:
        _end_on(session, convention, terms["ends_on"])
    convention.amount_cents = amount_cents
    return conventions.write_down(session, convention, reason, by)


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
        envelopes.check_amount(session, convention, amount_cents - before)
    else:
        raise Conflict("That is its amount already.", slug="amount-unchanged")
    envelope.amount_cents, envelope.reserved_cents = amount_cents, reserved
    kind = RAISED if amount_cents > before else LOWERED
    movement = envelopes.move(session, envelope, kind, before, amount_cents, reason, by)
    envelopes.warn(session, envelope, envelope.engaged_cents, before)
    return movement


def close(session: Session, envelope_id: UUID, reason: str, by: str) -> EnvelopeMovement:
    """Closes an envelope: it keeps what is engaged and takes no more cheques; the rest is its convention's again.

    Raises NotFound, Conflict where it is closed.
    """
    _convention, envelope = _locked(session, envelope_id)
    before = envelope.amount_cents
    envelope.amount_cents, envelope.reserved_cents = envelope.engaged_cents, 0
    envelope.closed_at = clock.now()
    return envelopes.move(session, envelope, CLOSED, before, envelope.amount_cents, reason, by)


def amendments(convention_id: UUID) -> sa.Select[Any]:
    """The query of what a convention granted, at first and by each amendment."""
    return sa.select(ConventionAmendment).where(ConventionAmendment.convention_id == convention_id)


def movements(envelope_id: UUID) -> sa.Select[Any]:
    """The query of what was done to an envelope."""
    return sa.select(EnvelopeMovement).where(EnvelopeMovement.envelope_id == envelope_id)


def _locked(session: Session, envelope_id: UUID) -> tuple[Convention, Envelope]:
    """An open envelope, which no grant can be charged to until the commit, and its convention.

    The convention comes first, as it does for who adds an envelope to it.
    """
    convention = conventions.locked(session, envelopes.find(session, envelope_id).convention_id)
    envelope = session.get_one(
        Envelope, envelope_id, with_for_update={"key_share": True, "of": Envelope}, populate_existing=True
    )
    if envelope.closed_at:
        raise Conflict("The envelope is closed.", slug="envelope-closed")
    return convention, envelope


def _end_on(session: Session, convention: Convention, ends_on: date) -> None:
    """Moves the end of a locked convention and of the envelopes that follow it."""
    if convention.starts_on and ends_on < convention.starts_on:
        raise Invalid(
            "It would end before it begins.", errors={"ends_on": [f"Not before {convention.starts_on}, its first day."]}
        )
    under = sa.select(Envelope).where(Envelope.convention_id == convention.id).order_by(Envelope.id)
    rows = under.with_for_update(key_share=True, of=Envelope).execution_options(populate_existing=True)
    for envelope in session.scalars(rows):
        if envelope.starts_on > ends_on:
            raise Conflict("An envelope begins after that day.", slug="envelope-later", envelope_id=str(envelope.id))
        if envelope.ends_on == convention.ends_on or envelope.ends_on > ends_on:
            envelope.ends_on = ends_on
    convention.ends_on = ends_on


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
