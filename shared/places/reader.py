"""Reader of the national schema "Lieux de médiation numérique": the file of structures or of prescribers.

Source: https://github.com/LaMednum/standard-mediation-num, tags v1.0.2 (lists separated by `|`) and v0.1.1 (by `;`).
Nothing is stored here. A bad line is refused with its number and why, and the good ones are read.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from stdnum.fr import siret as siret_rule

from shared.files.csv_export import unguarded
from shared.files.csv_reader import NotCsv, delimiter_of, records
from shared.files.file_import import LONGEST_HEAD, NotText, file_digest, has_head, lines_at_least, text_of
from shared.places import details as place_details
from shared.places.details import Details
from shared.values import cheque_code

MAX_BYTES = 16 * 1024 * 1024
MAX_LINES = 200_000
MAX_FIELD = 10_000
MAX_ID = 200  # it becomes part of an index
MAX_LINES_OF_A_RECORD = 100  # a quote still open after these was never meant to be

REQUIRED = ("id", "pivot", "nom", "commune", "code_postal", "adresse", "date_maj")
ONLY_IN_V0 = {"courriel", "publics_accueillis", "conditions_acces", "labels_nationaux", "labels_autres", "cle_ban"}
ONLY_IN_V1 = {"courriels", "publics_specifiquement_adresses", "frais_a_charge", "dispositif_programmes_nationaux"}

POSTCODE = re.compile(r"[0-9]{5}")
INSEE_CODE = re.compile(r"([013-9][0-9]|2[AB1-9])[0-9]{3}")
IDENTIFIER = re.compile(r"[0-9A-Za-z]{9,14}")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DECIMAL = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,30})?")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class PlacesFileRefused(ValueError):
    """The whole file cannot be read; the message says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Place:
    """One line of the file. `source_id` is its key; several places may have the same SIRET, or none."""

    source_id: str
    siret: str | None
    name: str
    commune: str
    postcode: str
    insee_code: str | None
    address: str
    latitude: float | None
    longitude: float | None
    services: tuple[str, ...]
    publics: tuple[str, ...]
    typologies: tuple[str, ...]
    labels: tuple[str, ...]
    details: Mapping[str, str]
    """What else the line says, by the columns of v1; under `pivot` an identifier that is no SIRET."""
    updated_on: date
    line: int


@dataclass(frozen=True, slots=True)
class Note:
    """What there is to say about one field (empty: the whole line) of the physical line `line`, counted from 1."""

    line: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A file as read: the places that can go in, why the other lines cannot, and what is worth knowing."""

    digest: str
    encoding: str
    version: str
    places: tuple[Place, ...]
    refused: tuple[Note, ...]
    remarks: tuple[Note, ...]

    @property
    def refused_lines(self) -> int:
        """Number of lines refused; one may have several notes."""
        return len({note.line for note in self.refused})


@dataclass(frozen=True, slots=True)
class _Columns:
    names: tuple[str, ...]
    delimiter: str
    version: str
    separator: str


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    values: Mapping[str, str]
    separator: str


def read_places(content: bytes) -> Reading:
    """Read a CSV file of the national schema, v1 or v0.1.

    Raises PlacesFileRefused if it is too large, is not text, or lacks a required column.
    """
    text, encoding = _decode(content)
    lines = _physical_lines(text)
    columns = _columns(lines, text)
    places: dict[str, Place] = {}
    refused: list[Note] = []
    remarks: list[Note] = []
    for row in _rows(lines, columns):
        if isinstance(row, Note):
            refused.append(row)
        elif faults := _faults(row, places):
            refused += faults
        else:
            found = place_details.read(row.values, row.separator)
            places[row.values["id"]] = _place(row, found)
            remarks += _remarks(row, found)
    return Reading(file_digest(content), encoding, columns.version, (*places.values(),), (*refused,), (*remarks,))


def _decode(content: bytes) -> tuple[str, str]:
    if len(content) > MAX_BYTES:
        raise PlacesFileRefused(f"the file has {len(content)} bytes; at most {MAX_BYTES} are read at once")
    try:
        return text_of(content)
    except NotText as refusal:
        raise PlacesFileRefused(str(refusal)) from None


def _physical_lines(text: str) -> list[str]:
    if (lines := lines_at_least(text)) > MAX_LINES:
        raise PlacesFileRefused(f"the file has {lines} lines; at most {MAX_LINES} are read at once")
    if not has_head(text):
        raise PlacesFileRefused(f"the first line names no columns: it is longer than {LONGEST_HEAD} characters")
    return list(io.StringIO(text, newline=""))


def _columns(lines: Sequence[str], text: str) -> _Columns:
    header = lines[0] if lines else ""
    delimiter = delimiter_of(header)
    # Split by hand: the published example itself forgets a quote in its header, and no name has a delimiter in it.
    names = tuple(name.strip().strip('"').strip().lower() for name in header.split(delimiter))
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise PlacesFileRefused(
            f"column missing: {', '.join(missing)}. Expected is a CSV file of the national schema"
            f" “Lieux de médiation numérique”, whose first line names at least {', '.join(REQUIRED)}"
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise PlacesFileRefused(f"column named twice: {', '.join(twice)}")
    is_v0 = bool(ONLY_IN_V0 & set(names)) or not (ONLY_IN_V1 & set(names) or "|" in text)
    return _Columns(names, delimiter, *(("v0.1", ";") if is_v0 else ("v1", "|")))


def _rows(lines: Sequence[str], columns: _Columns) -> Iterator[_Row | Note]:
    """The records after the header, each with the number of its first physical line; a malformed one is a Note.

    After a malformed record reading goes on at the very next line, so that an open quote costs only its own line.
    """
    at = 1
    while at < len(lines):
        window = lines[at : at + MAX_LINES_OF_A_RECORD]
        try:
            physical_lines, record = next(records(window, columns.delimiter))
        except NotCsv as error:
            yield Note(at + 1, "", f"not a CSV line: {error}")
            at += 1
            continue
        if any(value.strip() for value in record):
            yield _row(at + 1, record, columns)
        at += physical_lines


def _row(line: int, record: list[str], columns: _Columns) -> _Row | Note:
    surplus = record[len(columns.names) :]
    if len(record) < len(columns.names) or any(surplus):
        return Note(line, "", f"{len(record)} fields where the header names {len(columns.names)}")
    values = (unguarded(value.strip()) for value in record)
    return _Row(line, dict(zip(columns.names, values, strict=False)), columns.separator)


def _faults(row: _Row, taken: Mapping[str, Place]) -> list[Note]:
    faults = [Note(row.line, name, "required, and empty") for name in REQUIRED if not row.values[name]]
    checks = (_fault(name, value) for name, value in row.values.items() if value)
    faults += [Note(row.line, *fault) for fault in checks if fault]
    first = taken.get(row.values["id"])
    if first:
        faults.append(Note(row.line, "id", f"already on line {first.line}"))
    return faults


def _fault(name: str, value: str) -> tuple[str, str] | None:
    if len(value) > MAX_FIELD or (name == "id" and len(value) > MAX_ID):
        return name, f"longer than {MAX_ID if name == 'id' else MAX_FIELD} characters"
    if CONTROL.search(value):
        return name, "has a control character"
    if cheque_code.stands_in(value):
        return name, "holds a cheque's code, which is cash: leave it out"
    rule = _RULES.get(name)
    reason = rule(value) if rule else None
    return (name, reason) if reason else None


def _pivot_fault(value: str) -> str | None:
    identifier = _identifier(value)
    if not IDENTIFIER.fullmatch(identifier):
        return "neither a SIRET (14 digits) nor another identifier of 9 to 14 letters and digits"
    if _is_siret_like(identifier) and not siret_rule.is_valid(identifier):
        return "not a SIRET: its check digit is wrong"
    return None


def _pattern_fault(pattern: re.Pattern[str], expected: str, value: str) -> str | None:
    return None if pattern.fullmatch(value) else f"not {expected}"


def _day_fault(value: str) -> str | None:
    try:
        date.fromisoformat(value)
    except ValueError:
        return "not a day written YYYY-MM-DD"
    return _pattern_fault(DAY, "a day written YYYY-MM-DD", value)


def _degrees_fault(value: str, limit: int) -> str | None:
    if DECIMAL.fullmatch(value) and abs(float(value)) <= limit:
        return None
    return f"not a decimal number of degrees between -{limit} and {limit}"


_RULES: Mapping[str, Callable[[str], str | None]] = {
    "pivot": _pivot_fault,
    "code_postal": lambda value: _pattern_fault(POSTCODE, "a postcode of 5 digits", value),
    "code_insee": lambda value: _pattern_fault(INSEE_CODE, "an INSEE code of a commune", value),
    "date_maj": _day_fault,
    "latitude": lambda value: _degrees_fault(value, 90),
    "longitude": lambda value: _degrees_fault(value, 180),
}


def _identifier(pivot: str) -> str:
    return re.sub(r"[ .\u00a0\u202f]", "", pivot)


def _is_siret_like(identifier: str) -> bool:
    return len(identifier) == 14 and identifier.isdigit() and set(identifier) != {"0"}


def _place(row: _Row, details: Details) -> Place:
    value = row.values
    identifier = _identifier(value["pivot"])
    return Place(
        source_id=value["id"],
        siret=identifier if _is_siret_like(identifier) else None,
        name=value["nom"],
        commune=value["commune"],
        postcode=value["code_postal"],
        insee_code=value.get("code_insee") or None,
        address=value["adresse"],
        latitude=_degrees(value.get("latitude")),
        longitude=_degrees(value.get("longitude")),
        services=details.services,
        publics=details.publics,
        typologies=details.typologies,
        labels=details.labels,
        details=details.kept | _other_pivot(identifier),
        updated_on=date.fromisoformat(value["date_maj"]),
        line=row.line,
    )


def _other_pivot(identifier: str) -> dict[str, str]:
    return {} if _is_siret_like(identifier) or set(identifier) == {"0"} else {"pivot": identifier}


def _degrees(value: str | None) -> float | None:
    return float(value) if value else None


def _remarks(row: _Row, details: Details) -> list[Note]:
    identifier = _identifier(row.values["pivot"])
    remarks = [Note(row.line, *left_out) for left_out in details.left_out]
    if set(identifier) == {"0"}:
        remarks.append(Note(row.line, "pivot", "placeholder of zeros: the place is kept without a SIRET"))
    elif not _is_siret_like(identifier):
        remarks.append(Note(row.line, "pivot", "not a SIRET: the place is kept without one"))
    return remarks
