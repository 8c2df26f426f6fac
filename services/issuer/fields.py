"""Fields that the issuer's schemas share."""

import re
from datetime import date
from typing import Any

from marshmallow import fields, validate

from shared.values.text_rules import check_lines, no_code

_FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2200, 12, 31)
MAX_CENTS = 10**12


def text(most: int = 200, **options: Any) -> fields.Str:
    """A text that is not blank, of at most `most` characters."""
    checks = [*options.pop("validate", ()), validate.Length(max=most), check_lines]
    return fields.Str(validate=checks, **options)


def cents(most: int = MAX_CENTS, **options: Any) -> fields.Int:
    """An amount in cents, from 1 to `most`."""
    return fields.Int(strict=True, validate=validate.Range(1, most), **options)


def day(**options: Any) -> fields.Date:
    """A day between 1900 and 2200."""
    return fields.Date(validate=validate.Range(_FIRST_DAY, LAST_DAY), **options)


def programme_code(**options: Any) -> fields.Str:
    """A programme's short name, as used in paths."""
    message = "Small letters, digits and hyphens, at most 63."
    return fields.Str(validate=[validate.Regexp(rf"{CODE.pattern}\Z", error=message), no_code], **options)


def published_reason() -> fields.Str:
    """A reason that is published in an event."""
    return text(500, required=True, metadata={"description": "Published to the other services: name nobody in it."})


CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
