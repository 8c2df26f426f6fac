"""Conventions: what a funder agreed to pay for, on what terms, first and by each amendment."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.funding.models import WHOLE, Convention, ConventionAmendment, Envelope
from shared.database import paging
from shared.database.lookup import get_or_404
from shared.problems import Conflict, Invalid
from shared.values.money import euros


def create(session: Session, terms: Mapping[str, Any], by: str) -> Convention:
    """Adds a convention; `terms` are its columns by name.

    Raises Invalid where they do not go together, Conflict where the funder has one of this reference.
    """
    errors = _faults(terms)
    if errors:
        raise Invalid("The convention's terms do not go together: see `errors`.", errors=errors)
    made = _insert(session, terms, by)
    if made is None:
        raise Conflict(f"{terms['funder']} has a convention {terms['reference']} already.", slug="convention-exists")
    return made


def find(session: Session, convention_id: UUID) -> Convention:
    """A convention; raises NotFound."""
    return get_or_404(session, Convention, convention_id, "There is no such convention.")


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the conventions, of all or of the `funder` of a query."""
    return paging.page_by(session, Convention, query)


def amend(session: Session, convention_id: UUID, terms: Mapping[str, Any], reason: str, by: str) -> ConventionAmendment:
    """The amendment that gives a convention another amount, another end or both: the `terms`.

    Envelopes that ran to its end run to the new one, and none runs longer. Raises NotFound, Invalid where it would end
    before it begins, Conflict where its envelopes hold more, or begin later.
    """
    convention = locked(session, convention_id)
    amount_cents = terms.get("amount_cents", convention.amount_cents)
    held = held_cents(session, convention)
    if amount_cents is not None and held > amount_cents:
        raise Conflict(
            f"Its envelopes hold {euros(held)}: lower or close them first.", slug="amount-held", held_cents=held
        )
    if "ends_on" in terms:
        _end_on(session, convention, terms["ends_on"])
    convention.amount_cents = amount_cents
    return _record(session, convention, reason, by)


def amendments(session: Session, convention_id: UUID, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of what a convention granted, at first and by each amendment; raises NotFound."""
    find(session, convention_id)
    return paging.page_by(session, ConventionAmendment, {**query, "convention_id": convention_id})


def named(session: Session, terms: Mapping[str, Any], by: str) -> Convention:
    """The convention that an envelope's terms name: by `convention_id`, or by `funder` and `convention_reference`.

    Of the latter one is made where there is none, which asks for nothing. Raises NotFound.
    """
    if terms.get("convention_id"):
        return find(session, terms["convention_id"])
    name = {"funder": terms["funder"], "reference": terms["convention_reference"]}
    _insert(session, name, by)
    return session.scalars(sa.select(Convention).filter_by(**name)).one()


def reserved_cents(convention: Convention, amount_cents: int) -> int:
    """What of an envelope's amount only the reserved publics may take: rounded up, as it is a minimum."""
    return -(-amount_cents * convention.reserved_bp // WHOLE)


def owed_cents(convention: Convention, amount_cents: int, used_cents: int) -> int:
    """What the funder owes for the cheques used: at most its part of them, rounded down, and never above its amount."""
    return min(amount_cents, used_cents * convention.pays_at_most_bp // WHOLE)


def locked(session: Session, convention_id: UUID) -> Convention:
    """A convention that nobody else changes, or adds envelopes to, until the commit; raises NotFound."""
    convention = find(session, convention_id)
    session.refresh(convention, with_for_update={"key_share": True})
    return convention


def held_cents(session: Session, convention: Convention) -> int:
    """The sum of its envelopes' amounts, in cents."""
    held = sa.select(sa.func.coalesce(sa.func.sum(Envelope.amount_cents), 0))
    return int(session.execute(held.where(Envelope.convention_id == convention.id)).scalar_one())


def envelope_columns(convention: Convention, terms: Mapping[str, Any]) -> dict[str, Any]:
    """An envelope's columns, completed from its convention; raises Invalid where the two do not go together."""
    starts_on = terms.get("starts_on") or convention.starts_on
    ends_on = terms.get("ends_on") or convention.ends_on
    publics = terms.get("target_publics") or convention.target_publics
    errors = _period_faults(convention, starts_on, ends_on) | _public_faults(convention, publics)
    if errors:
        raise Invalid("The envelope does not go with its convention: see `errors`.", errors=errors)
    return {
        **terms,
        "funder": convention.funder,
        "convention_reference": convention.reference,
        "reserved_cents": reserved_cents(convention, terms["amount_cents"]),
        "starts_on": starts_on,
        "ends_on": ends_on,
        "target_publics": list(publics),
    }


def _record(session: Session, convention: Convention, reason: str, by: str) -> ConventionAmendment:
    """The amendment that records a convention's current amount and end."""
    amendment = ConventionAmendment(
        convention_id=convention.id,
        amount_cents=convention.amount_cents,
        ends_on=convention.ends_on,
        reason=reason,
        made_by=by,
    )
    session.add(amendment)
    session.flush()
    return amendment


def _insert(session: Session, terms: Mapping[str, Any], by: str) -> Convention | None:
    added = pg.insert(Convention).values(**terms).on_conflict_do_nothing().returning(Convention)
    made = session.scalars(added).one_or_none()
    if made:
        _record(session, made, "Agreed.", by)
    return made


def _faults(terms: Mapping[str, Any]) -> dict[str, list[str]]:
    reserved, publics = set(terms.get("reserved_publics", ())), set(terms.get("target_publics", ()))
    errors = {}
    if terms["ends_on"] < terms["starts_on"]:
        errors["ends_on"] = ["Not before `starts_on`."]
    if bool(reserved) != bool(terms.get("reserved_bp")):
        errors["reserved_bp"] = ["`reserved_publics` and `reserved_bp` go together."]
    if publics and not reserved <= publics:
        errors["reserved_publics"] = ["Only of the `target_publics`."]
    return errors


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
