"""Reader of the national schema "Lieux de médiation numérique": the file of structures or of prescribers.

Source: https://github.com/LaMednum/standard-mediation-num, tags v1.0.2 (lists separated by `|`) and v0.1.1 (by `;`).
Nothing is stored here. A bad line is refused with its number and why, and the good ones are read.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.files.csv_export import unguarded
from shared.files.csv_reader import NotCsv, delimiter_of, records
from shared.files.file_import import LONGEST_HEAD, NotText, file_digest, has_head, lines_at_least, text_of
from shared.places.line import REQUIRED, Line, Note, Place

MAX_BYTES = 16 * 1024 * 1024
MAX_LINES = 200_000
MAX_LINES_OF_A_RECORD = 100  # a quote still open after these was never meant to be

ONLY_IN_V0 = {"courriel", "publics_accueillis", "conditions_acces", "labels_nationaux", "labels_autres", "cle_ban"}
ONLY_IN_V1 = {"courriels", "publics_specifiquement_adresses", "frais_a_charge", "dispositif_programmes_nationaux"}


class PlacesFileRefused(ValueError):
    """The whole file cannot be read; the message says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A file as read: the places that can go in, the faults of the other lines, and remarks about the good ones."""

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


def read_places(content: bytes) -> Reading:
    """Reads a CSV file of the national schema, v1 or v0.1.

    Raises PlacesFileRefused if it is too large, is not text, or lacks a required column.
    """
    text, encoding = _decode(content)
    physical_lines = list(io.StringIO(text, newline=""))
    columns = _columns(physical_lines[0] if physical_lines else "", text)
    places: dict[str, Place] = {}
    refused: list[Note] = []
    remarks: list[Note] = []
    for line in _lines(physical_lines, columns):
        if isinstance(line, Note):
            refused.append(line)
            continue
        faults = line.faults()
        if first := places.get(line.values["id"]):
            faults.append(Note(line.number, "id", f"already on line {first.line}"))
        if faults:
            refused += faults
        else:
            places[line.values["id"]] = line.place()
            remarks += line.remarks
    return Reading(file_digest(content), encoding, columns.version, (*places.values(),), (*refused,), (*remarks,))


def _decode(content: bytes) -> tuple[str, str]:
    if len(content) > MAX_BYTES:
        raise PlacesFileRefused(f"the file has {len(content)} bytes; at most {MAX_BYTES} are read at once")
    try:
        text, encoding = text_of(content)
    except NotText as refusal:
        raise PlacesFileRefused(str(refusal)) from None
    if (lines := lines_at_least(text)) > MAX_LINES:
        raise PlacesFileRefused(f"the file has {lines} lines; at most {MAX_LINES} are read at once")
    if not has_head(text):
        raise PlacesFileRefused(f"the first line names no columns: it is longer than {LONGEST_HEAD} characters")
    return text, encoding


def _columns(header: str, text: str) -> _Columns:
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


def _lines(physical_lines: Sequence[str], columns: _Columns) -> Iterator[Line | Note]:
    """The records after the header, each with the number of its first physical line; a malformed one is a Note.

    After a malformed record reading goes on at the very next line, so that an open quote costs only its own line.
    """
    at = 1
    while at < len(physical_lines):
        window = physical_lines[at : at + MAX_LINES_OF_A_RECORD]
        try:
            length, record = next(records(window, columns.delimiter))
        except NotCsv as error:
            yield Note(at + 1, "", f"not a CSV line: {error}")
            at += 1
            continue
        if any(value.strip() for value in record):
            yield _line(at + 1, record, columns)
        at += length


def _line(number: int, record: list[str], columns: _Columns) -> Line | Note:
    surplus = record[len(columns.names) :]
    if len(record) < len(columns.names) or any(surplus):
        return Note(number, "", f"{len(record)} fields where the header names {len(columns.names)}")
    values = (unguarded(value.strip()) for value in record)
    return Line(number, dict(zip(columns.names, values, strict=False)), columns.separator)
