"""What goes wrong with a statement, line by line; lines are JSON objects with a `type`, those of cheques `cheque`."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import uuid4

from demo.simulators.faults import Faults

Line = dict[str, Any]


def lie(faults: Faults, lines: Iterable[Line], *, of_cheques: bool) -> Iterator[Line]:
    """The lines of one page as the operator gives them; strangers are put where the cheques are."""
    for line in lines:
        if faults.happens("missing_lines" if line["type"] == "cheque" else "missing_outcomes"):
            continue
        body = _spoilt(faults, line)
        yield body
        if faults.happens("duplicate_lines"):
            yield body
    while of_cheques and faults.happens("unknown_lines"):
        yield {"type": "cheque", "cheque": str(uuid4()), "status": "registered", "value_cents": 1000,
               "redeemed_cents": 0}  # fmt: skip


def _spoilt(faults: Faults, line: Line) -> Line:
    if line["type"] == "cheque" and faults.happens("wrong_amounts"):
        return {**line, "value_cents": line["value_cents"] + 1}
    if faults.happens("malformed_statement"):
        return dict(list(line.items())[:2])
    return line
