"""The versions of a programme's rule over HTTP, and what the rule in force would say, without effect."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer import people, previewing, programmes, rules
from services.issuer.api_grants import secrets
from services.issuer.beneficiaries import Identity
from services.issuer.fields import BeneficiarySchema, cents, programme_code, text
from services.issuer.previewing import Situation
from services.issuer.rule_schemas import RuleSchema
from services.issuer.tables import AssessmentRule
from shared.app import ProblemSchema
from shared.auth import caller, roles
from shared.idempotency import idempotent
from shared.logs import logger
from shared.paging import PageQuery, page, page_of
from shared.web import transaction

rule_views = Blueprint(
    "rules", __name__, url_prefix="/v1/programmes/<code>/rules", description="A programme's rule, in its versions."
)
assessment_views = Blueprint(
    "assessments", __name__, url_prefix="/v1/assessments", description="What a programme would grant, without effect."
)
BLUEPRINTS = (rule_views, assessment_views)


class NewRuleSchema(Schema):
    """A rule to be in force from now on."""

    assessment = fields.Nested(
        RuleSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Null: amounts are stated from now on, and no person's are limited."},
    )
    reason = text(500, required=True)
    replaces = fields.Int(
        strict=True,
        validate=validate.Range(0, 2**31 - 1),
        metadata={"description": "The version that you saw in force (0: none): refused if another came in between."},
    )


class DeclaredRuleSchema(Schema):
    """A version of a programme's rule."""

    version = fields.Int(required=True)
    assessment = fields.Nested(RuleSchema, required=True, allow_none=True)
    reason = fields.Str(required=True, allow_none=True)
    declared_by = fields.Str(required=True)
    declared_at = fields.DateTime(required=True)


class AssessmentSchema(Schema):
    """A person's situation by question of the programme, or an amount; and who it is, to see what they had."""

    programme = programme_code(required=True)
    answers = fields.Dict(keys=fields.Str(), values=fields.Str())
    amount_cents = cents(metadata={"description": "Instead of answers."})
    beneficiary = fields.Nested(BeneficiarySchema)
    granted_on = fields.Date(metadata={"description": "Today (Europe/Paris) if not said; never in the future."})

    @validates_schema
    def _check_ground(self, data: dict[str, Any], **_: Any) -> None:
        if ("answers" in data) == ("amount_cents" in data):
            raise ValidationError("Either `answers` or `amount_cents`.", "answers")


class StandingSchema(Schema):
    """How the person stands against what the programme gives one person."""

    verdict = fields.Str(
        required=True,
        validate=validate.OneOf(previewing.VERDICTS),
        metadata={"description": "`with_reason`: you may grant it if you give an `exception_reason`."},
    )
    detail = fields.Str(required=True, allow_none=True)
    grants = fields.Int(required=True, metadata={"description": "In the period, whoever made them."})
    granted_cents = fields.Int(required=True)
    remaining_cents = fields.Int(required=True, allow_none=True, metadata={"description": "Null: no ceiling."})


class OutcomeSchema(Schema):
    """What would be granted: 0 where nothing."""

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


@rule_views.route("", methods=["POST"])
@roles("admin")
@idempotent()
@rule_views.arguments(NewRuleSchema)
@rule_views.response(201, DeclaredRuleSchema)
@rule_views.alt_response(404, schema=ProblemSchema)
@rule_views.alt_response(409, schema=ProblemSchema)
@rule_views.alt_response(422, schema=ProblemSchema)
def replace_rule(body: dict[str, Any], code: str) -> AssessmentRule:
    """Put another rule in force. Grants made before keep the version that they were made by."""
    with transaction() as session:
        programme, reason = programmes.find(session, code), body["reason"]
        return rules.replace(
            session, programme, body["assessment"], reason=reason, by=str(caller()), seen=body.get("replaces")
        )


@rule_views.route("")
@roles("admin", "prescriber", "finance", "operations")
@rule_views.arguments(PageQuery, location="query")
@rule_views.response(200, page_of(DeclaredRuleSchema))
@rule_views.alt_response(404, schema=ProblemSchema)
def list_rules(query: dict[str, Any], code: str) -> dict[str, Any]:
    """The versions of the programme's rule, oldest first."""
    with transaction() as session:
        found = rules.every(programmes.find(session, code))
        return page(session, found, AssessmentRule.id, query["after"], query["limit"])


@rule_views.route("/<int:version>")
@roles("admin", "prescriber", "finance", "operations")
@rule_views.response(200, DeclaredRuleSchema)
@rule_views.alt_response(404, schema=ProblemSchema)
def show_rule(code: str, version: int) -> AssessmentRule:
    """One version of the programme's rule."""
    with transaction() as session:
        return rules.find(session, programmes.find(session, code), version)


@assessment_views.route("", methods=["POST"])
@roles("prescriber", "admin")
@assessment_views.arguments(AssessmentSchema)
@assessment_views.response(200, OutcomeSchema)
@assessment_views.alt_response(403, schema=ProblemSchema)
@assessment_views.alt_response(409, schema=ProblemSchema)
@assessment_views.alt_response(422, schema=ProblemSchema)
def assess(body: dict[str, Any]) -> previewing.Preview:
    """What would be granted, and whether the person may have it. Nothing is kept but that you asked."""
    who, person = caller(), body.pop("beneficiary", None)
    situation = Situation(beneficiary=Identity(**person) if person else None, **body)
    with transaction() as session:
        seen = previewing.preview(session, secrets().identities, situation, role=who.role, prescriber_id=who.scope)
        if seen.person_id:
            people.recorded(session, "assessed", seen.person_id, str(who))
    if seen.per_person:
        logger().info("person_assessed", caller=str(who), programme=situation.programme)
    return seen
