"""Between an operator's JSON and the port's dataclasses.

Reading is strict where it matters: a member that is missing or of another kind is Unreadable, and named. A member that
we do not know is ignored. Amounts are cents, never negative; instants have a zone.
"""

import dataclasses
import json
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from services.operator_bridge.interface import Order, Unreadable
from shared import limits

_T = TypeVar("_T")
_MAX_CENTS = 1_000_000_000
_LONGEST_AMOUNT = 50

# Neither control characters nor halves of surrogate pairs: PostgreSQL stores neither, and nobody means them.
_FIT = validate.Regexp(r"[^\x00-\x1f\x7f\ud800-\udfff]*\Z", error="Control characters are not expected.")
_TEXT = [validate.Length(1, 500), _FIT]
_CENTURIES = validate.Range(date(2000, 1, 1), date(2200, 12, 31))

_FIELDS: Mapping[Any, tuple[type[fields.Field[Any]], dict[str, Any]]] = {
    str: (fields.Str, {"validate": _TEXT}),
    str | None: (fields.Str, {"allow_none": True, "validate": [validate.Length(max=500), _FIT]}),
    int: (fields.Int, {"strict": True, "validate": validate.Range(0, _MAX_CENTS)}),
    UUID: (fields.UUID, {}),
    date: (fields.Date, {"validate": _CENTURIES}),
    datetime: (fields.AwareDateTime, {"validate": lambda given: _CENTURIES(given.date()) and None}),
}


def document(body: bytes) -> dict[str, Any]:
    """A JSON object; raises Unreadable."""
    try:
        limits.check_json(body)
        found = json.loads(body)
    except (ValueError, limits.Malformed):
        found = None
    if not isinstance(found, dict):
        raise Unreadable("The body is not a JSON object.")
    return found


def member(given: Any, name: str, kind: type[_T]) -> _T:
    """One member of an object; raises Unreadable where it is missing or not of its kind."""
    found = given.get(name) if isinstance(given, Mapping) else None
    if not isinstance(found, kind):
        raise Unreadable(f"{name}: expected a {kind.__name__}.")
    return found


def cents(amount: str) -> int:
    """The cents of a decimal number of euros; raises Unreadable."""
    try:
        found = Decimal(amount) * 100 if len(amount) <= _LONGEST_AMOUNT else Decimal("NaN")
    except ArithmeticError:  # no number, or one beyond all bounds
        found = Decimal("NaN")
    if not (found.is_finite() and 0 <= found <= _MAX_CENTS and found == int(found)):
        raise Unreadable("amount: expected euros and cents.")
    return int(found)


def reader(kind: type[_T], **names: str) -> Callable[[Any], _T]:
    """Makes what reads a dataclass of the port from an object, or raises Unreadable.

    `names` are the operator's names of its members where they differ from ours.
    """
    hints = typing.get_type_hints(kind)
    declared = dataclasses.fields(kind)  # type: ignore[arg-type]
    members = {each.name: _field(hints[each.name], each, names.get(each.name)) for each in declared}
    schema = Schema.from_dict(members, name=kind.__name__)(unknown=EXCLUDE)

    def read(given: Any) -> _T:
        try:
            return kind(**schema.load(given))
        except ValidationError as error:
            raise Unreadable(f"{kind.__name__}: {error.messages}") from None

    return read


def write(order: Order, **names: str) -> dict[str, Any]:
    """An order as a JSON-ready object without its empty members, under the operator's names."""
    members = ((names.get(each.name, each.name), getattr(order, each.name)) for each in dataclasses.fields(order))
    return {name: _plain(value) for name, value in members if value}


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _field(hint: Any, member: "dataclasses.Field[Any]", name: str | None) -> fields.Field[Any]:
    needed = member.default is dataclasses.MISSING
    if hint == tuple[str, ...]:
        return fields.List(fields.Str(validate=_TEXT), required=needed, data_key=name)
    if typing.get_origin(hint) is typing.Literal:
        return fields.Str(required=needed, data_key=name, validate=validate.OneOf(typing.get_args(hint)))
    field, options = _FIELDS[hint]
    return field(required=needed, data_key=name, **options)
