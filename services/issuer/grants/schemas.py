"""The body of a request for a grant, alone or as a line of many, and the request made of it."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from services.issuer.fields import cents, programme_code, text
from services.issuer.grants.requests import GrantRequest
from services.issuer.people.identities import Identity
from services.issuer.people.schemas import BeneficiarySchema
from shared.access.tokens import Caller
from shared.problems import Invalid
from shared.values.bounded_fields import BoundedDict


class GrantOrderSchema(Schema):
    """A request for a grant: answers to the programme's questions, or an amount and its reason."""

    prescriber_id = fields.UUID(metadata={"description": "Required of an admin; a prescriber grants for itself."})
    programme = programme_code(required=True)
    answers = BoundedDict(
        fields.Str(), fields.Str(), most=100, metadata={"description": "By question; they are not kept."}
    )
    amount_cents = cents(metadata={"description": "Instead of answers; needs a reason."})
    reason = text(500, metadata={"description": "Why this amount. Name nobody in it."})
    target_public = text()
    granted_on = fields.Date(metadata={"description": "Default: today (Europe/Paris). Must not be in the future."})
    beneficiary = fields.Nested(BeneficiarySchema)
    exception_reason = text(
        500,
        metadata={
            "description": "Why the person should have more than the programme's limit, where its rule lets you decide"
            " that. Kept only if the grant exceeds the limit. Name nobody in it."
        },
    )
    reference = text(
        metadata={
            "description": "Your own name for this grant. A reference is used for one grant only. Name nobody in it."
        }
    )
    lot = programme_code(metadata={"description": "The lot that the grant belongs to."})

    @validates_schema
    def _check_ground(self, data: dict[str, Any], **_: Any) -> None:
        if ("answers" in data) == ("amount_cents" in data):
            raise ValidationError("Either `answers` or `amount_cents`.", "amount_cents")
        if ("amount_cents" in data) != ("reason" in data):
            raise ValidationError("`amount_cents` and `reason` go together.", "reason")


def grant_request(body: dict[str, Any], caller: Caller) -> GrantRequest:
    """The caller's request from a loaded body; raises Invalid where the caller cannot grant for its prescriber."""
    prescriber_id, scope = body.pop("prescriber_id", None) or caller.scope, caller.scope
    if prescriber_id is None or scope not in (None, prescriber_id):
        fault = "A prescriber grants for itself only." if prescriber_id else "Say which prescriber grants."
        raise Invalid("Some fields are not valid: see `errors`.", errors={"prescriber_id": [fault]})
    beneficiary = body.pop("beneficiary", None)
    return GrantRequest(
        prescriber_id=prescriber_id,
        beneficiary=Identity(**beneficiary) if beneficiary else None,
        role=caller.role,
        requested_by=str(caller),
        **body,
    )
