"""Training structures and their affiliations over HTTP."""

from typing import Any
from uuid import UUID

from flask import request
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.redeemer.fields import ReasonSchema
from services.redeemer.structures import structures
from services.redeemer.structures.models import Affiliation, Structure
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_of
from shared.files.file_import import IMPORT_OPTIONS, ImportOptions, ImportOptionsQuery
from shared.http.idempotency import idempotent
from shared.http.request_context import transaction
from shared.limiting.request_limits import MIB, body_limit
from shared.places.importer import CSV_BODY, PlaceSchema, ReportSchema
from shared.problems import ProblemSchema

blueprint = Blueprint("structures", __name__, url_prefix="/v1/structures", description="Who may redeem cheques.")
affiliations_blueprint = Blueprint(
    "affiliations", __name__, url_prefix="/v1/affiliations", description="Who may redeem which programme's cheques."
)
BLUEPRINTS = (blueprint, affiliations_blueprint)


class StructureSchema(PlaceSchema):
    """A training structure as its file describes it."""

    structure_id = fields.UUID(required=True, attribute="id")
    services = fields.List(fields.Str(), required=True)
    publics = fields.List(fields.Str(), required=True)
    suspended_at = fields.AwareDateTime(required=True, allow_none=True)
    suspension_reason = fields.Str(required=True, allow_none=True)


@blueprint.route("/imports", methods=["POST"])
@roles("admin")
@body_limit(16 * MIB)
@idempotent(trials=True)
@blueprint.doc(**CSV_BODY)
@blueprint.arguments(ImportOptionsQuery, **IMPORT_OPTIONS)
@blueprint.response(200, ReportSchema)
def import_structures(options: ImportOptions) -> dict[str, Any]:
    """Take structures in from a file: known ones are updated, bad lines are reported; the good ones go in, or none.

    `dry_run=true` gives the same report without any effect. A file that was taken in before is known again.
    """
    with transaction() as session:
        return structures.take_in(session, request.get_data(), options)


@blueprint.route("")
@roles("admin", "finance", "operations", own="structure")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(StructureSchema))
def list_structures(query: dict[str, Any]) -> dict[str, Any]:
    """List the structures, in the order in which they were first taken in; a structure sees itself."""
    with transaction() as session:
        return structures.page(session, query | {"id": caller().scope})


@blueprint.route("/<uuid:structure_id>")
@roles("admin", "finance", "operations", own="structure")
@blueprint.response(200, StructureSchema)
def show_structure(structure_id: UUID) -> Structure:
    """Show a structure; to a structure, itself."""
    caller().require(structure_id)
    with transaction() as session:
        return structures.find(session, structure_id)


@blueprint.route("/<uuid:structure_id>/suspension", methods=["POST"])
@roles("admin")
@blueprint.arguments(ReasonSchema)
@blueprint.response(200, StructureSchema)
def suspend_structure(body: dict[str, str], structure_id: UUID) -> Structure:
    """Stop a structure from redeeming until further notice."""
    with transaction() as session:
        return structures.suspend(session, structure_id, body["reason"])


@blueprint.route("/<uuid:structure_id>/suspension", methods=["DELETE"])
@roles("admin")
@blueprint.response(200, StructureSchema)
def readmit_structure(structure_id: UUID) -> Structure:
    """End a structure's suspension."""
    with transaction() as session:
        return structures.readmit(session, structure_id)


class AffiliationRequest(Schema):
    """A structure, a contract, and a period of which both days count."""

    structure_id = fields.UUID(required=True)
    contract_id = fields.UUID(required=True)
    starts_on = fields.Date(required=True)
    ends_on = fields.Date(load_default=None, allow_none=True)


class AffiliationSchema(AffiliationRequest):
    """An affiliation as it stands."""

    affiliation_id = fields.UUID(required=True, attribute="id")


class AffiliationQuery(PageQuery):
    structure_id = fields.UUID(load_default=None)


@affiliations_blueprint.route("", methods=["POST"])
@roles("admin")
@idempotent()
@affiliations_blueprint.arguments(AffiliationRequest)
@affiliations_blueprint.response(201, AffiliationSchema)
@affiliations_blueprint.alt_response(
    409, schema=ProblemSchema, description="The structure is affiliated in that period already."
)
def affiliate(body: dict[str, Any]) -> Affiliation:
    """Affiliate a structure to a contract for a period."""
    with transaction() as session:
        return structures.affiliate(session, **body)


@affiliations_blueprint.route("")
@roles("admin", "finance", "operations")
@affiliations_blueprint.arguments(AffiliationQuery, location="query")
@affiliations_blueprint.response(200, page_of(AffiliationSchema))
def list_affiliations(query: dict[str, Any]) -> dict[str, Any]:
    """List affiliations, oldest first."""
    with transaction() as session:
        return structures.affiliations(session, query)
