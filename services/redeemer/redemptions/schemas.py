"""What checks and redemptions look like over HTTP."""

from marshmallow import Schema, fields, validate

from services.redeemer.fields import text
from services.redeemer.redemptions import redeeming
from shared.values.bounded_fields import BoundedList

_LONGEST_CODE = 100  # with whatever separators somebody types


def code() -> fields.Str:
    """A cheque's code as typed; an invalid one is a refusal, not an error of the schema."""
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
    """The result that presenting the cheque now would have."""

    redeemable = fields.Bool(required=True)
    reason = fields.Str(required=True, allow_none=True)
    detail = fields.Str(required=True, allow_none=True)
    redeemed_at = fields.Str(metadata={"description": "Where it was redeemed already: when, in UTC."})
    value_cents = fields.Int(required=True, allow_none=True)
    valid_until = fields.Date(required=True, allow_none=True)
    programme = fields.Str(required=True, allow_none=True)


class RedemptionRequest(WorkshopSchema):
    """Cheques presented together: all are redeemed, or none."""

    codes = BoundedList(code(), required=True, least=1, most=redeeming.MAX_CODES)


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
