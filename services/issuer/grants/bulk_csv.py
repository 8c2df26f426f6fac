"""The lines of a bulk request, as JSON or CSV, in one shape: a number, and a mapping or what is wrong.

CSV has one grant a line, so an open quote costs its own line only; its first line names the columns, separated by
commas or semicolons. An answer to the question `x` is in the column `answer.x`. Days may be written as French
spreadsheets write them, DD/MM/YYYY.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.files.csv_reader import NotCsv, delimiter_of, records
from shared.files.file_import import LONGEST_HEAD, NotText, has_head, lines_at_least, text_of
from shared.problems import Invalid, Problem

MAX_LINES = 10_000
_PLAIN = ("prescriber_id", "reference", "programme", "reason", "target_public", "granted_on", "lot", "exception_reason")
_PERSON = ("family_name", "given_name", "birth_date")
_DAYS = ("granted_on", "birth_date")
_ANSWER = "answer."
_NUMBER = re.compile(r"[0-9]{1,15}")
_FRENCH_DAY = re.compile(r"\A([0-9]{2})/([0-9]{2})/([0-9]{4})\Z")
COLUMNS = (*_PLAIN, "amount_cents", *_PERSON)

Raw = Mapping[str, Any] | Problem


def of_json(document: Any) -> Iterator[tuple[int, Raw]]:
    """The objects of a JSON array, numbered from 1; raises Invalid where it is none."""
    if not isinstance(document, list):
        raise Invalid("A JSON array of grants is expected.")
    if len(document) > MAX_LINES:
        raise too_many(len(document))
    for number, item in enumerate(document, start=1):
        yield number, item if isinstance(item, dict) else Invalid("A JSON object is expected.")


def too_many(lines: int) -> Invalid:
    """The problem of a request that is too long."""
    return Invalid(f"At most {MAX_LINES} lines at once; these are {lines}.", slug="too-many-lines")


def of_csv(content: bytes) -> Iterator[tuple[int, Raw]]:
    """The lines of a CSV file, by their physical number; empty ones are passed over.

    Raises Invalid where the file is no text or its first line does not name the columns.
    """
    try:
        text, _ = text_of(content)
    except NotText as refusal:
        raise Invalid(f"The file cannot be read: {refusal}.") from None
    if (many := lines_at_least(text)) > MAX_LINES + 1:
        raise too_many(many)
    if not has_head(text):
        raise Invalid(f"The first line names the columns; it is longer than {LONGEST_HEAD} characters.")
    lines = list(io.StringIO(text, newline=None))
    if len(lines) > MAX_LINES + 1:
        raise too_many(len(lines) - 1)
    header = lines[0] if lines else ""
    delimiter = delimiter_of(header)
    names = _names(header, delimiter)
    for number, line in enumerate(lines[1:], start=2):
        if line.strip(f" {delimiter}\n"):
            yield number, _raw(line, names, delimiter)


def _names(header: str, delimiter: str) -> list[str]:
    names = [name.strip().strip('"') for name in header.split(delimiter)]
    # By their place: where the first line is missing, these are not names of columns but the names of people.
    places = enumerate(names, start=1)
    strange = [f"column {place}" for place, name in places if name not in COLUMNS and not name.startswith(_ANSWER)]
    if strange or "programme" not in names or len(set(names)) < len(names):
        raise Invalid(
            f"The first line names the columns, each once: programme and any of {', '.join(COLUMNS)},"
            f" {_ANSWER}<question>. Not known: {', '.join(strange) or 'none'}."
        )
    return names


def _raw(line: str, names: Sequence[str], delimiter: str) -> Raw:
    try:
        _, values = next(records([line], delimiter))
    except NotCsv as error:
        return Invalid(f"Not a CSV line: {error}.")
    if len(values) != len(names):
        return Invalid(f"{len(values)} fields where the first line names {len(names)}.")
    return _fields({name: value.strip() for name, value in zip(names, values, strict=True) if value.strip()})


def _fields(columns: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a line as JSON would have them."""
    columns = {name: _FRENCH_DAY.sub(r"\3-\2-\1", text) if name in _DAYS else text for name, text in columns.items()}
    raw: dict[str, Any] = {name: columns[name] for name in _PLAIN if name in columns}
    if cents := columns.get("amount_cents"):
        raw["amount_cents"] = int(cents) if _NUMBER.fullmatch(cents) else "not a number"
    person = {name: columns[name] for name in _PERSON if name in columns}
    answers = {name.removeprefix(_ANSWER): text for name, text in columns.items() if name.startswith(_ANSWER)}
    return raw | ({"beneficiary": person} if person else {}) | ({"answers": answers} if answers else {})
