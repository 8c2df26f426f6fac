"""Imports places of the national schema into a service's table: bad lines are reported, the good ones go in.

A service describes its table by `PlaceColumns`, without the columns that it has no use for, and its files by
`FileColumns`.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from marshmallow import Schema, fields, validate
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.files import file_import
from shared.files.file_import import FileColumns, ImportOptions
from shared.places.line import Place
from shared.places.reader import PlacesFileRefused, read_places
from shared.places.vocabulary import PUBLICS, SERVICES
from shared.problems import Invalid
from shared.values.ids import new_id

ADDED, CHANGED = "added", "changed"
BATCH_SIZE = 1000


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
    details: Mapped[dict[str, str]] = mapped_column(pg.JSONB, server_default="{}")
    """Other columns, by the national schema's names: telephone, opening hours, …"""
    updated_on: Mapped[date]
    """The day the source says that it last changed."""


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
    details = fields.Dict(
        keys=fields.Str(),
        values=fields.Str(),
        required=True,
        metadata={
            "description": "What else the source says, by the national schema's names: `telephone`, `horaires`, …"
        },
    )
    updated_on = fields.Date(required=True)


class NoteSchema(Schema):
    """A note about one field of one line; an empty field: about the line."""

    line = fields.Int(required=True)
    field = fields.Str(required=True)
    reason = fields.Str(required=True)


class TakenSchema(Schema):
    """A place that is added or changed; one that is as it was is only counted."""

    line = fields.Int(required=True)
    source_id = fields.Str(required=True)
    outcome = fields.Str(required=True, validate=validate.OneOf([ADDED, CHANGED]))
    columns = fields.List(fields.Str(), required=True, metadata={"description": "What differs from before."})


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
    taken = fields.List(fields.Nested(TakenSchema), required=True)
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


def take_in(
    session: Session, content: bytes, options: ImportOptions, table: type[PlaceColumns], files: type[FileColumns]
) -> dict[str, Any]:
    """Adds places and updates those that are there, by their source's identifier; returns a `ReportSchema`.

    Raises Invalid for an unreadable file, NothingTaken where all or nothing is asked and a line is bad.
    """
    try:
        reading = read_places(content)
    except PlacesFileRefused as refusal:
        raise Invalid(f"The file cannot be read: {refusal}.", slug="file-refused") from None
    refused, lines = reading.refused_lines, len(reading.places) + reading.refused_lines
    report: dict[str, Any] = {name: getattr(reading, name) for name in ("version", "encoding", "remarks")}
    report |= {"refused": refused, "refusals": reading.refused}
    with file_import.taking(session, options):
        report["already_imported_at"] = file_import.first_imported_at(session, reading.digest, files)
        taken = [stored for places in _batches(reading.places) for stored in _store(session, places, table)]
        nothing = {"added": 0, "changed": 0, "unchanged": 0, "taken": ()}
        file_import.require_whole(options, refused, lines, ReportSchema().dump(report | nothing))
    added = sum(place["outcome"] == ADDED for place in taken)
    return report | {
        "added": added,
        "changed": len(taken) - added,
        "unchanged": len(reading.places) - len(taken),
        "taken": sorted(taken, key=lambda place: int(place["line"])),
    }


def _batches(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    """Batches in the order of `source_id`, so that two imports cannot deadlock."""
    ordered = sorted(places, key=lambda place: place.source_id)
    return (ordered[at : at + BATCH_SIZE] for at in range(0, len(ordered), BATCH_SIZE))


def _store(session: Session, places: Sequence[Place], table: type[PlaceColumns]) -> Iterator[dict[str, Any]]:
    """Adds or updates places, and yields those that were new or differed, as `TakenSchema`."""
    names = [field.name for field in dataclasses.fields(Place) if hasattr(table, field.name)]
    kept = [name for name in names if name != "source_id"]
    rows = {place.source_id: _row(place, names) for place in places}
    before = _lock_existing(session, list(rows), table)
    insert = pg.insert(table)
    differs = sa.tuple_(*(getattr(table, name) for name in kept)).is_distinct_from(
        sa.tuple_(*(insert.excluded[name] for name in kept))
    )
    upsert = insert.on_conflict_do_update(
        index_elements=["source_id"], set_={name: insert.excluded[name] for name in kept}, where=differs
    )
    written = set(session.scalars(upsert.returning(table.source_id), list(rows.values())))
    for place in places:
        if place.source_id in written:
            old, row = before.get(place.source_id), rows[place.source_id]
            changes = [name for name in kept if old[name] != row[name]] if old else []
            outcome = CHANGED if old else ADDED
            yield {"line": place.line, "source_id": place.source_id, "outcome": outcome, "columns": changes}


def _lock_existing(
    session: Session, source_ids: Sequence[str], table: type[PlaceColumns]
) -> dict[str, Mapping[str, Any]]:
    """Locks the rows of these identifiers, so that what is compared with them is still true when they are written."""
    columns: sa.Table = sa.inspect(table).local_table
    wanted = columns.c.source_id == sa.any_(sa.cast(list(source_ids), pg.ARRAY(sa.Text)))
    query = sa.select(columns).where(wanted).order_by(columns.c.source_id).with_for_update(key_share=True)
    return {row["source_id"]: dict(row) for row in session.execute(query).mappings()}


def _row(place: Place, names: Sequence[str]) -> dict[str, Any]:
    values = ((name, getattr(place, name)) for name in names)
    row = {name: list(value) if isinstance(value, tuple) else value for name, value in values}
    lists = ((SERVICES, "services", place.services), (PUBLICS, "publics", place.publics))
    elsewhere = {column: "|".join(items) for column, name, items in lists if name not in row and items}
    return {"id": new_id()} | row | {"details": dict(place.details) | elsewhere}
