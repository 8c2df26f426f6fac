"""What no text that is kept may hold, wherever it comes from."""

from marshmallow import ValidationError

from shared.values import cheque_code

HOLDS_CODE = "It holds a cheque's code, which is cash: leave it out."


def no_code(value: str) -> None:
    """Checks that nobody wrote a cheque's code into a text; raises marshmallow's ValidationError."""
    if cheque_code.stands_in(value):
        raise ValidationError(HOLDS_CODE)
