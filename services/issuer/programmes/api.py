"""Programmes, and the versions of their rules, over HTTP."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer.fields import cents, day, programme_code, text
from services.issuer.programmes import programmes
from services.issuer.programmes.assessment import MAX_VALUE_CENTS
from services.issuer.programmes.models import ON_ISSUE, ON_REGISTRATION, AssessmentRule, Programme
from services.issuer.programmes.schemas import RuleSchema
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import transaction
from shared.limiting.request_limits import MIB, body_limit
from shared.values.bounded_fields import BoundedList

programme_views = Blueprint(
    "programmes", __name__, url_prefix="/v1/programmes", description="What cheques are for, and their rules."
)
rule_views = Blueprint(
    "rules", __name__, url_prefix="/v1/programmes/<code>/rules", description="A programme's rule, in its versions."
)
BLUEPRINTS = (programme_views, rule_views)


class ValiditySchema(Schema):
    """How long a cheque may be spent: a number of months from the grant, or until one day for all."""

    months = fields.Int(strict=True, validate=validate.Range(1, 120))
    until = day()

    @validates_schema
    def _check_one(self, data: dict[str, Any], **_: Any) -> None:
        if len(data) != 1:
            raise ValidationError('Either {"months": …} or {"until": …}.')


class ProgrammeSchema(Schema):
    """A programme's terms."""

    code = programme_code(required=True)
    name = text(required=True)
    purpose = text(
        400,
        load_default=None,
        allow_none=True,
        metadata={"description": "What the cheques pay for, in plain French, as printed for their holders."},
    )
    face_value_cents = cents(MAX_VALUE_CENTS, load_default=1000)
    minimum_grant_cents = cents(load_default=5000)
    single_cheque = fields.Bool(
        load_default=False,
        metadata={
            "description": "A grant is one cheque of its whole amount, and `face_value_cents` the step of amounts."
            " Else it is cheques of the face value."
        },
    )
    validity = fields.Nested(ValiditySchema, required=True)
    grace_days = fields.Int(
        strict=True,
        load_default=0,
        validate=validate.Range(0, 3660),
        metadata={"description": "Days after its validity in which a cheque may still be presented."},
    )
    retention_months = fields.Int(
        strict=True,
        load_default=24,
        validate=validate.Range(1, 120),
        metadata={"description": "Months after the last contact before the identity is erased."},
    )
    spendable = fields.Str(load_default=ON_ISSUE, validate=validate.OneOf((ON_ISSUE, ON_REGISTRATION)))
    services = BoundedList(text(), most=100, load_default=list, metadata={"description": "Empty: any."})
    territory = BoundedList(
        fields.Str(validate=validate.Regexp(r"[0-9AB]{1,5}\Z")),
        most=1000,
        load_default=list,
        metadata={"description": "Beginnings of postcodes or INSEE codes. Empty: anywhere."},
    )
    assessment = fields.Nested(
        RuleSchema, load_default=None, allow_none=True, metadata={"description": "The rule in force."}
    )
    assessment_version = fields.Int(
        dump_only=True, allow_none=True, metadata={"description": "Which version of it. Null: there never was a rule."}
    )


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


@programme_views.route("", methods=["POST"])
@roles("admin")
@body_limit(1 * MIB)
@idempotent()
@programme_views.arguments(ProgrammeSchema)
@programme_views.response(201, ProgrammeSchema)
def create_programme(body: dict[str, Any]) -> Programme:
    """Add a programme."""
    validity = body.pop("validity")
    terms = body | {"valid_months": validity.get("months"), "valid_until": validity.get("until")}
    with transaction() as session:
        return programmes.create(session, terms, str(caller()))


@programme_views.route("")
@roles("admin", "finance", "operations", "prescriber")
@programme_views.arguments(PageQuery, location="query")
@programme_views.response(200, page_of(ProgrammeSchema))
def list_programmes(query: dict[str, Any]) -> dict[str, Any]:
    """The programmes, in the order in which they were added."""
    with transaction() as session:
        return programmes.page(session, query)


@programme_views.route("/<code>")
@roles("admin", "finance", "operations", "prescriber")
@programme_views.response(200, ProgrammeSchema)
def show_programme(code: str) -> Programme:
    """One programme with its rules."""
    with transaction() as session:
        return programmes.find(session, code)


@rule_views.route("", methods=["POST"])
@roles("admin")
@body_limit(1 * MIB)
@idempotent()
@rule_views.arguments(NewRuleSchema)
@rule_views.response(201, DeclaredRuleSchema)
def replace_rule(body: dict[str, Any], code: str) -> AssessmentRule:
    """Put another rule in force. Grants made before keep the version that they were made by."""
    with transaction() as session:
        return programmes.replace_rule(
            session, code, body["assessment"], reason=body["reason"], by=str(caller()), seen=body.get("replaces")
        )


@rule_views.route("")
@roles("admin", "finance", "operations", "prescriber")
@rule_views.arguments(PageQuery, location="query")
@rule_views.response(200, page_of(DeclaredRuleSchema))
def list_rules(query: dict[str, Any], code: str) -> dict[str, Any]:
    """The versions of the programme's rule, oldest first."""
    with transaction() as session:
        return programmes.rules(session, code, query)


@rule_views.route("/<int:version>")
@roles("admin", "finance", "operations", "prescriber")
@rule_views.response(200, DeclaredRuleSchema)
def show_rule(code: str, version: int) -> AssessmentRule:
    """One version of the programme's rule."""
    with transaction() as session:
        return programmes.find_rule(session, code, version)
