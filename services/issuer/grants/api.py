"""Grants over HTTP, one at a time, and what one would come to."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer.cheques.codes import Codes, Revealed
from services.issuer.cheques.schemas import ChequeSchema, PrintedChequeSchema
from services.issuer.fields import cents, programme_code
from services.issuer.grants import granting, preview, queries
from services.issuer.grants.issuing import Secrets
from services.issuer.grants.models import Grant
from services.issuer.grants.schemas import GrantOrderSchema, grant_request
from services.issuer.people import access_log
from services.issuer.people.identities import Identities, Identity
from services.issuer.people.schemas import BeneficiarySchema
from shared.access.tokens import caller, roles
from shared.audit import trail
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, transaction
from shared.observability.logs import logger
from shared.problems import ProblemSchema
from shared.values.bounded_fields import BoundedDict

blueprint = Blueprint(
    "grants", __name__, url_prefix="/v1/grants", description="Amounts granted to people, handed over as cheques."
)
assessment_views = Blueprint(
    "assessments", __name__, url_prefix="/v1/assessments", description="What a programme would grant, without effect."
)
BLUEPRINTS = (blueprint, assessment_views)


class GrantSchema(Schema):
    """A grant, without its cheques and its beneficiary."""

    grant_id = fields.UUID(required=True, attribute="id")
    prescriber_id = fields.UUID(required=True)
    programme = fields.Str(required=True, attribute="programme_code")
    lot_id = fields.UUID(required=True, allow_none=True)
    reference = fields.Str(required=True, allow_none=True)
    target_public = fields.Str(required=True, allow_none=True)
    amount_cents = fields.Int(required=True)
    points = fields.Int(required=True, allow_none=True)
    reason = fields.Str(required=True)
    rule_version = fields.Int(
        required=True,
        allow_none=True,
        metadata={"description": "The version of the programme's rule by which it was judged."},
    )
    exception_reason = fields.Str(
        required=True,
        allow_none=True,
        metadata={"description": "Why the grant exceeds the person's limit; null where it does not."},
    )
    exception_by = fields.Str(required=True, allow_none=True)
    granted_on = fields.Date(required=True)
    valid_until = fields.Date(required=True)
    presentable_until = fields.Date(required=True)
    previous_grants = fields.Int(
        required=True, metadata={"description": "Grants to the same person before this one, whoever made them."}
    )


class ChargedChequeSchema(ChequeSchema):
    """A cheque and why it is charged to its envelope."""

    why = fields.Str(required=True, metadata={"description": "Why this envelope, and what was passed over."})
    replaces = fields.UUID(required=True, allow_none=True, metadata={"description": "The lost cheque in whose place."})
    replaced_by = fields.UUID(required=True, allow_none=True)


class ChargeSchema(Schema):
    """The part of a grant that one envelope pays, as it was charged."""

    envelope_id = fields.UUID(required=True)
    funder = fields.Str(required=True)
    convention_reference = fields.Str(required=True)
    number = fields.Int(required=True)
    cents = fields.Int(required=True)
    why = fields.Str(required=True)


class GrantWithChequesSchema(GrantSchema):
    """A grant, its cheques as last known, and the envelopes that pay for them."""

    charges = fields.List(fields.Nested(ChargeSchema), required=True)
    cheques = fields.List(fields.Nested(ChargedChequeSchema), required=True)


class GrantedSchema(GrantSchema):
    """A new grant and the codes to hand over."""

    already = fields.Bool(
        required=True, metadata={"description": "The reference was used before: this is the grant made then."}
    )
    cheques = fields.List(fields.Nested(PrintedChequeSchema), required=True)


class CodesSchema(Schema):
    """The codes of a grant's cheques."""

    cheques = fields.List(fields.Nested(PrintedChequeSchema), required=True)


class GrantQuery(PageQuery):
    """Which grants."""

    programme = programme_code(load_default=None)
    lot = programme_code(load_default=None)
    exceptional = fields.Bool(
        load_default=None,
        metadata={"description": "True: those that exceed the programme's limit for one person. False: the others."},
    )


class AssessmentSchema(Schema):
    """A person's situation by question of the programme, or an amount; and who it is, to see what they had."""

    programme = programme_code(required=True)
    answers = BoundedDict(fields.Str(), fields.Str(), most=100)
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
    grants = fields.Int(
        required=True, attribute="usage.grants", metadata={"description": "In the period, whoever made them."}
    )
    granted_cents = fields.Int(required=True, attribute="usage.granted_cents")
    remaining_cents = fields.Int(
        required=True, allow_none=True, attribute="usage.remaining_cents", metadata={"description": "Null: no ceiling."}
    )


class OutcomeSchema(Schema):
    """What would be granted; 0 cents where nothing."""

    amount_cents = fields.Int(required=True, attribute="outcome.amount_cents")
    points = fields.Int(required=True, allow_none=True, attribute="outcome.points")
    reason = fields.Str(required=True, attribute="outcome.reason")
    rule_version = fields.Int(required=True, allow_none=True)
    cheques = fields.List(fields.Int(), required=True, metadata={"description": "What each would be worth, in cents."})
    per_person = fields.Nested(
        StandingSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Null where nobody is named or the programme has no limit."},
    )


_SHOWN = [field.attribute or name for name, field in GrantSchema().fields.items()]


def _shown(grant: Grant, **members: Any) -> dict[str, Any]:
    """A grant's columns and other members of an answer."""
    return {name: getattr(grant, name) for name in _SHOWN} | members


@blueprint.route("", methods=["POST"])
@roles("admin", own="prescriber")
@idempotent(required=True, sealed_with="CODE_ENCRYPTION_KEYS")
@blueprint.arguments(GrantOrderSchema)
@blueprint.response(201, GrantedSchema)
def create_grant(body: dict[str, Any]) -> dict[str, Any]:
    """Grant an amount: the cheques exist from now on, each charged to one envelope."""
    request = grant_request(body, caller())
    with transaction() as session:
        issued = granting.grant(session, Secrets.of(runtime().settings.keys), request)
        return _shown(issued.grant, already=issued.already, cheques=issued.cheques)


@blueprint.route("")
@roles("admin", "finance", "operations", own="prescriber")
@blueprint.arguments(GrantQuery, location="query")
@blueprint.response(200, page_of(GrantSchema))
def list_grants(query: dict[str, Any]) -> dict[str, Any]:
    """The grants, oldest first; to a prescriber, its own."""
    with transaction() as session:
        return queries.page(session, caller().scope, query)


@blueprint.route("/<uuid:grant_id>")
@roles("admin", "finance", "operations", own="prescriber")
@blueprint.response(200, GrantWithChequesSchema)
def show_grant(grant_id: UUID) -> dict[str, Any]:
    """A grant, what is known of its cheques, and why each is charged to its envelope."""
    with transaction() as session:
        grant = queries.grant(session, grant_id, caller().scope)
        charges, cheques = queries.charges(session, grant_id), queries.cheques(session, grant_id)
        return _shown(grant, charges=charges, cheques=cheques)


@blueprint.route("/<uuid:grant_id>/codes")
@roles("admin", own="prescriber")
@blueprint.response(200, CodesSchema)
def show_codes(grant_id: UUID) -> dict[str, list[Revealed]]:
    """The codes of a grant, to print them again. The caller is logged."""
    with transaction() as session:
        queries.grant(session, grant_id, caller().scope)
        logger().info("codes_shown", grant_id=str(grant_id), caller=str(caller()))
        trail.record(session, "grant", [grant_id], after={"shown": "codes"})
        return {"cheques": Codes(runtime().settings.keys).of_grant(session, grant_id)}


@assessment_views.route("", methods=["POST"])
@roles("admin", "prescriber")
@assessment_views.arguments(AssessmentSchema)
@assessment_views.response(200, OutcomeSchema)
@assessment_views.alt_response(409, schema=ProblemSchema)
def assess(body: dict[str, Any]) -> preview.Preview:
    """What would be granted, and whether the person may have it. Nothing is kept but that you asked."""
    who, person = caller(), body.pop("beneficiary", None)
    identities, beneficiary = Identities(runtime().settings.keys), Identity(**person) if person else None
    with transaction() as session:
        seen = preview.preview(
            session, identities, **body, beneficiary=beneficiary, role=who.role, prescriber_id=who.scope
        )
        if seen.person_id:
            access_log.record(session, "assessed", seen.person_id, str(who))
    if seen.per_person:
        logger().info("person_assessed", caller=str(who), programme=body["programme"])
    return seen
