"""Cheques over HTTP: cancelling and blocking them."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque
from services.issuer.cheques.schemas import ChequeSchema, ChequesSchema, _cheque_ids
from services.issuer.fields import cents, published_reason
from services.issuer.lifecycle import blocking, cancelling, name_check
from services.issuer.lifecycle.cancelling import Requested
from services.issuer.people.identities import Identities
from shared.access.tokens import caller, roles
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, transaction
from shared.problems import ProblemSchema

cancellation_views = Blueprint(
    "cancellations", __name__, url_prefix="/v1/cancellations", description="Requests that cheques be cancelled."
)
block_views = Blueprint("blocks", __name__, url_prefix="/v1", description="Cheques lost or in doubt.")
BLUEPRINTS = (cancellation_views, block_views)


class ChequesWithReasonSchema(ChequesSchema):
    """Some cheques and the reason."""

    reason = published_reason()


class CancellationOrderSchema(Schema):
    """What is to be cancelled: a whole grant, a part of its amount, or some cheques."""

    grant_id = fields.UUID()
    amount_cents = cents(
        metadata={"description": "Of the grant: as many of its unspent cheques as come to this amount exactly."}
    )
    cheque_ids = _cheque_ids()
    reason = published_reason()

    @validates_schema
    def _check_what(self, data: dict[str, Any], **_: Any) -> None:
        if ("grant_id" in data) == ("cheque_ids" in data):
            raise ValidationError("Either `grant_id` or `cheque_ids`.", "cheque_ids")
        if "amount_cents" in data and "grant_id" not in data:
            raise ValidationError("Only with `grant_id`.", "amount_cents")


class CancelledChequeSchema(Schema):
    """What came of it for one cheque."""

    cheque_id = fields.UUID(required=True)
    outcome = fields.Str(required=True, validate=validate.OneOf(("requested", "cancelled", "refused")))
    reason = fields.Str(required=True, allow_none=True)


class CancellationSchema(Schema):
    """A cancellation as it stands."""

    cancellation_id = fields.UUID(required=True, attribute="cancellation.id")
    reason = fields.Str(required=True, attribute="cancellation.reason")
    requested_at = fields.AwareDateTime(required=True, attribute="cancellation.requested_at")
    cheques = fields.List(fields.Nested(CancelledChequeSchema), required=True)


class BlockedSchema(Schema):
    """The cheques as they now stand."""

    cheques = fields.List(fields.Nested(ChequeSchema), required=True)


def _wanted(session: Session, body: dict[str, Any], owner: UUID | None) -> list[UUID]:
    if "cheque_ids" in body:
        return list(body["cheque_ids"])
    if "amount_cents" in body:
        return cancelling.worth(session, body["grant_id"], body["amount_cents"], owner)
    return cancelling.of_grant(session, body["grant_id"], owner)


def _check_reason(session: Session, cheque_ids: list[UUID], reason: str) -> None:
    name_check.check_reason(session, Identities(runtime().settings.keys), cheque_ids, reason)


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
        asked = cancelling.request(session, _wanted(session, body, owner), body["reason"], str(caller()), owner)
        _check_reason(session, [line.cheque_id for line in asked.cheques], body["reason"])
        return asked


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
    with transaction() as session:
        blocked = blocking.block(session, body["cheque_ids"], body["reason"], caller().scope)
        _check_reason(session, body["cheque_ids"], body["reason"])
        return {"cheques": blocked}


@block_views.route("/unblocks", methods=["POST"])
@roles("admin", own="prescriber")
@idempotent()
@block_views.arguments(ChequesWithReasonSchema)
@block_views.response(200, BlockedSchema)
@block_views.alt_response(404, schema=ProblemSchema)
def unblock(body: dict[str, Any]) -> dict[str, list[Cheque]]:
    """Take a block back."""
    with transaction() as session:
        released = blocking.unblock(session, body["cheque_ids"], body["reason"], caller().scope)
        _check_reason(session, body["cheque_ids"], body["reason"])
        return {"cheques": released}
