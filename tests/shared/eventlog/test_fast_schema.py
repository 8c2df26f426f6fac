"""What is read and written the quick way is read, written and refused as marshmallow does it, message for message."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, post_load

from shared.eventlog.event_kinds import KINDS
from shared.eventlog.fast_schema import PlainSchema

DAYS = st.dates()
INSTANTS = st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))]))
IDS = st.uuids()
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
STRANGE: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, "", "x", " 1", "0", 0, -1, 1, 10**12, 1.0, 1.5, True, False, [], {}, ["x"], {"x": 1}, [None], [[]],
        "2026-02-30", "2026-02-03", "20260203", "2026-W05-1", "2026-02-03T10:00:00", "2026-02-03T10:00:00Z",
        "2026-02-03 10:00+02:00", "1999-12-31T00:00:00Z", "NaN", "é\x00", "{0190c1de-0000-7000-8000-000000000000}",
        "urn:uuid:0190c1de-0000-7000-8000-000000000000", "0190C1DE00007000800000000000000G",
        "0190c1de00007000800000000000 000", "A" * 64, "a" * 64 + "\n", b"x", (), ("x",),
    ]
)  # fmt: skip
READ: Mapping[type, st.SearchStrategy[Any]] = {
    fields.UUID: IDS,
    fields.Date: DAYS,
    fields.AwareDateTime: INSTANTS,
    fields.Integer: st.integers(0, 2**31),
    fields.Float: st.floats(),
    fields.Boolean: st.booleans(),
    fields.Dict: st.dictionaries(st.text(), st.integers(), max_size=2),
}
KIND = st.sampled_from(sorted(KINDS))


def text(field: fields.Field[Any]) -> st.SearchStrategy[str]:
    """One of its choices where it has some, else a text or a digest."""
    choices = [choice for validator in field.validators for choice in getattr(validator, "choices", ())]
    return st.sampled_from(choices) if choices else DIGESTS | st.text(max_size=5)


def values(field: fields.Field[Any]) -> st.SearchStrategy[Any]:
    """What a field may hold in Python."""
    if isinstance(field, fields.Nested):
        return messages(field.schema)
    if isinstance(field, fields.List):
        return st.lists(values(field.inner), max_size=3)
    return text(field) if isinstance(field, fields.String) else READ[type(field)]


def messages(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Messages by their fields; of some, and of some parts of some, one member is missing, strange or too much."""
    whole = st.fixed_dictionaries({name: values(field) for name, field in schema.fields.items()})
    spoilt = st.sampled_from([None] * 20 + [*schema.fields, "more"])
    return st.builds(_spoil, whole, spoilt, STRANGE | st.just(...))


def _spoil(whole: dict[str, Any], name: str | None, value: Any) -> dict[str, Any]:
    rest = {key: member for key, member in whole.items() if key != name}
    return rest if name is None or value is ... else rest | {name: value}


def exact(value: Any) -> Any:
    """A value with the types of all its parts; the order of members says nothing."""
    if isinstance(value, dict):
        return {key: exact(member) for key, member in value.items()}
    return [exact(part) for part in value] if isinstance(value, list) else repr(value)


def outcome(convert: Callable[[Any], Any], message: Any) -> tuple[str, Any]:
    """What comes of a message: what it is read as, or every fault that is named."""
    try:
        return "taken", exact(convert(message))
    except ValidationError as error:
        return "refused", error.messages
    except Exception as error:  # what marshmallow does not expect either
        return "failed", repr(error)


def as_json(message: Any) -> Any:
    """A message as it comes over HTTP."""
    return json.loads(
        json.dumps(message, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))
    )


MESSAGES = {kind: messages(schema) for kind, schema in KINDS.items()}
PLAIN = {kind: PlainSchema(schema) for kind, schema in KINDS.items()}


@given(st.data(), KIND)
def test_a_message_is_read_or_refused_as_marshmallow_does(data: st.DataObject, kind: str) -> None:
    message = as_json(data.draw(MESSAGES[kind]))
    assert outcome(PLAIN[kind].load, message) == outcome(KINDS[kind].load, message)


@given(st.data(), KIND)
def test_a_message_is_written_as_marshmallow_does(data: st.DataObject, kind: str) -> None:
    message = data.draw(MESSAGES[kind])
    for given_ in (message, SimpleNamespace(**message)):
        assert outcome(PLAIN[kind].dump, given_) == outcome(KINDS[kind].dump, given_)


@given(STRANGE, KIND)
def test_what_is_no_message_is_refused_as_marshmallow_does(given_: Any, kind: str) -> None:
    assert outcome(PLAIN[kind].load, given_) == outcome(KINDS[kind].load, given_)


class _Plain(Schema):
    class Meta:
        unknown = EXCLUDE

    cheque_id = fields.UUID(required=True)


def test_the_quick_way_is_taken_at_all() -> None:
    class Unable(_Plain):
        def load(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("it was left to marshmallow")

        dump = load

    quick, cheque_id = PlainSchema(Unable()), UUID(int=7)
    assert quick.load({"cheque_id": str(cheque_id), "more": 1}) == {"cheque_id": cheque_id}
    assert quick.dump({"cheque_id": cheque_id}) == {"cheque_id": str(cheque_id)}
    with pytest.raises(AssertionError, match="left"):
        quick.load({"cheque_id": "7"})


@pytest.mark.parametrize(
    "members",
    [
        {"day": fields.Date(format="%d/%m/%Y")},
        {"day": fields.AwareDateTime(default_timezone=None, format="rfc")},
        {"name": fields.Str(data_key="nom", required=True)},
        {"name": fields.Str(attribute="nom", required=True)},
        {"name": fields.Str()},
        {"name": fields.Str(load_default=lambda: "x")},
        {"name": fields.Str(required=True, dump_only=True)},
        {"name": fields.Str(required=True, post_load=str.upper)},
        {"all": fields.Nested(_Plain, many=True, required=True)},
        {"one": fields.Nested(_Plain(unknown=INCLUDE), required=True)},
        {"change": post_load(lambda _self, found, **_: found)},
    ],
)
def test_a_schema_that_does_more_is_not_taken(members: dict[str, Any]) -> None:
    schema = type("Fancy", (_Plain,), members)
    with pytest.raises(ValueError, match="not plain"):
        PlainSchema(schema())
