"""Training structures: taken in from a file of the national schema, suspended and taken back."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.redeemer.structures import affiliations
from services.redeemer.structures.models import Structure, StructureImport
from shared.database import paging
from shared.database.lookup import get_or_404
from shared.eventlog import log
from shared.files.file_import import ImportOptions
from shared.places import importer
from shared.values import clock


def take_in(session: Session, content: bytes, options: ImportOptions) -> dict[str, Any]:
    """Adds and updates structures by their source's identifier; raises as `importer.take_in` does."""
    report = importer.take_in(session, content, options, Structure, StructureImport)
    if report["changed"] and not options.dry_run:
        affiliations.describe(session)
    return report


def find(session: Session, structure_id: UUID, *, lock: bool = False) -> Structure:
    """A structure by its id, locked against others who change it where asked; raises NotFound."""
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
        affiliations.announce(session, structure, affiliations.of(session, structure_id))
    return structure
