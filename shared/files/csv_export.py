"""Lists as CSV, streamed row by row from the database: nothing is held but the rows in hand.

Amounts are cents of EUR, instants are UTC. What a spreadsheet would take for a formula is written as text, within a
cell too, after whatever might part two cells: where semicolons are expected, a file with commas is split at those.
"""

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from marshmallow import Schema, fields, validate

BATCH_SIZE = 500
_MAX_BYTES_IN_MEMORY = 1 << 20
_CHARACTERS_A_PIECE = 1 << 16
_FORMULA = r"\"*[=+\-@\t\r]"
_BEGINS = re.compile(rf"(^|[,;\t\r\n])(?={_FORMULA})")
_GUARDED = re.compile(rf"(^|[,;\t\r\n])'(?={_FORMULA})")

CSV_ANSWER = {
    "description": "CSV, as it comes; UTF-8, amounts in cents of EUR, instants in UTC.",
    "content": {"text/csv": {"schema": {"type": "string"}}},
}
"""For the document of a view: `@blueprint.doc(responses={"200": CSV_ANSWER})`."""


class FormatQuery(Schema):
    """How a file is written."""

    separator = fields.Str(
        load_default=",",
        validate=validate.OneOf([",", ";"]),
        metadata={"description": "`;` (sent as `%3B`) for a file that French spreadsheets open by themselves."},
    )


class PeriodQuery(FormatQuery):
    """A period of days, both included."""

    since = fields.Date(load_default=None, data_key="from")
    until = fields.Date(load_default=None, data_key="to")


def export(engine: sa.Engine, query: str, params: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a CSV file as of one instant, its heads first.

    It is written to a file before it is sent, so that a slow reader keeps neither connection nor snapshot.
    """
    with tempfile.SpooledTemporaryFile(_MAX_BYTES_IN_MEMORY, "w+", encoding="utf-8", newline="") as file:
        with engine.connect() as connection:
            streamed = connection.execution_options(stream_results=True, max_row_buffer=BATCH_SIZE)
            result = streamed.execute(sa.text(query), params)
            file.write(line(list(result.keys())))
            file.writelines(line(row) for part in result.partitions() for row in part)
        file.seek(0)
        yield from iter(lambda: file.read(_CHARACTERS_A_PIECE), "")


def export_in_parts(engine: sa.Engine, query: str, params: Mapping[str, Any], separator: str = ",") -> Iterator[str]:
    """The lines of a CSV file, its heads first, read part by part: a slow reader keeps neither connection nor snapshot.

    `query` starts with a UUIDv7 that it is ordered by, and takes `after` and `limit`. Each row is as it stood when its
    part was read; none that was there at the start is missed.
    """
    after = UUID(int=0)
    heads: str | None = None
    while True:
        with engine.connect() as connection:
            result = connection.execute(sa.text(query), {**params, "after": after, "limit": BATCH_SIZE})
            names, rows = list(result.keys()), result.all()
        heads = _mark(separator) + line(names, separator) if heads is None else ""
        yield heads + "".join(line(row, separator) for row in rows)
        if len(rows) < BATCH_SIZE:
            return
        after = rows[-1][0]


def lines(heads: Sequence[str], rows: Iterable[Sequence[Any]], separator: str = ",") -> Iterator[str]:
    """The lines of a CSV file of rows that are at hand, its heads first."""
    yield _mark(separator) + line(heads, separator)
    yield from (line(row, separator) for row in rows)


def _mark(separator: str) -> str:
    """What begins a file for French spreadsheets, which know UTF-8 by it: a file with semicolons."""
    return "" if separator == "," else "\ufeff"


def line(values: Sequence[Any], separator: str = ",") -> str:
    """A line of a CSV file (RFC 4180) in which no spreadsheet finds a formula."""
    return raw_line(map(_cell, values), separator)


def raw_line(values: Iterable[Any], separator: str = ",", end: str = "\r\n") -> str:
    """The same without guarding cells, for files that programs read or whose cells are guarded already."""
    written = io.StringIO()
    csv.writer(written, delimiter=separator, lineterminator=end).writerow(values)
    return written.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list)):
        return guarded(json.dumps(value, ensure_ascii=False, sort_keys=True))
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return guarded(value) if isinstance(value, str) else str(value)


def guarded(text: str) -> str:
    """A text as a cell, with an apostrophe before whatever a spreadsheet would take for a formula."""
    return _BEGINS.sub(r"\1'", text)


def unguarded(cell: str) -> str:
    """The text of a cell that was guarded."""
    return _GUARDED.sub(r"\1", cell)
