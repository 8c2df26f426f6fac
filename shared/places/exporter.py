"""Places as a file of the national schema "Lieux de médiation numérique", v1.0.2, which can be imported again."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from shared.files.csv_export import guarded, raw_line
from shared.places import vocabulary
from shared.places.importer import PlaceColumns
from shared.places.vocabulary import COLUMNS, DETAILS, LABELS, PUBLICS, SERVICES

BATCH_SIZE = 500
NO_SIRET = "0" * 14
# The schema's own rules leave no room for a formula here; a telephone number must begin with `+`.
_SAFE = frozenset({"telephone", "latitude", "longitude"})

FILE = "lieux-mediation-numerique"


def export(engine: sa.Engine, table: type[PlaceColumns]) -> Iterator[str]:
    """The lines of a file of all places of a table, part by part, the oldest first."""
    columns: sa.Table = sa.inspect(table).local_table
    after, head = UUID(int=0), HEAD
    while True:
        query = sa.select(columns).where(columns.c.id > after).order_by(columns.c.id).limit(BATCH_SIZE)
        with engine.connect() as connection:
            places = connection.execute(query).mappings().all()
        yield head + "".join(line(dict(place)) for place in places)
        if len(places) < BATCH_SIZE:
            return
        after, head = places[-1]["id"], ""


def line(place: Mapping[str, Any]) -> str:
    """The line of a place, which has the columns of its table as members; a text like a formula is guarded."""
    values = _values(place)
    cells = ((name, values.get(name, "")) for name in COLUMNS)
    return raw_line([text if name in _SAFE else guarded(text) for name, text in cells])


def _values(place: Mapping[str, Any]) -> dict[str, str]:
    details, labels = place["details"], vocabulary.label_groups(place["labels"])
    return {
        **{column: details[column] for column in DETAILS if column in details},
        "id": place["source_id"],
        "pivot": place["siret"] or details.get("pivot") or NO_SIRET,
        "nom": place["name"],
        "commune": place["commune"],
        "code_postal": place["postcode"],
        "code_insee": place["insee_code"] or "",
        "adresse": place["address"],
        "latitude": _degrees(place["latitude"]),
        "longitude": _degrees(place["longitude"]),
        "typologie": "|".join(place["typologies"]),
        "date_maj": place["updated_on"].isoformat(),
        SERVICES: _listed(SERVICES, place.get("services", ())) or details.get(SERVICES, ""),
        PUBLICS: _listed(PUBLICS, place.get("publics", ())) or details.get(PUBLICS, ""),
        **dict(zip(LABELS, map("|".join, labels), strict=True)),
    }


def _listed(column: str, items: Iterable[str]) -> str:
    # A place that was imported long ago may still have older terms.
    return "|".join(vocabulary.translate(column, items)[0])


def _degrees(value: float | None) -> str:
    """A number of degrees without an exponent."""
    return "" if value is None else f"{Decimal(repr(value)):f}"


HEAD = raw_line(COLUMNS)
