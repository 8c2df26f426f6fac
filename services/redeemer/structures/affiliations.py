"""Affiliations: a structure may redeem the cheques of a contract's programme, from a day and perhaps until one."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.structures.models import Affiliation, Contract, Structure
from shared.database import paging
from shared.eventlog import log
from shared.problems import Conflict, Invalid
from shared.values import clock


def affiliate(
    session: Session, structure_id: UUID, contract_id: UUID, starts_on: date, ends_on: date | None
) -> Affiliation:
    """Affiliates a structure to a contract for a period, both days included; without `ends_on`, for good.

    Raises Invalid where there is no such structure or contract or the period ends before it begins, Conflict where
    the structure is affiliated to that contract for a part of the period already.
    """
    structure = session.get(Structure, structure_id, with_for_update=True)
    contract = session.get(Contract, contract_id)
    if structure is None or contract is None or (ends_on is not None and ends_on < starts_on):
        raise _invalid(structure, contract)
    if any(_overlap(known, starts_on, ends_on) for known in of(session, structure_id, contract_id)):
        raise Conflict(
            "The structure is affiliated to this contract for a part of that period already.",
            slug="affiliation-overlaps",
        )
    affiliation = Affiliation(structure_id=structure_id, contract_id=contract_id, starts_on=starts_on, ends_on=ends_on)
    session.add(affiliation)
    session.flush()
    if structure.suspended_at is None:  # whoever is suspended is told of when the suspension ends
        announce(session, structure, [affiliation])
    return affiliation


def of(session: Session, structure_id: UUID, contract_id: UUID | None = None) -> Sequence[Affiliation]:
    """The affiliations of a structure, to one contract or to all."""
    query = sa.select(Affiliation).where(Affiliation.structure_id == structure_id).order_by(Affiliation.id)
    return session.scalars(query if contract_id is None else query.filter_by(contract_id=contract_id)).all()


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """One page of affiliations, of one structure where the query names it."""
    return paging.page_by(session, Affiliation, query)


def carry_over(session: Session, contract_id: UUID, successor_id: UUID) -> None:
    """Affiliates who is affiliated to a contract, today or later, to the one that succeeds it, for the same period.

    Who is affiliated to that one already stays as it is, so once or often is the same.
    """
    known = sa.select(Affiliation.structure_id).where(Affiliation.contract_id == successor_id)
    lasting = (Affiliation.ends_on.is_(None)) | (Affiliation.ends_on >= clock.today())
    chosen = (
        sa.select(Affiliation, Structure)
        .join(Structure, Structure.id == Affiliation.structure_id)
        .where(Affiliation.contract_id == contract_id, lasting, Affiliation.structure_id.not_in(known))
        .order_by(Affiliation.id)
    )
    for old, structure in session.execute(chosen).all():
        made = Affiliation(
            structure_id=structure.id, contract_id=successor_id, starts_on=old.starts_on, ends_on=old.ends_on
        )
        session.add(made)
        if structure.suspended_at is None:
            announce(session, structure, [made])


def announce(session: Session, structure: Structure, made: Iterable[Affiliation]) -> None:
    """Tells of affiliations of a structure, as they stand."""
    entries: list[tuple[object, Mapping[str, Any]]] = [
        (
            structure.id,
            {
                "structure_id": structure.id,
                "siret": structure.siret,
                "name": structure.name,
                "contract_id": affiliation.contract_id,
                "starts_on": affiliation.starts_on,
                "ends_on": affiliation.ends_on,
                **_description(structure),
            },
        )
        for affiliation in made
    ]
    log.append_many(session, "structure.affiliated", entries)


def describe(session: Session) -> None:
    """Tells where the affiliated structures are and what they offer, after a file changed some of them."""
    affiliated = sa.select(Affiliation.structure_id)
    found = session.scalars(
        sa.select(Structure)
        .where(Structure.id.in_(affiliated))
        .order_by(Structure.id)
        .execution_options(populate_existing=True)
    )
    entries = [(one.id, {"structure_id": one.id, "name": one.name, **_description(one)}) for one in found]
    log.append_many(session, "structure.described", entries)


def _description(structure: Structure) -> dict[str, Any]:
    """What is told of a structure so that people can be sent there."""
    return {
        "address": structure.address,
        "postcode": structure.postcode,
        "commune": structure.commune,
        "insee_code": structure.insee_code,
        "latitude": structure.latitude,
        "longitude": structure.longitude,
        "services": structure.services,
        "phone": structure.details.get("telephone"),
    }


def _invalid(structure: Structure | None, contract: Contract | None) -> Invalid:
    errors = {}
    if structure is None:
        errors["structure_id"] = ["There is no structure of this id."]
    if contract is None:
        errors["contract_id"] = ["There is no contract of this id, or the news of it has not come here yet."]
    if not errors:
        errors["ends_on"] = ["It must not be before starts_on."]
    return Invalid("The affiliation is not possible: see `errors`.", errors=errors)


def _overlap(known: Affiliation, starts_on: date, ends_on: date | None) -> bool:
    return (known.ends_on is None or starts_on <= known.ends_on) and (ends_on is None or known.starts_on <= ends_on)
