"""Conventions: what a funder agreed to pay for, on what terms, and the envelopes that stand under it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.funding.models import Convention, ConventionAmendment, Envelope
from shared.database.lookup import get_or_404
from shared.problems import Conflict, Invalid
from shared.values import clock
from shared.values.ids import new_id

WHOLE = 10_000
"""Ten-thousandths: parts of money are counted in them."""


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


def every(funder: str | None) -> sa.Select[Any]:
    """The query of all conventions, or of one funder's."""
    query = sa.select(Convention)
    return query.where(Convention.funder == funder) if funder else query


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


def write_down(session: Session, convention: Convention, reason: str, by: str) -> ConventionAmendment:
    """The amendment that records a convention's current amount and end, with who agreed them and why."""
    amendment = ConventionAmendment(
        id=new_id(),
        convention_id=convention.id,
        amount_cents=convention.amount_cents,
        ends_on=convention.ends_on,
        reason=reason,
        made_by=by,
        made_on=clock.today(),
        made_at=clock.now(),
    )
    session.add(amendment)
    session.flush()
    return amendment


def _insert(session: Session, terms: Mapping[str, Any], by: str) -> Convention | None:
    open_to_all: Mapping[str, Any] = {"target_publics": [], "territory": [], "reserved_publics": []}
    values = {"id": new_id(), "pays_at_most_bp": WHOLE, "reserved_bp": 0, **open_to_all, **terms}
    added = pg.insert(Convention).values(values).on_conflict_do_nothing().returning(Convention)
    made = session.scalars(added).one_or_none()
    if made:
        write_down(session, made, "Agreed.", by)
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
