"""Between an operator's JSON and the port's dataclasses.

Reading is strict where it matters: a member that is missing or of another kind is Unreadable, and named. A member that
we do not know is ignored. Amounts are cents, never negative; instants have a zone.
"""

import dataclasses
import json
import re
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from services.operator_bridge.interface import Line, Order, UnknownKind, UnknownLine, Unreadable
from shared.limiting import request_limits
from shared.values import clock
from shared.values.text_rules import is_line

_T = TypeVar("_T")
_MAX_CENTS = 1_000_000_000
_MAX_AMOUNT_LENGTH = 50
_MAX_VALUES, _MAX_CONTAINERS = 4_000_000, 500_000
"""Of one page of a statement, which has 64 MiB at most."""

_MAX_TEXT_LENGTH = 500
_IN_OUR_TIME = f"from {clock.EARLIEST:%Y-%m-%d} to {clock.LATEST:%Y-%m-%d}"
# The name of a kind may be shown: what has no digit in it is no code.
_WORD = re.compile(r"(?=.{1,60}\Z)[a-zA-Z]+([._-][a-zA-Z]+)*")
_MEMBERS = tuple(field.name for field in dataclasses.fields(Order))


def document(body: bytes) -> dict[str, Any]:
    """A JSON object; raises Unreadable, also where it would take a parser long or much memory."""
    try:
        request_limits.check_json(body, _MAX_VALUES, _MAX_CONTAINERS)
        found = json.loads(body)
    except (ValueError, request_limits.Malformed):
        found = None
    if not isinstance(found, dict):
        raise Unreadable("The body is not a JSON object.")
    return found


def member(value: Any, name: str, kind: type[_T]) -> _T:
    """One member of an object; raises Unreadable where it is missing or not of its kind."""
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, kind):
        raise Unreadable(f"{name}: expected a {kind.__name__}.")
    return found


def reader_of(readers: Mapping[str, Callable[[Any], _T]], kind: str) -> Callable[[Any], _T]:
    """What reads a message of a kind; raises UnknownKind."""
    if kind not in readers:
        raise UnknownKind(_shown(kind))
    return readers[kind]


def line_of(readers: Mapping[str, Callable[[Any], Line]], kind: str, value: Any) -> Line:
    """A line of a statement, read by its kind; an UnknownLine where that is not known."""
    return readers[kind](value) if kind in readers else UnknownLine(_shown(kind), json.dumps(value))


def cents(amount: str) -> int:
    """The cents of a decimal number of euros; raises Unreadable."""
    try:
        found = Decimal(amount) * 100 if len(amount) <= _MAX_AMOUNT_LENGTH else Decimal("NaN")
    except ArithmeticError:  # no number, or one beyond all bounds
        found = Decimal("NaN")
    if not (found.is_finite() and 0 <= found <= _MAX_CENTS and found == int(found)):
        raise Unreadable("amount: expected euros and cents.")
    return int(found)


def reader(kind: type[_T], **names: str) -> Callable[[Any], _T]:
    """Makes what reads a dataclass of the port from an object, or raises Unreadable.

    `names` are the operator's names of its members where they differ from ours. Statements have millions of lines, so
    what is done for each is little: a table of checks, made once, where a schema would take eight times as long.
    """
    hints = typing.get_type_hints(kind)
    members = [
        (field.name, names.get(field.name, field.name), _check(hints[field.name]), field.default is dataclasses.MISSING)
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
    ]

    def read(value: Any) -> _T:
        if not isinstance(value, dict):
            raise Unreadable(f"{kind.__name__}: expected an object.")
        found = {}
        for name, theirs, check, needed in members:
            if theirs in value:
                try:
                    found[name] = check(value[theirs])
                except ValueError as error:
                    raise Unreadable(f"{kind.__name__}: {theirs}: {error}") from None
            elif needed:
                raise Unreadable(f"{kind.__name__}: {theirs}: missing.")
        return kind(**found)

    return read


class Lines:
    """Reads every line that can be read, and says at the end what was wrong with the others."""

    def __init__(self) -> None:
        self._faults: Counter[str] = Counter()

    def read(self, read: Callable[[Any], _T], values: Iterable[Any]) -> Iterator[_T]:
        """The lines of these values that can be read."""
        for value in values:
            try:
                line = read(value)
            except Unreadable as error:
                self._faults[str(error)] += 1
            else:
                yield line

    def check(self) -> None:
        """Raises Unreadable where a line could not be read; no value is repeated, and no fault said twice."""
        if self._faults:
            raise Unreadable("; ".join(f"{fault} (lines: {number})" for fault, number in self._faults.items()))


def write(order: Order, **names: str) -> dict[str, Any]:
    """An order as a JSON-ready object without its empty members, under the operator's names."""
    return {names.get(name, name): _plain(value) for name in _MEMBERS if (value := getattr(order, name))}


def _shown(kind: str) -> str:
    return kind if _WORD.fullmatch(kind) else "(not a plain word)"


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _check(hint: Any) -> Callable[[Any], Any]:
    """What gives a member of this type, or raises a ValueError that does not repeat the value."""
    if typing.get_origin(hint) is typing.Literal:
        return partial(_word, typing.get_args(hint))
    return _CHECKS[hint]


def _word(words: tuple[str, ...], value: Any) -> str:
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"expected one of {', '.join(words)}.")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT_LENGTH:
        raise ValueError(f"expected 1 to {_MAX_TEXT_LENGTH} characters.")
    if not is_line(value):
        raise ValueError("control characters are not expected.")
    return value


def _text_or_none(value: Any) -> str | None:
    return value if value is None or value == "" else _text(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("expected a list.")
    return tuple(map(_text, value))


def _cents(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_CENTS:  # True is an int too
        raise ValueError("expected cents.")
    return value


def _id(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise ValueError("expected a UUID.") from None


def _day(value: Any) -> date:
    try:
        found = date.fromisoformat(value)
        if clock.EARLIEST.date() <= found <= clock.LATEST.date():
            return found
    except (ValueError, TypeError):
        pass
    raise ValueError(f"expected a day {_IN_OUR_TIME}.")


def _instant(value: Any) -> datetime:
    """In UTC: a zone may lie further away than a database can write."""
    try:
        written = datetime.fromisoformat(value)
        found = written.astimezone(UTC)
        if written.tzinfo and clock.EARLIEST <= found <= clock.LATEST:
            return found
    except (ValueError, TypeError, OverflowError):
        pass
    raise ValueError(f"expected an instant with its zone, {_IN_OUR_TIME}.")


_CHECKS: Mapping[Any, Callable[[Any], Any]] = {
    str: _text,
    str | None: _text_or_none,
    int: _cents,
    UUID: _id,
    date: _day,
    datetime: _instant,
    tuple[str, ...]: _texts,
}
