"""Lists as CSV, streamed row by row from the database: nothing is held but the rows in hand.

Amounts are cents of EUR, instants are UTC. A cell that a spreadsheet would take for a formula is written as text: what
operators and people wrote is in these files.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from shared.runtime import Runtime

_AT_ONCE = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export(runtime: Runtime, query: str, given: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a CSV file, its heads first."""
    with runtime.engine.connect() as connection:
        options = {"stream_results": True, "max_row_buffer": _AT_ONCE}
        result = connection.execution_options(**options).execute(sa.text(query), given)
        yield line(list(result.keys()))
        for part in result.partitions(_AT_ONCE):
            yield "".join(map(line, part))


def lines(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of a CSV file of rows that are at hand, its heads first."""
    yield line(heads)
    yield from map(line, rows)


def line(values: Sequence[Any]) -> str:
    """A line of a CSV file (RFC 4180)."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow(map(_cell, values))
    return written.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
