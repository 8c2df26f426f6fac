"""Lists and dictionaries of a request whose length is checked before anything in them is read.

marshmallow reads every item first: of a list that is too long it would make an error for each.
"""

from collections.abc import Mapping
from typing import Any

from marshmallow import fields, validate


class BoundedList(fields.List[Any]):
    """A list of `least` to `most` items."""

    def __init__(self, item: fields.Field[Any], *, most: int, least: int = 0, **options: Any) -> None:
        self._length = validate.Length(least, most)
        super().__init__(item, validate=self._length, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            self._length(value)
        return super()._deserialize(value, attr, data, **kwargs)


class BoundedDict(fields.Dict):
    """A dictionary of `least` to `most` members."""

    def __init__(
        self, keys: fields.Field[Any], values: fields.Field[Any], *, most: int, least: int = 0, **options: Any
    ) -> None:
        self._length = validate.Length(least, most)
        metadata = {"minProperties": least, "maxProperties": most, **options.pop("metadata", {})}
        super().__init__(keys, values, metadata=metadata, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, dict):
            self._length(value)
        return super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
