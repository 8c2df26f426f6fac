"""A list or dictionary that is too long costs one error, whatever is in it."""

from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields

from shared.values.bounded_fields import BoundedDict, BoundedList


class _Request(Schema):
    codes = BoundedList(fields.Str(), least=1, most=3)
    answers = BoundedDict(fields.Str(), fields.Int(), least=1, most=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("codes", [{}] * 100_000),
        ("codes", []),
        ("answers", {str(number): "x" for number in range(100_000)}),
        ("answers", {}),
    ],
)
def test_a_length_out_of_bounds_is_one_error(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        _Request().load({name: value})
    assert refused.value.messages == {name: ["Length must be between 1 and 3."]}


@pytest.mark.parametrize("body", [{"codes": ["a", "b", "c"]}, {"answers": {"a": 1, "b": 2, "c": 3}}])
def test_a_length_within_bounds_is_taken(body: dict[str, Any]) -> None:
    assert _Request().load(body) == body


@pytest.mark.parametrize("body", [{"codes": "abc"}, {"codes": {}}, {"answers": [1]}, {"codes": [1]}])
def test_what_is_of_another_kind_or_wrong_within_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _Request().load(body)
