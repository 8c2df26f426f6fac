"""Training structures over HTTP."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from flask import request
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.redeemer import structures
from services.redeemer.models import Structure
from services.redeemer.schemas import ReasonSchema
from services.redeemer.structures import Report
from shared.app import ProblemSchema
from shared.auth import Role, caller, roles
from shared.idempotency import idempotent
from shared.paging import PageQuery, page, page_of
from shared.web import transaction

blueprint = Blueprint("structures", __name__, url_prefix="/v1/structures", description="Who may redeem cheques.")

_CSV = {
    "requestBody": {
        "required": True,
        "description": "A CSV file of the national schema “Lieux de médiation numérique” (v1 or v0.1).",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


class StructureSchema(Schema):
    """A training structure as its file describes it."""

    structure_id = fields.UUID(required=True, attribute="id")
    source_id = fields.Str(required=True)
    siret = fields.Str(required=True, allow_none=True)
    name = fields.Str(required=True)
    commune = fields.Str(required=True)
    postcode = fields.Str(required=True)
    insee_code = fields.Str(required=True, allow_none=True)
    address = fields.Str(required=True)
    latitude = fields.Float(required=True, allow_none=True)
    longitude = fields.Float(required=True, allow_none=True)
    services = fields.List(fields.Str(), required=True)
    publics = fields.List(fields.Str(), required=True)
    typologies = fields.List(fields.Str(), required=True)
    labels = fields.List(fields.Str(), required=True)
    updated_on = fields.Date(required=True)
    suspended_at = fields.AwareDateTime(required=True, allow_none=True)
    suspension_reason = fields.Str(required=True, allow_none=True)


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
def import_structures() -> Report:
    """Take structures in from a file: bad lines are reported, the good ones go in, known ones are updated."""
    with transaction() as session:
        return structures.take_in(session, request.get_data())


@blueprint.route("")
@roles("admin", "finance", "operations", "structure")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(StructureSchema))
def list_structures(query: dict[str, Any]) -> dict[str, Any]:
    """List the structures, in the order in which they were first taken in; a structure sees itself."""
    visible: sa.Select[Any] = sa.select(Structure)
    if caller().role is Role.STRUCTURE:
        visible = visible.where(Structure.id == caller().own)
    with transaction() as session:
        return page(session, visible, Structure.id, query["after"], query["limit"])


@blueprint.route("/<uuid:structure_id>")
@roles("admin", "finance", "operations", "structure")
@blueprint.response(200, StructureSchema)
@blueprint.alt_response(404, schema=ProblemSchema)
def show_structure(structure_id: UUID) -> Structure:
    """Show a structure; to a structure, itself."""
    caller().require(structure_id)
    with transaction() as session:
        return structures.find(session, structure_id)


@blueprint.route("/<uuid:structure_id>/suspension", methods=["POST"])
@roles("admin")
@blueprint.arguments(ReasonSchema)
@blueprint.response(200, StructureSchema)
@blueprint.alt_response(404, schema=ProblemSchema)
def suspend_structure(body: dict[str, str], structure_id: UUID) -> Structure:
    """Stop a structure from redeeming until further notice."""
    with transaction() as session:
        return structures.suspend(session, structure_id, body["reason"])


@blueprint.route("/<uuid:structure_id>/suspension", methods=["DELETE"])
@roles("admin")
@blueprint.response(200, StructureSchema)
@blueprint.alt_response(404, schema=ProblemSchema)
def readmit_structure(structure_id: UUID) -> Structure:
    """End a structure's suspension."""
    with transaction() as session:
        return structures.readmit(session, structure_id)
