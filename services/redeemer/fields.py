"""Fields and schemas that several of the redeemer's faces share."""

import re
from datetime import date
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from services.redeemer import redeeming
from shared.texts import no_code

# Neither control characters nor halves of surrogate pairs: PostgreSQL stores neither.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LONGEST_CODE = 100  # with whatever separators somebody types


def text(most: int = 500, **options: Any) -> fields.Str:
    """A text that says something, on one line, of at most this many characters."""
    return fields.Str(validate=[validate.Length(1, most), _check_text], **options)


def _check_text(value: str) -> None:
    if not value.strip() or _UNFIT.search(value):
        raise ValidationError("A text on one line is expected.")
    no_code(value)


def code() -> fields.Str:
    """A cheque's code as typed; what is wrong with it is told as a refusal, not here."""
    return fields.Str(
        required=True,
        validate=validate.Length(max=_LONGEST_CODE),
        metadata={"description": "In any case and spacing.", "example": "0123-4567-89AB-CDEF-G"},
    )


class WorkshopSchema(Schema):
    """What is paid for."""

    given_on = fields.Date(load_default=None, metadata={"description": "The day of the workshop; today if not said."})
    service = text(load_default=None, metadata={"description": "Needed where the programme pays for some only."})
    postcode = fields.Str(
        load_default=None,
        validate=validate.Regexp(r"[0-9][0-9AB][0-9]{3}\Z", error="A postcode or an INSEE code is expected."),
        metadata={"description": "Where it was given, postcode or INSEE code; the structure's address if not said."},
    )


class CheckRequest(WorkshopSchema):
    """A cheque to be looked at."""

    code = code()


class CheckAnswer(Schema):
    """What presenting the cheque now would come to."""

    redeemable = fields.Bool(required=True)
    reason = fields.Str(required=True, allow_none=True)
    detail = fields.Str(required=True, allow_none=True)
    redeemed_at = fields.Str(metadata={"description": "Where it was redeemed already: when, in UTC."})
    value_cents = fields.Int(required=True, allow_none=True)
    valid_until = fields.Date(required=True, allow_none=True)
    programme = fields.Str(required=True, allow_none=True)


class RedemptionRequest(WorkshopSchema):
    """Cheques presented together: all are redeemed, or none."""

    codes = fields.List(code(), required=True, validate=validate.Length(1, redeeming.MAX_CODES))


class RedeemedLine(Schema):
    """A cheque that was redeemed."""

    redemption_id = fields.UUID(required=True)
    cheque_id = fields.UUID(required=True)
    amount_cents = fields.Int(required=True)


class PresentationSchema(Schema):
    """Cheques that were redeemed together, in the order of their codes."""

    presentation_id = fields.UUID(required=True)
    redemptions = fields.List(fields.Nested(RedeemedLine), required=True)
    total_cents = fields.Int(required=True)
    redeemed_at = fields.AwareDateTime(required=True)


class RedemptionSchema(Schema):
    """A cheque spent, and how far that has been settled."""

    redemption_id = fields.UUID(required=True, attribute="id")
    cheque_id = fields.UUID(required=True)
    presentation_id = fields.UUID(required=True)
    structure_id = fields.UUID(required=True)
    programme = fields.Str(required=True)
    amount_cents = fields.Int(required=True)
    via = fields.Str(required=True, metadata={"description": "`till`, ours, or `operator`, the operator's own."})
    contract_id = fields.UUID(required=True, allow_none=True)
    given_on = fields.Date(required=True)
    redeemed_at = fields.AwareDateTime(required=True)
    state = fields.Str(required=True)
    refusal_reason = fields.Str(required=True, allow_none=True)
    payment_reference = fields.Str(required=True, allow_none=True)
    paid_on = fields.Date(required=True, allow_none=True)
    statement_id = fields.UUID(required=True, allow_none=True)
    reversed_at = fields.AwareDateTime(required=True, allow_none=True)
    reversal_reason = fields.Str(required=True, allow_none=True)


class ReasonSchema(Schema):
    """Why it is done."""

    reason = text(required=True)


_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


class Month(fields.Field[date]):
    """A month as `2026-11`; in Python its first day."""

    def _serialize(self, value: date | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return f"{value:%Y-%m}" if value else None

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> date:
        found = _MONTH.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValidationError("A month like 2026-11 is expected.")
        return date(int(found[1]), int(found[2]), 1)


def _month(**options: Any) -> Month:
    return Month(**options, metadata={"type": "string", "pattern": f"^{_MONTH.pattern}$", "example": "2026-11"})
