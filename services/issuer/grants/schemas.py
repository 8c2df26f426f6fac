"""TODO."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from services.issuer.fields import cents, programme_code, text
from services.issuer.people.schemas import BeneficiarySchema


class OrderSchema(Schema):
    """What a grant is asked for with: answers to the programme's questions, or an amount and its reason."""

    programme = programme_code(required=True)
    answers = fields.Dict(
        keys=fields.Str(), values=fields.Str(), metadata={"description": "By question; they are not kept."}
    )
    amount_cents = cents(metadata={"description": "Instead of answers; needs a reason."})
    reason = text(500, metadata={"description": "Why this amount. Name nobody in it."})
    target_public = text()
    granted_on = fields.Date(metadata={"description": "Today (Europe/Paris) if not said; never in the future."})
    beneficiary = fields.Nested(BeneficiarySchema)
    exception_reason = text(
        500,
        metadata={
            "description": "Why the person is to have more than the programme gives one person, where its rule lets"
            " you decide that. It is kept only if it comes to that. Name nobody in it."
        },
    )
    reference = text(
        metadata={
            "description": "Your own name for this grant. Under one reference there is one grant, ever."
            " Name nobody in it."
        }
    )
    lot = programme_code(metadata={"description": "The lot that the grant belongs to."})

    @validates_schema
    def _check_ground(self, data: dict[str, Any], **_: Any) -> None:
        if ("answers" in data) == ("amount_cents" in data):
            raise ValidationError("Either `answers` or `amount_cents`.", "amount_cents")
        if ("amount_cents" in data) != ("reason" in data):
            raise ValidationError("`amount_cents` and `reason` go together.", "reason")
