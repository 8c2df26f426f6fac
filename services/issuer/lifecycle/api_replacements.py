"""Replacements over HTTP: for whoever stands at the desk and has lost cheques."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer.cheques.codes import Codes
from services.issuer.cheques.models import CAUSES, Replacement
from services.issuer.cheques.schemas import PrintedChequeSchema
from services.issuer.fields import published_reason
from services.issuer.lifecycle import cancelling, name_check, replacing
from services.issuer.lifecycle.replacing import OUTCOMES, Shown
from services.issuer.people.identities import Identities
from shared.access.tokens import caller, roles
from shared.audit import trail
from shared.database.paging import PageQuery, page, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, transaction
from shared.observability.logs import logger
from shared.problems import ProblemSchema

blueprint = Blueprint(
    "replacements", __name__, url_prefix="/v1/replacements", description="New cheques for lost, stolen, damaged ones."
)
BLUEPRINTS = (blueprint,)


class ReplacementOrderSchema(Schema):
    """What was lost: some cheques, or whatever is left of a grant."""

    grant_id = fields.UUID()
    cheque_ids = fields.List(fields.UUID(), validate=validate.Length(1, 1000))
    cause = fields.Str(required=True, validate=validate.OneOf(CAUSES))
    reason = published_reason()

    @validates_schema
    def _check_what(self, data: dict[str, Any], **_: Any) -> None:
        if ("grant_id" in data) == ("cheque_ids" in data):
            raise ValidationError("Either `grant_id` or `cheque_ids`.", "cheque_ids")


class ReplacedChequeSchema(Schema):
    """What came of it for one cheque."""

    cheque_id = fields.UUID(required=True)
    grant_id = fields.UUID(required=True)
    value_cents = fields.Int(required=True)
    outcome = fields.Str(
        required=True,
        validate=validate.OneOf(OUTCOMES),
        metadata={"description": "Pending until the redeemer has said whether the old cheque was spent."},
    )
    reason = fields.Str(required=True, allow_none=True, metadata={"description": "Why it was not replaced."})
    new_cheque_id = fields.UUID(required=True, allow_none=True)


class ReplacedWithCodeSchema(ReplacedChequeSchema):
    """What came of it for one cheque, with the new one to hand over."""

    new_cheque = fields.Nested(PrintedChequeSchema, required=True, allow_none=True)


class ReplacementSchema(Schema):
    """A request for replacement."""

    replacement_id = fields.UUID(required=True, attribute="cancellation.id")
    cause = fields.Str(required=True, validate=validate.OneOf(CAUSES), attribute="replacement.cause")
    reason = fields.Str(required=True, attribute="cancellation.reason")
    requested_by = fields.Str(required=True, attribute="cancellation.requested_by")
    requested_at = fields.AwareDateTime(required=True, attribute="cancellation.requested_at")
    pending = fields.Bool(required=True, metadata={"description": "The redeemer has still to answer: look again."})
    cheques = fields.List(fields.Nested(ReplacedChequeSchema), required=True)


class ReplacementWithCodesSchema(ReplacementSchema):
    """A request for replacement, with the new cheques."""

    cheques = fields.List(fields.Nested(ReplacedWithCodeSchema), required=True)


class ReplacementQuery(PageQuery):
    """Which requests."""

    grant_id = fields.UUID(load_default=None)


@blueprint.route("", methods=["POST"])
@roles("admin", own="prescriber")
@idempotent()
@blueprint.arguments(ReplacementOrderSchema)
@blueprint.response(202, ReplacementSchema, headers={"Location": {"schema": {"type": "string"}}})
@blueprint.alt_response(404, schema=ProblemSchema)
def request_replacement(body: dict[str, Any]) -> tuple[Shown, dict[str, str]]:
    """Have cheques blocked at once and replaced: look again at `/v1/replacements/{replacement_id}` for the new ones.

    The redeemer says whether an old cheque was spent: it is replaced if not, as a rule within a second.
    """
    owner = caller().scope
    with transaction() as session:
        wanted = body.get("cheque_ids") or cancelling.of_grant(session, body["grant_id"], owner)
        asked = replacing.request(
            session, Codes(runtime().settings.keys), wanted, body["cause"], body["reason"], str(caller()), owner
        )
        name_check.check_reason(session, Identities(runtime().settings.keys), wanted, body["reason"])
    return asked, {"Location": f"/v1/replacements/{asked.cancellation.id}"}


@blueprint.route("")
@roles("admin", "finance", "operations", own="prescriber")
@blueprint.arguments(ReplacementQuery, location="query")
@blueprint.response(200, page_of(ReplacementSchema))
def list_replacements(query: dict[str, Any]) -> dict[str, Any]:
    """The requests, oldest first, without codes; to a prescriber, its own."""
    owner = caller().scope
    with transaction() as session:
        listed = replacing.listed(owner, query["grant_id"])
        found = page(session, listed, Replacement.cancellation_id, query["after"], query["limit"])
        ids = [replacement.cancellation_id for replacement in found["items"]]
        return found | {"items": replacing.shown(session, ids)}


@blueprint.route("/<uuid:replacement_id>")
@roles("admin", own="prescriber")
@blueprint.response(200, ReplacementWithCodesSchema)
def show_replacement(replacement_id: UUID) -> Shown:
    """A request as it stands, with the codes of the new cheques to hand over. Who asked is logged."""
    with transaction() as session:
        found = replacing.with_codes(session, Codes(runtime().settings.keys), replacement_id, caller().scope)
        shown = [line.new_cheque.cheque_id for line in found.cheques if line.new_cheque]
        trail.record(session, "cheque", shown, after={"shown": "codes"})
    if shown:
        logger().info("codes_shown", replacement_id=str(replacement_id), caller=str(caller()))
    return found
