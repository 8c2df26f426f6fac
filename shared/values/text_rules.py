"""What no stored text may contain: a cheque's code, control characters and lone surrogates.

PostgreSQL stores neither NUL nor surrogates.
"""

import re

from marshmallow import ValidationError

from shared.values import cheque_code

HOLDS_CODE = "It holds a cheque's code, which is cash: leave it out."
LINE_PATTERN = r"^[^\x00-\x1f\x7f\ud800-\udfff]*\Z"
_LINE = re.compile(LINE_PATTERN)
_BREAKS = str.maketrans("", "", "\t\n\r")


def is_line(value: str) -> bool:
    """Whether a text is one line without control characters; it may be empty."""
    return bool(_LINE.match(value))


def check_line(value: str) -> None:
    """Checks that a text is not blank, has one line, and contains no code; raises marshmallow's ValidationError."""
    if not value.strip() or not is_line(value):
        raise ValidationError("A text on one line is expected.")
    no_code(value)


def check_lines(value: str) -> None:
    """Checks the same of a text that may have tabs and several lines."""
    if not value.strip():
        raise ValidationError("It says nothing.")
    if not is_line(value.translate(_BREAKS)):
        raise ValidationError("It has a control character.")
    no_code(value)


def no_code(value: str) -> None:
    """Checks that nobody wrote a cheque's code into a text; raises marshmallow's ValidationError."""
    if cheque_code.stands_in(value):
        raise ValidationError(HOLDS_CODE)
