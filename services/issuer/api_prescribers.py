"""Prescribers over HTTP."""

from typing import Any
from uuid import UUID

from flask import request
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.issuer import prescribers
from services.issuer.models import Prescriber
from services.issuer.prescribers import Report
from shared.app import ProblemSchema
from shared.auth import caller, roles
from shared.idempotency import idempotent
from shared.paging import PageQuery, page, page_of
from shared.web import transaction

blueprint = Blueprint("prescribers", __name__, url_prefix="/v1/prescribers", description="Who may grant cheques.")
BLUEPRINTS = (blueprint,)

_CSV = {
    "requestBody": {
        "required": True,
        "description": "A CSV file of the national schema “Lieux de médiation numérique” (v1 or v0.1).",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


class PrescriberSchema(Schema):
    """A prescriber as its file describes it."""

    prescriber_id = fields.UUID(required=True, attribute="id")
    source_id = fields.Str(required=True)
    siret = fields.Str(required=True, allow_none=True)
    name = fields.Str(required=True)
    commune = fields.Str(required=True)
    postcode = fields.Str(required=True)
    insee_code = fields.Str(required=True, allow_none=True)
    address = fields.Str(required=True)
    typologies = fields.List(fields.Str(), required=True)
    updated_on = fields.Date(required=True)


class NoteSchema(Schema):
    """Something about one field of one line; an empty field: about the line."""

    line = fields.Int(required=True)
    field = fields.Str(required=True)
    reason = fields.Str(required=True)


class ReportSchema(Schema):
    """What became of a file."""

    version = fields.Str(required=True)
    encoding = fields.Str(required=True)
    already_imported_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "When the very same file was imported before."}
    )
    added = fields.Int(required=True)
    changed = fields.Int(required=True)
    unchanged = fields.Int(required=True)
    refused = fields.Int(required=True, metadata={"description": "Lines."})
    refusals = fields.List(fields.Nested(NoteSchema), required=True)
    remarks = fields.List(fields.Nested(NoteSchema), required=True)


@blueprint.route("/imports", methods=["POST"])
@roles("admin")
@idempotent()
@blueprint.doc(**_CSV)
@blueprint.response(200, ReportSchema)
@blueprint.alt_response(422, schema=ProblemSchema)
def import_prescribers() -> Report:
    """Take prescribers in from a file: bad lines are reported, the good ones go in, known ones are updated."""
    with transaction() as session:
        return prescribers.take_in(session, request.get_data())


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(PrescriberSchema))
def list_prescribers(query: dict[str, Any]) -> dict[str, Any]:
    """The prescribers, in the order in which they were first taken in."""
    with transaction() as session:
        return page(session, prescribers.every(), Prescriber.id, query["after"], query["limit"])


@blueprint.route("/<uuid:prescriber_id>")
@roles("admin", "finance", "operations", "prescriber")
@blueprint.response(200, PrescriberSchema)
@blueprint.alt_response(404, schema=ProblemSchema)
def show_prescriber(prescriber_id: UUID) -> Prescriber:
    """One prescriber; to a prescriber, itself."""
    caller().require(prescriber_id)
    with transaction() as session:
        return prescribers.find(session, prescriber_id)
