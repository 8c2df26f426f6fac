"""Prescribers over HTTP."""

from typing import Any
from uuid import UUID

from flask import request
from flask_smorest import Blueprint
from marshmallow import fields

from services.issuer.prescribers.models import Prescriber, PrescriberImport
from shared.access.tokens import caller, roles
from shared.database.lookup import get_or_404
from shared.database.paging import PageQuery, page_by, page_of
from shared.files.file_import import IMPORT_OPTIONS, ImportOptions, ImportOptionsQuery
from shared.http.idempotency import idempotent
from shared.http.request_context import transaction
from shared.limiting.request_limits import MIB, body_limit
from shared.places import importer
from shared.places.importer import CSV_BODY, PlaceSchema, ReportSchema

blueprint = Blueprint("prescribers", __name__, url_prefix="/v1/prescribers", description="Who may grant cheques.")
BLUEPRINTS = (blueprint,)


class PrescriberSchema(PlaceSchema):
    """A prescriber as its file describes it."""

    prescriber_id = fields.UUID(required=True, attribute="id")


@blueprint.route("/imports", methods=["POST"])
@roles("admin")
@body_limit(16 * MIB)
@idempotent(trials=True)
@blueprint.doc(**CSV_BODY)
@blueprint.arguments(ImportOptionsQuery, **IMPORT_OPTIONS)
@blueprint.response(200, ReportSchema)
def import_prescribers(options: ImportOptions) -> dict[str, Any]:
    """Take prescribers in from a file: known ones are updated, bad lines are reported; the good ones go in, or none.

    `dry_run=true` gives the same report without any effect. A file that was taken in before is known again.
    """
    with transaction() as session:
        return importer.take_in(session, request.get_data(), options, Prescriber, PrescriberImport)


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(PrescriberSchema))
def list_prescribers(query: dict[str, Any]) -> dict[str, Any]:
    """The prescribers, in the order in which they were first taken in."""
    with transaction() as session:
        return page_by(session, Prescriber, query)


@blueprint.route("/<uuid:prescriber_id>")
@roles("admin", "finance", "operations", own="prescriber")
@blueprint.response(200, PrescriberSchema)
def show_prescriber(prescriber_id: UUID) -> Prescriber:
    """One prescriber; to a prescriber, itself."""
    caller().require(prescriber_id)
    with transaction() as session:
        return get_or_404(session, Prescriber, prescriber_id, "There is no such prescriber.")
