"""Cheques over HTTP: cancelling, blocking and replacing them."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy.orm import Session

from services.issuer.cheques.codes import Codes
from services.issuer.cheques.models import CANCELLED, CAUSES, REFUSED, REQUESTED, Cheque
from services.issuer.cheques.schemas import ChequeSchema, ChequesSchema, PrintedChequeSchema, cheque_id_list
from services.issuer.fields import cents, published_reason
from services.issuer.lifecycle import blocking, cancelling, replacing, selection
from services.issuer.lifecycle.cancelling import Requested
from shared.access.tokens import caller, roles
from shared.audit import trail
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, transaction
from shared.observability.logs import logger
from shared.problems import ProblemSchema

cancellation_views = Blueprint(
    "cancellations", __name__, url_prefix="/v1/cancellations", description="Requests that cheques be cancelled."
)
block_views = Blueprint("blocks", __name__, url_prefix="/v1", description="Cheques lost or in doubt.")
replacement_views = Blueprint(
    "replacements", __name__, url_prefix="/v1/replacements", description="New cheques for lost, stolen, damaged ones."
)
BLUEPRINTS = (cancellation_views, block_views, replacement_views)


class ChequesWithReasonSchema(ChequesSchema):
    reason = published_reason()


class BlockedSchema(Schema):
    cheques = fields.List(fields.Nested(ChequeSchema), required=True)


class _OrderSchema(Schema):
    """Some cheques, or whatever is left of a grant."""

    grant_id = fields.UUID()
    cheque_ids = cheque_id_list()
    reason = published_reason()

    @validates_schema
    def _check_what(self, data: dict[str, Any], **_: Any) -> None:
        if ("grant_id" in data) == ("cheque_ids" in data):
            raise ValidationError("Either `grant_id` or `cheque_ids`.", "cheque_ids")
        if "amount_cents" in data and "grant_id" not in data:
            raise ValidationError("Only with `grant_id`.", "amount_cents")


class CancellationOrderSchema(_OrderSchema):
    amount_cents = cents(
        metadata={"description": "Of the grant: as many of its unspent cheques as come to this amount exactly."}
    )


class CancelledChequeSchema(Schema):
    cheque_id = fields.UUID(required=True)
    outcome = fields.Str(required=True, validate=validate.OneOf((REQUESTED, CANCELLED, REFUSED)))
    reason = fields.Str(required=True, allow_none=True)


class CancellationSchema(Schema):
    cancellation_id = fields.UUID(required=True, attribute="cancellation.id")
    reason = fields.Str(required=True, attribute="cancellation.reason")
    requested_at = fields.AwareDateTime(required=True, attribute="cancellation.requested_at")
    cheques = fields.List(fields.Nested(CancelledChequeSchema), required=True)


class ReplacementOrderSchema(_OrderSchema):
    cause = fields.Str(required=True, validate=validate.OneOf(CAUSES))


class ReplacedChequeSchema(Schema):
    cheque_id = fields.UUID(required=True)
    grant_id = fields.UUID(required=True)
    value_cents = fields.Int(required=True)
    outcome = fields.Str(
        required=True,
        validate=validate.OneOf(replacing.OUTCOMES),
        metadata={"description": "Pending until the redeemer has said whether the old cheque was spent."},
    )
    reason = fields.Str(required=True, allow_none=True, metadata={"description": "Why it was not replaced."})
    new_cheque_id = fields.UUID(required=True, allow_none=True)


class ReplacedWithCodeSchema(ReplacedChequeSchema):
    new_cheque = fields.Nested(PrintedChequeSchema, required=True, allow_none=True)


class ReplacementSchema(Schema):
    replacement_id = fields.UUID(required=True)
    cause = fields.Str(required=True, validate=validate.OneOf(CAUSES))
    reason = fields.Str(required=True)
    requested_by = fields.Str(required=True)
    requested_at = fields.AwareDateTime(required=True)
    pending = fields.Bool(required=True, metadata={"description": "The redeemer has still to answer: look again."})
    cheques = fields.List(fields.Nested(ReplacedChequeSchema), required=True)


class ReplacementWithCodesSchema(ReplacementSchema):
    cheques = fields.List(fields.Nested(ReplacedWithCodeSchema), required=True)


class ReplacementQuery(PageQuery):
    grant_id = fields.UUID(load_default=None)


def _chosen(session: Session, body: dict[str, Any], owner: UUID | None) -> list[UUID]:
    if "cheque_ids" in body:
        return list(body["cheque_ids"])
    if "amount_cents" in body:
        return cancelling.worth(session, body["grant_id"], body["amount_cents"], owner)
    return cancelling.of_grant(session, body["grant_id"], owner)


def _check_reason(session: Session, cheque_ids: Sequence[UUID], reason: str) -> None:
    selection.check_reason(session, runtime().settings.keys, cheque_ids, reason)


@cancellation_views.route("", methods=["POST"])
@roles("admin", own="prescriber")
@idempotent()
@cancellation_views.arguments(CancellationOrderSchema)
@cancellation_views.response(202, CancellationSchema)
@cancellation_views.alt_response(404, schema=ProblemSchema)
def request_cancellation(body: dict[str, Any]) -> Requested:
    """Ask that cheques be cancelled; the redeemer decides for each, so look again for the outcome."""
    owner = caller().scope
    with transaction() as session:
        chosen = _chosen(session, body, owner)
        requested = cancelling.request(session, chosen, body["reason"], str(caller()), owner)
        _check_reason(session, chosen, body["reason"])
        return requested


@cancellation_views.route("/<uuid:cancellation_id>")
@roles("admin", "finance", "operations", own="prescriber")
@cancellation_views.response(200, CancellationSchema)
def show_cancellation(cancellation_id: UUID) -> Requested:
    """A cancellation and what came of it so far."""
    with transaction() as session:
        return cancelling.find(session, cancellation_id, caller().scope)


@block_views.route("/blocks", methods=["POST"])
@roles("admin", own="prescriber")
@idempotent()
@block_views.arguments(ChequesWithReasonSchema)
@block_views.response(200, BlockedSchema)
@block_views.alt_response(404, schema=ProblemSchema)
def block(body: dict[str, Any]) -> dict[str, list[Cheque]]:
    """Have cheques refused from now on: lost, stolen, in doubt."""
    return _change(blocking.block, body)


@block_views.route("/unblocks", methods=["POST"])
@roles("admin", own="prescriber")
@idempotent()
@block_views.arguments(ChequesWithReasonSchema)
@block_views.response(200, BlockedSchema)
@block_views.alt_response(404, schema=ProblemSchema)
def unblock(body: dict[str, Any]) -> dict[str, list[Cheque]]:
    """Take a block back."""
    return _change(blocking.unblock, body)


def _change(use_case: Callable[..., list[Cheque]], body: dict[str, Any]) -> dict[str, list[Cheque]]:
    with transaction() as session:
        cheques = use_case(session, body["cheque_ids"], body["reason"], caller().scope)
        _check_reason(session, body["cheque_ids"], body["reason"])
        return {"cheques": cheques}


@replacement_views.route("", methods=["POST"])
@roles("admin", own="prescriber")
@idempotent()
@replacement_views.arguments(ReplacementOrderSchema)
@replacement_views.response(202, ReplacementSchema, headers={"Location": {"schema": {"type": "string"}}})
@replacement_views.alt_response(404, schema=ProblemSchema)
def request_replacement(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Have cheques blocked at once and replaced: look again at `/v1/replacements/{replacement_id}` for the new ones.

    The redeemer says whether an old cheque was spent: it is replaced if not, as a rule within a second.
    """
    owner, codes = caller().scope, Codes(runtime().settings.keys)
    with transaction() as session:
        chosen = _chosen(session, body, owner)
        requested = replacing.request(session, codes, chosen, body["cause"], body["reason"], str(caller()), owner)
        _check_reason(session, chosen, body["reason"])
    return requested, {"Location": f"/v1/replacements/{requested['replacement_id']}"}


@replacement_views.route("")
@roles("admin", "finance", "operations", own="prescriber")
@replacement_views.arguments(ReplacementQuery, location="query")
@replacement_views.response(200, page_of(ReplacementSchema))
def list_replacements(query: dict[str, Any]) -> dict[str, Any]:
    """The requests, oldest first, without codes; to a prescriber, its own."""
    with transaction() as session:
        return replacing.find_page(session, query, caller().scope)


@replacement_views.route("/<uuid:replacement_id>")
@roles("admin", own="prescriber")
@replacement_views.response(200, ReplacementWithCodesSchema)
def show_replacement(replacement_id: UUID) -> dict[str, Any]:
    """A request as it stands, with the codes of the new cheques to hand over. Who asked is logged."""
    with transaction() as session:
        found = replacing.find_with_codes(session, Codes(runtime().settings.keys), replacement_id, caller().scope)
        shown = [cheque["new_cheque_id"] for cheque in found["cheques"] if cheque["new_cheque"]]
        trail.record(session, "cheque", shown, after={"shown": "codes"})
    if shown:
        logger().info("codes_shown", replacement_id=str(replacement_id), caller=str(caller()))
    return found
