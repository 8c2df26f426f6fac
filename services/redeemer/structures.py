"""Training structures: taken in from a file of the national schema, suspended and taken back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer import affiliations
from services.redeemer.models import Structure, StructureImport
from shared import clock, events, places
from shared.places import Note, Place, PlacesFileRefused
from shared.problems import Invalid, NotFound

_DESCRIBED = (
    "siret", "name", "commune", "postcode", "insee_code", "address", "latitude", "longitude", "services", "publics",
    "typologies", "labels", "updated_on",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a file of structures; `refusals` and `remarks` name physical lines, from 1."""

    version: str
    encoding: str
    already_imported_at: datetime | None
    added: int
    changed: int
    unchanged: int
    refused: int
    refusals: Sequence[Note]
    remarks: Sequence[Note]


def take_in(session: Session, content: bytes) -> Report:
    """Adds structures and brings known ones up to date, by their source's id; raises Invalid for an unreadable file."""
    try:
        reading = places.read_places(content)
    except PlacesFileRefused as refusal:
        raise Invalid(f"The file cannot be read: {refusal}.", slug="file-refused") from None
    earlier = _note_file(session, reading.digest)
    outcomes = _store(session, reading.places)
    added = sum(outcomes)
    return Report(
        version=reading.version,
        encoding=reading.encoding,
        already_imported_at=earlier,
        added=added,
        changed=len(outcomes) - added,
        unchanged=len(reading.places) - len(outcomes),
        refused=reading.refused_lines,
        refusals=reading.refused,
        remarks=reading.remarks,
    )


def find(session: Session, structure_id: UUID, *, lock: bool = False) -> Structure:
    """A structure by its id, locked against others who change it where asked; raises NotFound."""
    found = session.get(Structure, structure_id, with_for_update=lock or None, populate_existing=lock)
    if found is None:
        raise NotFound("There is no structure of this id.")
    return found


def suspend(session: Session, structure_id: UUID, reason: str) -> Structure:
    """Stops a structure from redeeming until further notice; suspending it twice changes nothing. Raises NotFound."""
    structure = find(session, structure_id, lock=True)
    if structure.suspended_at is None:
        structure.suspended_at, structure.suspension_reason = clock.now(), reason
        told = {"structure_id": structure_id, "reason": reason}
        events.append(session, "structure.suspended", structure_id, told)
    return structure


def readmit(session: Session, structure_id: UUID) -> Structure:
    """Ends a structure's suspension and tells of its affiliations again. Raises NotFound."""
    structure = find(session, structure_id, lock=True)
    if structure.suspended_at is not None:
        structure.suspended_at = structure.suspension_reason = None
        affiliations.announce(session, structure, affiliations.of(session, structure_id))
    return structure


def _note_file(session: Session, digest: str) -> datetime | None:
    """Remembers a file, and says when the same one was taken in before."""
    fresh = pg.insert(StructureImport).values(digest=digest).on_conflict_do_nothing()
    if session.scalar(fresh.returning(StructureImport.digest)):
        return None
    return session.scalar(sa.select(StructureImport.imported_at).where(StructureImport.digest == digest))


def _store(session: Session, read: Sequence[Place]) -> list[bool]:
    """For each place that was new or differed, whether it was new."""
    if not read:
        return []
    given = pg.insert(Structure)
    differs = sa.tuple_(*(getattr(Structure, name) for name in _DESCRIBED)).is_distinct_from(
        sa.tuple_(*(given.excluded[name] for name in _DESCRIBED))
    )
    upsert = given.on_conflict_do_update(
        index_elements=["source_id"], set_={name: given.excluded[name] for name in _DESCRIBED}, where=differs
    )
    rows = [_row(place) for place in sorted(read, key=lambda place: place.source_id)]
    return list(session.scalars(upsert.returning(sa.literal_column("structure.xmax = 0")), rows))


def _row(place: Place) -> dict[str, Any]:
    described = asdict(place)
    return {name: _plain(described[name]) for name in ("source_id", *_DESCRIBED)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
