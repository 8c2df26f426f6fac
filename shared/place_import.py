"""Taking places of the national schema into a service's table: bad lines are reported, the good ones go in.

A service describes its table by `PlaceColumns` and remembers files by `FileColumns`; what it does not keep of a place
it leaves out.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from marshmallow import Schema, fields
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.ids import new_id
from shared.places import Note, Place, PlacesFileRefused, read_places
from shared.problems import Invalid

_AT_ONCE = 1000


class PlaceColumns:
    """The columns of a table of places; `source_id` is the place's own identifier in the files."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    source_id: Mapped[str] = mapped_column(unique=True)
    siret: Mapped[str | None]
    name: Mapped[str]
    commune: Mapped[str]
    postcode: Mapped[str]
    insee_code: Mapped[str | None]
    address: Mapped[str]
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    typologies: Mapped[list[str]]
    labels: Mapped[list[str]]
    updated_on: Mapped[date]
    """The day the source says that it last changed."""


class FileColumns:
    """The columns of a table of files that were taken in, known again by their SHA-256."""

    digest: Mapped[str] = mapped_column(primary_key=True)
    imported_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What became of a file; `refusals` and `remarks` name physical lines, from 1."""

    version: str
    encoding: str
    already_imported_at: datetime | None
    added: int
    changed: int
    unchanged: int
    refused: int
    refusals: Sequence[Note]
    remarks: Sequence[Note]


class PlaceSchema(Schema):
    """A place as its file describes it."""

    source_id = fields.Str(required=True)
    siret = fields.Str(required=True, allow_none=True)
    name = fields.Str(required=True)
    commune = fields.Str(required=True)
    postcode = fields.Str(required=True)
    insee_code = fields.Str(required=True, allow_none=True)
    address = fields.Str(required=True)
    latitude = fields.Float(required=True, allow_none=True)
    longitude = fields.Float(required=True, allow_none=True)
    typologies = fields.List(fields.Str(), required=True)
    labels = fields.List(fields.Str(), required=True)
    updated_on = fields.Date(required=True)


class NoteSchema(Schema):
    """Something about one field of one line; an empty field: about the line."""

    line = fields.Int(required=True)
    field = fields.Str(required=True)
    reason = fields.Str(required=True)


class ReportSchema(Schema):
    """What became of a file."""

    version = fields.Str(required=True)
    encoding = fields.Str(required=True)
    already_imported_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "When the very same file was imported before."}
    )
    added = fields.Int(required=True)
    changed = fields.Int(required=True)
    unchanged = fields.Int(required=True)
    refused = fields.Int(required=True, metadata={"description": "Lines."})
    refusals = fields.List(fields.Nested(NoteSchema), required=True)
    remarks = fields.List(fields.Nested(NoteSchema), required=True)


CSV_BODY = {
    "requestBody": {
        "required": True,
        "description": "A CSV file of the national schema “Lieux de médiation numérique” (v1 or v0.1).",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}
"""What an importing view says of its request: `@blueprint.doc(**CSV_BODY)`."""


def take_in(session: Session, content: bytes, table: type[PlaceColumns], files: type[FileColumns]) -> Report:
    """Adds places and updates known ones, by their source's identifier; raises Invalid for an unreadable file."""
    try:
        reading = read_places(content)
    except PlacesFileRefused as refusal:
        raise Invalid(f"The file cannot be read: {refusal}.", slug="file-refused") from None
    earlier = _note_file(session, reading.digest, files)
    outcomes = [outcome for places in _portions(reading.places) for outcome in _store(session, places, table)]
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


def _note_file(session: Session, digest: str, files: type[FileColumns]) -> datetime | None:
    """Remembers a file, and says when the same one was taken in before."""
    fresh = pg.insert(files).values(digest=digest).on_conflict_do_nothing().returning(files.digest)
    if session.scalar(fresh):
        return None
    return session.scalar(sa.select(files.imported_at).where(files.digest == digest))


def _portions(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    """So many at once, all in one order, so that two files do not wait for each other crosswise."""
    ordered = sorted(places, key=lambda place: place.source_id)
    return (ordered[at : at + _AT_ONCE] for at in range(0, len(ordered), _AT_ONCE))


def _store(session: Session, places: Sequence[Place], table: type[PlaceColumns]) -> list[bool]:
    """For each place that was new or differed, whether it was new."""
    kept = [
        field.name for field in dataclasses.fields(Place) if field.name != "source_id" and hasattr(table, field.name)
    ]
    given = pg.insert(table)
    differs = sa.tuple_(*(getattr(table, name) for name in kept)).is_distinct_from(
        sa.tuple_(*(given.excluded[name] for name in kept))
    )
    upsert = given.on_conflict_do_update(
        index_elements=["source_id"], set_={name: given.excluded[name] for name in kept}, where=differs
    )
    is_new: sa.ColumnElement[bool] = sa.literal_column(f"{sa.inspect(table).local_table.name}.xmax = 0")
    return list(session.scalars(upsert.returning(is_new), [_row(place, ("source_id", *kept)) for place in places]))


def _row(place: Place, names: Sequence[str]) -> dict[str, Any]:
    values = ((name, getattr(place, name)) for name in names)
    return {"id": new_id()} | {name: list(value) if isinstance(value, tuple) else value for name, value in values}
