"""What a request says to the database, written down as a script that pgbench can repeat.

The same request is made twice. What was the same both times stays as it is; of what differed, identifiers and keys are
made anew for each transaction of pgbench, of the same shape and rising as ours are, and the rest (sealed codes, bodies
of events) is what it was the second time: to the database it is bytes of that length.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg import sql

_HEAD = "\\set i :i + 1\n\\set n (:i * :clients + :client_id) * 100\nBEGIN;\n"
_TAIL = "COMMIT;\n"
_FRESH = "('ffffffff-0000-7000-8000-' || lpad(to_hex(:n::bigint + {}), 12, '0'))::uuid"

_VARIABLE = re.compile(r"(?<!:):(?=\w)")

Said = Sequence[tuple[str, Mapping[str, Any]]]


class Differ(Exception):
    """Two requests that should be alike said different things to the database."""


def heard(engine: sa.Engine, request: Callable[[], object]) -> Said:
    """The statements of a request, with their parameters, in their order."""
    found: list[tuple[str, Mapping[str, Any]]] = []

    def hear(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        found.append((statement, dict(parameters)))

    sa.event.listen(engine, "before_cursor_execute", hear)
    try:
        request()
    finally:
        sa.event.remove(engine, "before_cursor_execute", hear)
    return found


def script(before: Said, after: Said) -> str:
    """One transaction of pgbench that says the same; raises Differ."""
    if [statement for statement, _ in before] != [statement for statement, _ in after]:
        raise Differ([statement for statement, _ in after])
    written = _Written()
    statements = [
        statement % {name: written.value(value, first.get(name) == value) for name, value in second.items()}
        for (statement, first), (_, second) in zip(before, after, strict=True)
    ]
    return _HEAD + "".join(f"{statement.strip()};\n" for statement in statements) + _TAIL


@dataclass
class _Written:
    """Values as SQL; an identifier that is new each time is the same wherever it stands in one transaction."""

    fresh: dict[UUID, str] = field(default_factory=dict)

    def value(self, value: Any, same: bool) -> str:
        if isinstance(value, list):
            return f"ARRAY[{', '.join(self.value(item, same) for item in value)}]"
        if isinstance(value, datetime):
            return "now()"
        identifier = None if same else _identifier(value)
        if identifier is None:
            return _literal(value)
        made = self.fresh.setdefault(identifier, _FRESH.format(len(self.fresh)))
        return made if isinstance(value, UUID) else f"{made}::text"


def _literal(value: Any) -> str:
    """A constant; pgbench takes a colon before a letter for a variable of its own, in a text too."""
    written = sql.Literal(value).as_string(None).strip()
    if not _VARIABLE.search(written):
        return written
    return ("" if written.startswith("E") else "E") + _VARIABLE.sub(r"\\x3a", written)


def _identifier(value: Any) -> UUID | None:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None
