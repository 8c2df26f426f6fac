"""Prescribers, taken in from a file of the national schema: bad lines are reported, the good ones go in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.models import Prescriber, PrescriberImport
from shared import clock
from shared.ids import new_id
from shared.places import Note, Place, PlacesFileRefused, read_places
from shared.problems import Invalid, NotFound

_AT_ONCE = 1000
_DESCRIBED = (
    "siret", "name", "commune", "postcode", "insee_code", "address", "latitude", "longitude",
    "typologies", "labels", "updated_on",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a file of prescribers; `refusals` and `remarks` name physical lines, from 1."""

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
    """Adds and updates prescribers by their source's identifier; raises Invalid where the file cannot be read."""
    try:
        reading = read_places(content)
    except PlacesFileRefused as refusal:
        raise Invalid(f"The file cannot be read: {refusal}.", slug="file-refused") from None
    earlier = _note_file(session, reading.digest)
    outcomes = [outcome for places in _portions(reading.places) for outcome in _store(session, places)]
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


def find(session: Session, prescriber_id: UUID) -> Prescriber:
    """A prescriber; raises NotFound."""
    found = session.get(Prescriber, prescriber_id)
    if found is None:
        raise NotFound("There is no such prescriber.")
    return found


def every() -> sa.Select[Any]:
    """The query of all prescribers."""
    return sa.select(Prescriber)


def _note_file(session: Session, digest: str) -> datetime | None:
    """Remembers a file, and says when the same one was taken in before."""
    fresh = pg.insert(PrescriberImport).values(digest=digest, imported_at=clock.now()).on_conflict_do_nothing()
    if session.execute(fresh.returning(PrescriberImport.digest)).one_or_none():
        return None
    return session.scalar(sa.select(PrescriberImport.imported_at).where(PrescriberImport.digest == digest))


def _portions(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    """So many at once, all in one order, so that two files do not wait for each other crosswise."""
    ordered = sorted(places, key=lambda place: place.source_id)
    return (ordered[at : at + _AT_ONCE] for at in range(0, len(ordered), _AT_ONCE))


def _store(session: Session, places: Sequence[Place]) -> list[bool]:
    """For each place that was new or differed, whether it was new."""
    insert = pg.insert(Prescriber)
    differs = sa.tuple_(*(getattr(Prescriber, name) for name in _DESCRIBED)).is_distinct_from(
        sa.tuple_(*(insert.excluded[name] for name in _DESCRIBED))
    )
    upsert = insert.on_conflict_do_update(
        index_elements=["source_id"], set_={name: insert.excluded[name] for name in _DESCRIBED}, where=differs
    )
    return list(
        session.scalars(upsert.returning(sa.literal_column("prescriber.xmax = 0")), [_row(place) for place in places])
    )


def _row(place: Place) -> dict[str, Any]:
    described = {name: getattr(place, name) for name in _DESCRIBED}
    lists = {"typologies": list(place.typologies), "labels": list(place.labels)}
    return {"id": new_id(), "source_id": place.source_id} | described | lists
