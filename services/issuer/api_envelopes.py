"""Envelopes over HTTP."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer import envelopes, programmes
from services.issuer.models import Envelope
from services.issuer.schemas import cents, day, programme_code, text
from shared.app import ProblemSchema
from shared.auth import roles
from shared.idempotency import idempotent
from shared.paging import PageQuery, page, page_of
from shared.web import transaction

blueprint = Blueprint(
    "envelopes", __name__, url_prefix="/v1/envelopes", description="Whose money the cheques are charged to."
)
BLUEPRINTS = (blueprint,)


class EnvelopeSchema(Schema):
    """Money of one funder for one programme, under one convention."""

    envelope_id = fields.UUID(dump_only=True, attribute="id")
    programme = programme_code(required=True, attribute="programme_code")
    funder = text(required=True)
    convention_reference = text(required=True)
    amount_cents = cents(required=True)
    engaged_cents = fields.Int(dump_only=True, metadata={"description": "Of cheques not cancelled and not expired."})
    available_cents = fields.Int(dump_only=True)
    starts_on = day(required=True)
    ends_on = day(required=True)
    target_publics = fields.List(text(), load_default=list, metadata={"description": "Empty: everybody."})
    priority = fields.Int(
        strict=True, load_default=0, validate=validate.Range(-1000, 1000), metadata={"description": "Lower goes first."}
    )

    @validates_schema
    def _check_period(self, data: dict[str, Any], **_: Any) -> None:
        if data["ends_on"] < data["starts_on"]:
            raise ValidationError("Not before `starts_on`.", "ends_on")


class EnvelopeQuery(PageQuery):
    """Which envelopes."""

    programme = programme_code(load_default=None)


@blueprint.route("", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(EnvelopeSchema)
@blueprint.response(201, EnvelopeSchema)
@blueprint.alt_response(422, schema=ProblemSchema)
def create_envelope(body: dict[str, Any]) -> Envelope:
    """Add an envelope to a programme."""
    with transaction() as session:
        programme = programmes.named(session, body.pop("programme_code"))
        return envelopes.create(session, programme, body)


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.arguments(EnvelopeQuery, location="query")
@blueprint.response(200, page_of(EnvelopeSchema))
def list_envelopes(query: dict[str, Any]) -> dict[str, Any]:
    """The envelopes, of one programme or of all, in the order in which they were added."""
    with transaction() as session:
        return page(session, envelopes.every(query["programme"]), Envelope.id, query["after"], query["limit"])


@blueprint.route("/<uuid:envelope_id>")
@roles("admin", "finance", "operations")
@blueprint.response(200, EnvelopeSchema)
@blueprint.alt_response(404, schema=ProblemSchema)
def show_envelope(envelope_id: UUID) -> Envelope:
    """One envelope."""
    with transaction() as session:
        return envelopes.find(session, envelope_id)
