"""Training structures, suspended and readmitted, and their affiliations.

A structure may redeem the cheques of a contract's programme, from a day and perhaps until one. Contracts are a mirror
of the bridge's: an affiliation to one goes over to its successor.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.structures.models import Affiliation, Contract, Structure, StructureImport
from shared.database import paging
from shared.database.lookup import get_or_404
from shared.eventlog import log
from shared.eventlog.event_kinds import ContractChanged
from shared.files.file_import import ImportOptions
from shared.places import importer
from shared.problems import Conflict, Invalid
from shared.process.recovery import PAGE_SIZE
from shared.values import clock


def take_in(session: Session, content: bytes, options: ImportOptions) -> dict[str, Any]:
    """Adds and updates structures by their source's identifier; raises as `importer.take_in` does."""
    report = importer.take_in(session, content, options, Structure, StructureImport)
    if report["changed"] and not options.dry_run:
        describe(session)
    return report


def find(session: Session, structure_id: UUID, *, lock: bool = False) -> Structure:
    """A structure by its id, locked against other changes if requested; raises NotFound."""
    return get_or_404(session, Structure, structure_id, "There is no structure of this id.", lock=lock)


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """One page of structures, or the only one that the query names."""
    return paging.page_by(session, Structure, query)


def suspend(session: Session, structure_id: UUID, reason: str) -> Structure:
    """Stops a structure from redeeming until further notice; suspending it twice changes nothing. Raises NotFound."""
    structure = find(session, structure_id, lock=True)
    if structure.suspended_at is None:
        structure.suspended_at, structure.suspension_reason = clock.now(), reason
        log.append(session, "structure.suspended", structure_id, {"structure_id": structure_id, "reason": reason})
    return structure


def readmit(session: Session, structure_id: UUID) -> Structure:
    """Ends a structure's suspension and publishes its affiliations again. Raises NotFound."""
    structure = find(session, structure_id, lock=True)
    if structure.suspended_at is not None:
        structure.suspended_at = structure.suspension_reason = None
        announce(session, structure, affiliations_of(session, structure_id))
    return structure


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
    if any(_overlap(earlier, starts_on, ends_on) for earlier in affiliations_of(session, structure_id, contract_id)):
        problem = "The structure is affiliated to this contract for a part of that period already."
        raise Conflict(problem, slug="affiliation-overlaps")
    affiliation = Affiliation(structure_id=structure_id, contract_id=contract_id, starts_on=starts_on, ends_on=ends_on)
    session.add(affiliation)
    session.flush()
    if structure.suspended_at is None:  # or else `readmit` announces it
        announce(session, structure, [affiliation])
    return affiliation


def affiliations_of(session: Session, structure_id: UUID, contract_id: UUID | None = None) -> Sequence[Affiliation]:
    """The affiliations of a structure, to one contract or to all."""
    query = sa.select(Affiliation).where(Affiliation.structure_id == structure_id).order_by(Affiliation.id)
    return session.scalars(query if contract_id is None else query.filter_by(contract_id=contract_id)).all()


def affiliations(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """One page of affiliations, of one structure where the query names it."""
    return paging.page_by(session, Affiliation, query)


def mirror_contracts(session: Session, contracts: Sequence[ContractChanged]) -> None:
    """Keeps contracts as published, the last event on each; their structures go over to the contracts that succeed."""
    last = {contract.contract_id: contract for contract in contracts}
    insert = pg.insert(Contract)
    changes = {name: column for name, column in insert.excluded.items() if name != "id"}
    rows = [
        {"id": contract_id} | {name: getattr(contract, name) for name in changes}
        for contract_id, contract in last.items()
    ]
    session.execute(insert.on_conflict_do_update(index_elements=["id"], set_=changes), rows)
    for contract in last.values():
        if contract.succeeds:
            _carry_over(session, contract.succeeds, contract.contract_id)


def contracts(session: Session, after: UUID) -> Sequence[Contract]:
    """A page of the contracts that the bridge published."""
    query = sa.select(Contract).where(Contract.id > after).order_by(Contract.id).limit(PAGE_SIZE)
    return session.scalars(query).all()


def _carry_over(session: Session, contract_id: UUID, successor_id: UUID) -> None:
    """Affiliates the structures of a contract, of today or later, to its successor for the same periods.

    Structures that are affiliated to that one already stay as they are, so once or often is the same.
    """
    carried = sa.select(Affiliation.structure_id).where(Affiliation.contract_id == successor_id)
    lasting = (Affiliation.ends_on.is_(None)) | (Affiliation.ends_on >= clock.today())
    query = (
        sa.select(Affiliation, Structure)
        .join(Structure, Structure.id == Affiliation.structure_id)
        .where(Affiliation.contract_id == contract_id, lasting, Affiliation.structure_id.not_in(carried))
        .order_by(Affiliation.id)
    )
    for old, structure in session.execute(query).all():
        period = {"starts_on": old.starts_on, "ends_on": old.ends_on}
        made = Affiliation(structure_id=structure.id, contract_id=successor_id, **period)
        session.add(made)
        if structure.suspended_at is None:
            announce(session, structure, [made])


def announce(session: Session, structure: Structure, made: Iterable[Affiliation]) -> None:
    """Publishes affiliations of a structure, as they stand."""
    alike = {"structure_id": structure.id, "siret": structure.siret, **_description(structure)}
    names = ("contract_id", "starts_on", "ends_on")
    bodies = [alike | {name: getattr(affiliation, name) for name in names} for affiliation in made]
    log.append_many(session, "structure.affiliated", [(structure.id, body) for body in bodies])


def describe(session: Session) -> None:
    """Publishes where the affiliated structures are and what they offer, after a file changed some of them."""
    affiliated = Structure.id.in_(sa.select(Affiliation.structure_id))
    query = sa.select(Structure).where(affiliated).order_by(Structure.id).execution_options(populate_existing=True)
    entries = [
        (structure.id, {"structure_id": structure.id, **_description(structure)})
        for structure in session.scalars(query)
    ]
    log.append_many(session, "structure.described", entries)


def _description(structure: Structure) -> dict[str, Any]:
    """What people need to be sent to a structure."""
    names = ("name", "address", "postcode", "commune", "insee_code", "latitude", "longitude", "services")
    return {**{name: getattr(structure, name) for name in names}, "phone": structure.details.get("telephone")}


def _invalid(structure: Structure | None, contract: Contract | None) -> Invalid:
    errors = {}
    if structure is None:
        errors["structure_id"] = ["There is no structure of this id."]
    if contract is None:
        errors["contract_id"] = ["There is no contract of this id, or the news of it has not come here yet."]
    if not errors:
        errors["ends_on"] = ["It must not be before starts_on."]
    return Invalid("The affiliation is not possible: see `errors`.", errors=errors)


def _overlap(earlier: Affiliation, starts_on: date, ends_on: date | None) -> bool:
    return (earlier.ends_on is None or starts_on <= earlier.ends_on) and (
        ends_on is None or earlier.starts_on <= ends_on
    )
