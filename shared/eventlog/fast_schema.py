"""Marshmallow schemas of plain fields, read and written at a fraction of marshmallow's cost.

Each field of a schema becomes one function, once. What these do not take at once they leave to marshmallow, which then
judges the whole message: it alone refuses, and its error names every fault. So both take the same, refuse the same and
give the same; the tests hold one against the other.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from marshmallow import EXCLUDE, Schema, ValidationError, fields, missing

Convert = Callable[[Any], Any]

# What a function raises that finds no value, or one that is not plainly right.
_DOUBT = (AttributeError, KeyError, TypeError, ValueError, ValidationError)


class PlainSchema:
    """The `load` and `dump` of a schema that ignores unknown members; raises ValueError where it is not plain."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._read, self._write = _reader(schema), _writer(schema)

    def load(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A message read, ids as UUID and days as date; raises marshmallow's ValidationError."""
        try:
            found: dict[str, Any] = self._read(message)
        except _DOUBT:
            found = self._schema.load(message)
        return found

    def dump(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON form of a message; nothing is checked, as marshmallow checks nothing there."""
        try:
            written: dict[str, Any] = self._write(message)
        except _DOUBT:
            written = self._schema.dump(message)
        return written


def _reader(schema: Schema) -> Convert:
    members = [(name, _reads(field)) for name, field in _plain_fields(schema) if field.required]
    further = [(name, _reads(field), field.load_default) for name, field in _plain_fields(schema) if not field.required]

    def read(message: Any) -> dict[str, Any]:
        if type(message) is not dict:
            raise TypeError
        found = {name: convert(message[name]) for name, convert in members}
        for name, convert, default in further:
            found[name] = convert(message[name]) if name in message else default
        return found

    return read


def _reads(field: fields.Field[Any]) -> Convert:
    convert = _unchecked(field)
    if field.validators:
        convert = _checked(convert, field.validators)
    return _or_none(convert) if field.allow_none else convert


def _unchecked(field: fields.Field[Any]) -> Convert:
    if isinstance(field, fields.Nested):
        return _reader(field.schema)
    if isinstance(field, fields.List):
        return _each(_reads(field.inner), list)
    return _READ.get(type(field), field.deserialize)


def _checked(convert: Convert, validators: list[Convert]) -> Convert:
    def read(value: Any) -> Any:
        found = convert(value)
        for validate in validators:
            validate(found)
        return found

    return read


def _writer(schema: Schema) -> Convert:
    members = [(name, _or_none(_writes(field))) for name, field in _plain_fields(schema)]

    def write(message: Any) -> dict[str, Any]:
        if type(message) is dict:
            return {name: convert(message[name]) for name, convert in members}
        return {name: convert(getattr(message, name)) for name, convert in members}

    return write


def _writes(field: fields.Field[Any]) -> Convert:
    if isinstance(field, fields.Nested):
        return _writer(field.schema)
    if isinstance(field, fields.List):
        return _each(_or_none(_writes(field.inner)), list, tuple)
    return _WRITE.get(type(field)) or (lambda value: field.serialize("value", {"value": value}))


def _each(convert: Convert, *kinds: type) -> Convert:
    def convert_all(values: Any) -> list[Any]:
        if type(values) not in kinds:
            raise TypeError
        return [convert(value) for value in values]

    return convert_all


def _or_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _plain_fields(schema: Schema) -> list[tuple[str, fields.Field[Any]]]:
    """The fields by name; raises ValueError where one does more than to take and give a value of its kind."""
    if schema.unknown != EXCLUDE or any(schema._hooks.values()):
        raise ValueError(f"{type(schema).__name__} is not plain.")
    for name, field in schema.fields.items():
        renamed = field.data_key not in (None, name) or field.attribute not in (None, name)
        optional = not field.required and (field.load_default is missing or callable(field.load_default))
        changed = field.pre_load or field.post_load or field.load_only or field.dump_only
        formatted = getattr(field, "format", "iso") != "iso" or getattr(field, "default_timezone", None) is not None
        if renamed or optional or changed or formatted or getattr(field, "many", False):
            raise ValueError(f"{type(schema).__name__}.{name} is not plain.")
    return list(schema.fields.items())


def _of(kind: type) -> Convert:
    def same(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError
        return value

    return same


def _aware(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError
    return instant


_READ: Mapping[type, Convert] = {
    fields.UUID: UUID,
    fields.String: _of(str),
    fields.Integer: _of(int),
    fields.Date: date.fromisoformat,
    fields.AwareDateTime: _aware,
}
_WRITE: Mapping[type, Convert] = {
    fields.UUID: str,
    fields.String: _of(str),
    fields.Integer: _of(int),
    fields.Date: date.isoformat,
    fields.AwareDateTime: datetime.isoformat,
}
