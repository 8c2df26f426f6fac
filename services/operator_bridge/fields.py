"""TODO."""

import re

from marshmallow import ValidationError

# Neither control characters nor halves of surrogate pairs: PostgreSQL stores neither.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def fit(value: str) -> None:
    """Checks that a text says something, on one line."""
    if not value.strip() or _UNFIT.search(value):
        raise ValidationError("A text on one line is expected.")
