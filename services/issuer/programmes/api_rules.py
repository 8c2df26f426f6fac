"""The versions of a programme's rule over HTTP."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from services.issuer.fields import text
from services.issuer.programmes import programmes, rule_versions
from services.issuer.programmes.models import AssessmentRule
from services.issuer.programmes.schemas import RuleSchema
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import transaction

rule_views = Blueprint(
    "rules", __name__, url_prefix="/v1/programmes/<code>/rules", description="A programme's rule, in its versions."
)
BLUEPRINTS = (rule_views,)


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


@rule_views.route("", methods=["POST"])
@roles("admin")
@idempotent()
@rule_views.arguments(NewRuleSchema)
@rule_views.response(201, DeclaredRuleSchema)
def replace_rule(body: dict[str, Any], code: str) -> AssessmentRule:
    """Put another rule in force. Grants made before keep the version that they were made by."""
    with transaction() as session:
        programme, reason = programmes.find(session, code), body["reason"]
        return rule_versions.replace(
            session, programme, body["assessment"], reason=reason, by=str(caller()), seen=body.get("replaces")
        )


@rule_views.route("")
@roles("admin", "finance", "operations", "prescriber")
@rule_views.arguments(PageQuery, location="query")
@rule_views.response(200, page_of(DeclaredRuleSchema))
def list_rules(query: dict[str, Any], code: str) -> dict[str, Any]:
    """The versions of the programme's rule, oldest first."""
    with transaction() as session:
        found = rule_versions.every(programmes.find(session, code))
        return page(session, found, AssessmentRule.id, query["after"], query["limit"])


@rule_views.route("/<int:version>")
@roles("admin", "finance", "operations", "prescriber")
@rule_views.response(200, DeclaredRuleSchema)
def show_rule(code: str, version: int) -> AssessmentRule:
    """One version of the programme's rule."""
    with transaction() as session:
        return rule_versions.find(session, programmes.find(session, code), version)
