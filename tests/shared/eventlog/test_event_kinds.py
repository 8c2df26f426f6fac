"""Every kind of event is written as JSON, read back as it was, and refused where a member is missing or wrong."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError

from shared.eventlog import event_kinds
from shared.eventlog.event_kinds import KINDS

INSTANTS = st.datetimes(datetime(2001, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC) | st.just(timezone.min))
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    UUID: st.uuids(),
    date: st.dates(),
    datetime: INSTANTS,
    str: st.text(max_size=5),
    int: st.integers(1, 2**31 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    Any: st.integers() | st.text(),
}
ISSUED: Mapping[str, Any] = {
    "grant_id": str(UUID(int=1)),
    "programme": {"code": "aidants", "spendable": "on_issue", "services": ["web"], "territory": []},
    "granted_on": "2026-01-05",
    "valid_until": "2027-01-05",
    "presentable_until": "2027-03-05",
    "cheques": [{"cheque_id": str(UUID(int=2)), "digest": "a1" * 32, "value_cents": 1000}],
}
REPORTED = {
    **{name: str(UUID(int=3)) for name in ("report_id", "contract_id", "cheque_id", "structure_id")},
    "amount_cents": 1000,
    "redeemed_at": "2026-01-05T10:00:00+01:00",
}


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a member, by what msgspec knows of its type."""
    match type_:
        case msgspec.inspect.StructType(cls=cls):
            return bodies(cls)
        case msgspec.inspect.CollectionType(item_type=item):
            return st.lists(values(item), max_size=3)
        case msgspec.inspect.UnionType(types=types):
            return st.one_of(*map(values, types))
        case msgspec.inspect.LiteralType(values=choices):
            return st.sampled_from(choices)
        case msgspec.inspect.DictType():
            return st.dictionaries(st.text(), st.integers(), max_size=2)
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.StrType(pattern=str()):
            return st.binary(min_size=32, max_size=32).map(bytes.hex)
    plain = {"UUIDType": UUID, "DateType": date, "DateTimeType": datetime, "StrType": str, "IntType": int}
    plain |= {"FloatType": float, "BoolType": bool}
    return LEAVES[plain[type(type_).__name__]]


def bodies(kind: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """The members of a struct, as a writer has them."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    return st.fixed_dictionaries({field.name: values(field.type) for field in info.fields})


@given(st.data(), st.sampled_from(sorted(KINDS)))
def test_what_is_written_is_read_back_with_members_of_a_later_writer_ignored(data: st.DataObject, kind: str) -> None:
    body = event_kinds.load(kind, data.draw(bodies(KINDS[kind])))
    assert event_kinds.load(kind, json.loads(event_kinds.encode(body)) | {"later": 1}) == body


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", [None, "x", 1, [], {}, [{}]])
def test_what_has_not_the_members_of_its_kind_is_refused(kind: str, message: Any) -> None:
    with pytest.raises(ValidationError):
        event_kinds.load(kind, message)


def test_an_instant_is_written_with_its_offset() -> None:
    body = event_kinds.load("cheques.expired", {"cheque_ids": [], "expired_at": datetime(2026, 1, 5, tzinfo=UTC)})
    assert json.loads(event_kinds.encode(body))["expired_at"] == "2026-01-05T00:00:00+00:00"
    east = timezone(timedelta(hours=2))
    body = event_kinds.load("cheques.expired", {"cheque_ids": [], "expired_at": datetime(2026, 1, 5, tzinfo=east)})
    assert json.loads(event_kinds.encode(body))["expired_at"] == "2026-01-05T00:00:00+02:00"


def test_a_number_without_a_json_form_is_not_written() -> None:
    place = dict.fromkeys(("address", "postcode", "commune", "insee_code", "longitude", "services", "phone"))
    body = {"structure_id": UUID(int=1), "name": "Campus", "latitude": float("nan"), **place}
    with pytest.raises(ValueError, match="not JSON compliant"):
        event_kinds.encode(event_kinds.load("structure.described", body))


@pytest.mark.parametrize("missing", list(ISSUED))
def test_a_member_that_is_missing_is_named(missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        event_kinds.load("cheques.issued", {name: value for name, value in ISSUED.items() if name != missing})


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("grant_id", "7"), ("grant_id", None), ("grant_id", 7), ("granted_on", "2026-02-30"), ("granted_on", 20260203),
        ("granted_on", "2026-02-03T10:00:00"), ("cheques", {}), ("cheques", [{}]), ("cheques", None),
        ("cheques", [ISSUED["cheques"][0] | {"digest": "A1" * 32}]),
        ("cheques", [ISSUED["cheques"][0] | {"digest": "a1" * 32 + "\n"}]),
        *[("cheques", [ISSUED["cheques"][0] | {"value_cents": cents}])
          for cents in (0, -1, 2**31, "1000", 1000.0, True, None)],
        ("programme", ISSUED["programme"] | {"spendable": "never"}),
        ("programme", ISSUED["programme"] | {"services": "web"}),
        ("programme", ISSUED["programme"] | {"code": 7}),
    ],
)  # fmt: skip
def test_a_member_that_is_wrong_is_refused(member: str, value: Any) -> None:
    assert event_kinds.load("cheques.issued", ISSUED)
    with pytest.raises(ValidationError):
        event_kinds.load("cheques.issued", {**ISSUED, member: value})


@pytest.mark.parametrize(
    "instant", ["2026-01-05", "2026-01-05T10:00:00", "1999-12-31T23:00:00Z", "2200-01-01T00:00:01Z", "x", 7, None]
)
def test_an_instant_without_an_offset_or_of_another_century_is_refused(instant: Any) -> None:
    assert event_kinds.load("redemption.reported", REPORTED)
    with pytest.raises(ValidationError):
        event_kinds.load("redemption.reported", REPORTED | {"redeemed_at": instant})


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("cheques.expired", {"cheque_ids": [UUID(int=1)] * 1001, "expired_at": datetime(2026, 1, 5, tzinfo=UTC)}),
        ("cheques.redigested", {"cheques": [{"cheque_id": UUID(int=1), "digest": "a1" * 32}] * 1001}),
    ],
)
def test_an_event_of_too_many_cheques_is_refused(kind: str, body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="1000"):
        event_kinds.load(kind, body)
