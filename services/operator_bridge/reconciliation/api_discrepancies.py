"""Discrepancies over HTTP: where an operator's word differs from ours."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint

from services.operator_bridge.reconciliation import lists, schemas
from services.operator_bridge.register import discrepancies
from services.operator_bridge.register.models_reconciliation import Discrepancy
from shared.access.tokens import caller, roles
from shared.database.paging import page_of
from shared.files.csv_export import CSV_ANSWER, export
from shared.http.idempotency import idempotent
from shared.http.request_context import csv_file, runtime, transaction

blueprint = Blueprint(
    "discrepancies", __name__, url_prefix="/v1/discrepancies", description="Where an operator's word differs from ours."
)


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.arguments(schemas.DiscrepancyQuery, location="query")
@blueprint.response(200, page_of(schemas.DiscrepancySchema))
def browse_discrepancies(query: dict[str, Any]) -> dict[str, Any]:
    """Where an operator's word differs from ours, with both sides' rows, oldest first."""
    with transaction() as session:
        return lists.discrepancies(session, query)


@blueprint.route("/<uuid:discrepancy_id>")
@roles("admin", "finance", "operations")
@blueprint.response(200, schemas.DiscrepancySchema)
def show_discrepancy(discrepancy_id: UUID) -> Discrepancy:
    """One difference."""
    with transaction() as session:
        return discrepancies.find(session, discrepancy_id)


@blueprint.route("/<uuid:discrepancy_id>/resolution", methods=["POST"])
@roles("admin", "finance", "operations")
@idempotent()
@blueprint.arguments(schemas.ResolutionSchema)
@blueprint.response(200, schemas.DiscrepancySchema)
def resolve(body: dict[str, str], discrepancy_id: UUID) -> Discrepancy:
    """Resolves a difference as a person decided, with the reason. It is not opened again while both sides stay so."""
    with transaction() as session:
        return discrepancies.resolve(session, discrepancy_id, caller().subject, body["note"])


@blueprint.route("/export.csv")
@roles("admin", "finance", "operations")
@blueprint.arguments(schemas.DiscrepancyFilter, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_discrepancies(query: dict[str, Any]) -> Response:
    """Differences by contract, state and kind, as CSV."""
    return csv_file("discrepancies", export(runtime().engine, lists.DISCREPANCIES_CSV, query))
