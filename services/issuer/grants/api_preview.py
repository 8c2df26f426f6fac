"""A preview of what a programme would grant, over HTTP."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer.fields import cents, programme_code
from services.issuer.grants import preview
from services.issuer.grants.preview import Situation
from services.issuer.people import access_log
from services.issuer.people.identities import Identities, Identity
from services.issuer.people.schemas import BeneficiarySchema
from shared.access.tokens import caller, roles
from shared.http.request_context import runtime, transaction
from shared.observability.logs import logger
from shared.problems import ProblemSchema

assessment_views = Blueprint(
    "assessments", __name__, url_prefix="/v1/assessments", description="What a programme would grant, without effect."
)
BLUEPRINTS = (assessment_views,)


class AssessmentSchema(Schema):
    """A person's situation by question of the programme, or an amount; and who it is, to see what they had."""

    programme = programme_code(required=True)
    answers = fields.Dict(keys=fields.Str(), values=fields.Str())
    amount_cents = cents(metadata={"description": "Instead of answers."})
    beneficiary = fields.Nested(BeneficiarySchema)
    granted_on = fields.Date(metadata={"description": "Default: today (Europe/Paris). Must not be in the future."})

    @validates_schema
    def _check_ground(self, data: dict[str, Any], **_: Any) -> None:
        if ("answers" in data) == ("amount_cents" in data):
            raise ValidationError("Either `answers` or `amount_cents`.", "answers")


class StandingSchema(Schema):
    """The person's usage of the programme's limit, and whether you may grant this to them."""

    verdict = fields.Str(
        required=True,
        validate=validate.OneOf(preview.VERDICTS),
        metadata={"description": "`with_reason`: you may grant it if you give an `exception_reason`."},
    )
    detail = fields.Str(required=True, allow_none=True)
    grants = fields.Int(required=True, metadata={"description": "In the period, whoever made them."})
    granted_cents = fields.Int(required=True)
    remaining_cents = fields.Int(required=True, allow_none=True, metadata={"description": "Null: no ceiling."})


class OutcomeSchema(Schema):
    """What would be granted; 0 cents where nothing."""

    amount_cents = fields.Int(required=True)
    points = fields.Int(required=True, allow_none=True)
    reason = fields.Str(required=True)
    rule_version = fields.Int(required=True, allow_none=True)
    cheques = fields.List(fields.Int(), required=True, metadata={"description": "What each would be worth, in cents."})
    per_person = fields.Nested(
        StandingSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Null where nobody is named or the programme has no limit."},
    )


@assessment_views.route("", methods=["POST"])
@roles("admin", "prescriber")
@assessment_views.arguments(AssessmentSchema)
@assessment_views.response(200, OutcomeSchema)
@assessment_views.alt_response(409, schema=ProblemSchema)
def assess(body: dict[str, Any]) -> preview.Preview:
    """What would be granted, and whether the person may have it. Nothing is kept but that you asked."""
    who, person = caller(), body.pop("beneficiary", None)
    identities = Identities(runtime().settings.keys)
    situation = Situation(beneficiary=Identity(**person) if person else None, **body)
    with transaction() as session:
        seen = preview.preview(session, identities, situation, role=who.role, prescriber_id=who.scope)
        if seen.person_id:
            access_log.record(session, "assessed", seen.person_id, str(who))
    if seen.per_person:
        logger().info("person_assessed", caller=str(who), programme=situation.programme)
    return seen
