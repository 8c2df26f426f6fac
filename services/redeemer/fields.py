"""Fields and schemas that several of the redeemer's faces share."""

import re
from datetime import date
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from shared.values.text_rules import check_line


def text(most: int = 500, **options: Any) -> fields.Str:
    """A text that is not blank, on one line, of at most this many characters."""
    return fields.Str(validate=[validate.Length(1, most), check_line], **options)


class ReasonSchema(Schema):
    """Why it is done."""

    reason = text(required=True)


_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


class Month(fields.Field[date]):
    """A month as `2026-11`; in Python its first day."""

    def __init__(self, **options: Any) -> None:
        options["metadata"] = {"type": "string", "pattern": f"^{_MONTH.pattern}$", "example": "2026-11"}
        super().__init__(**options)

    def _serialize(self, value: date | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return f"{value:%Y-%m}" if value else None

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> date:
        found = _MONTH.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValidationError("A month like 2026-11 is expected.")
        return date(int(found[1]), int(found[2]), 1)
