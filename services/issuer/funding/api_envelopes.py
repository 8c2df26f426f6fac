"""Envelopes over HTTP."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer.fields import cents, day, programme_code, text
from services.issuer.funding import envelopes
from services.issuer.funding.models import Envelope, EnvelopeMovement
from services.issuer.programmes import programmes
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import transaction
from shared.problems import ProblemSchema
from shared.values.bounded_fields import BoundedList

blueprint = Blueprint(
    "envelopes", __name__, url_prefix="/v1/envelopes", description="Whose money the cheques are charged to."
)
BLUEPRINTS = (blueprint,)

_PUBLICS = {"description": "Empty: the convention's, or everybody."}
_SHARE = {
    "description": "Its part of what is charged to the envelopes of its priority, in ten-thousandths. They are charged"
    " before those that have none."
}


class EnvelopeSchema(Schema):
    """Money of one funder for one programme, under one convention."""

    envelope_id = fields.UUID(dump_only=True, attribute="id")
    programme = programme_code(required=True, attribute="programme_code")
    convention_id = fields.UUID(metadata={"description": "Or `funder` and `convention_reference`."})
    funder = text()
    convention_reference = text()
    amount_cents = cents(required=True)
    engaged_cents = fields.Int(dump_only=True, metadata={"description": "Of cheques not cancelled and not expired."})
    available_cents = fields.Int(dump_only=True)
    reserved_cents = fields.Int(
        dump_only=True, metadata={"description": "What only the convention's `reserved_publics` may take."}
    )
    starts_on = day(metadata={"description": "The convention's, if not said."})
    ends_on = day(metadata={"description": "The convention's, if not said."})
    target_publics = BoundedList(text(), most=100, load_default=list, metadata=_PUBLICS)
    priority = fields.Int(
        strict=True, load_default=0, validate=validate.Range(-1000, 1000), metadata={"description": "Lower goes first."}
    )
    share_bp = fields.Int(
        strict=True, load_default=None, allow_none=True, validate=validate.Range(1, 10_000), metadata=_SHARE
    )
    closed_at = fields.AwareDateTime(dump_only=True, allow_none=True)

    @validates_schema
    def _check(self, data: dict[str, Any], **_: Any) -> None:
        missing = [name for name in ("funder", "convention_reference") if name not in data]
        if "convention_id" in data and len(missing) < 2:
            raise ValidationError("Either this, or `funder` and `convention_reference`.", "convention_id")
        if "convention_id" not in data and missing:
            raise ValidationError("Give it, or `convention_id`.", missing[0])
        if "ends_on" in data and "starts_on" in data and data["ends_on"] < data["starts_on"]:
            raise ValidationError("Not before `starts_on`.", "ends_on")


class KnownEnvelopeSchema(EnvelopeSchema):
    """An envelope as it stands."""

    amount_cents = fields.Int(required=True, metadata={"description": "0, of one that was emptied."})


class EnvelopeQuery(PageQuery):
    """Which envelopes."""

    programme = programme_code(load_default=None)
    convention_id = fields.UUID(load_default=None)


class ClosingSchema(Schema):
    """Why an envelope is closed."""

    reason = text(500, required=True)


class EnvelopeAmountSchema(ClosingSchema):
    """The amount that an envelope is to have, and why."""

    amount_cents = cents(required=True)


class MovementSchema(Schema):
    """A change of an envelope's amount."""

    movement_id = fields.UUID(required=True, attribute="id")
    envelope_id = fields.UUID(required=True)
    kind = fields.Str(required=True, metadata={"enum": ["opened", "raised", "lowered", "closed"]})
    before_cents = fields.Int(required=True)
    after_cents = fields.Int(required=True)
    reason = fields.Str(required=True)
    made_by = fields.Str(required=True)
    made_at = fields.AwareDateTime(required=True)


@blueprint.route("", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(EnvelopeSchema)
@blueprint.response(201, KnownEnvelopeSchema)
@blueprint.alt_response(404, schema=ProblemSchema)
def create_envelope(body: dict[str, Any]) -> Envelope:
    """Add an envelope to a programme, under a convention."""
    with transaction() as session:
        programme = programmes.named(session, body.pop("programme_code"))
        return envelopes.create(session, programme, body, str(caller()))


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.arguments(EnvelopeQuery, location="query")
@blueprint.response(200, page_of(KnownEnvelopeSchema))
def list_envelopes(query: dict[str, Any]) -> dict[str, Any]:
    """The envelopes, of a programme, a convention or all, in the order in which they were added."""
    with transaction() as session:
        return envelopes.page(session, query)


@blueprint.route("/<uuid:envelope_id>")
@roles("admin", "finance", "operations")
@blueprint.response(200, KnownEnvelopeSchema)
def show_envelope(envelope_id: UUID) -> Envelope:
    """One envelope."""
    with transaction() as session:
        return envelopes.find(session, envelope_id)


@blueprint.route("/<uuid:envelope_id>/movements", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(EnvelopeAmountSchema)
@blueprint.response(201, MovementSchema)
def set_amount(body: dict[str, Any], envelope_id: UUID) -> EnvelopeMovement:
    """Raise or lower an envelope, never under what is engaged nor above what its convention grants."""
    with transaction() as session:
        return envelopes.set_amount(session, envelope_id, body["amount_cents"], body["reason"], str(caller()))


@blueprint.route("/<uuid:envelope_id>/closing", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(ClosingSchema)
@blueprint.response(201, MovementSchema)
def close_envelope(body: dict[str, Any], envelope_id: UUID) -> EnvelopeMovement:
    """Close an envelope: it keeps what is engaged and takes no more cheques."""
    with transaction() as session:
        return envelopes.close(session, envelope_id, body["reason"], str(caller()))


@blueprint.route("/<uuid:envelope_id>/movements")
@roles("admin", "finance", "operations")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(MovementSchema))
def list_movements(query: dict[str, Any], envelope_id: UUID) -> dict[str, Any]:
    """What was done to an envelope's amount, by whom and why, oldest first."""
    with transaction() as session:
        return envelopes.movements(session, envelope_id, query)
