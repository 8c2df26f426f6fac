"""Runs of reconciliation over HTTP, and comparing at once."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint

from services.operator_bridge.reconciliation import comparing, lists, runs, schemas
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models_reconciliation import Reconciliation
from services.operator_bridge.workers import wakeups
from shared.access.tokens import roles
from shared.database.paging import page_of
from shared.files.csv_export import CSV_ANSWER, export
from shared.http.idempotency import idempotent
from shared.http.request_context import csv_file, runtime, transaction
from shared.problems import ProblemSchema

reconciliations = Blueprint(
    "reconciliations",
    __name__,
    url_prefix="/v1/reconciliations",
    description="Operators' statements beside our register.",
)
comparisons = Blueprint(
    "comparisons", __name__, url_prefix="/v1/contracts", description="Comparing operators' statements now."
)


@reconciliations.route("", methods=["POST"])
@roles("admin", "finance", "operations")
@idempotent()
@reconciliations.arguments(schemas.NewReconciliationSchema)
@reconciliations.response(202, schemas.ReconciliationSchema)
@reconciliations.alt_response(404, schema=ProblemSchema)
def ask(body: dict[str, Any]) -> Reconciliation:
    """Requests a run for a contract: a worker does it, and this run says when it is done."""
    with transaction() as session:
        run = runs.request(session, body["contract_id"])
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.reconcile", str(run.reconciliation_id))
    return run


@reconciliations.route("")
@roles("admin", "finance", "operations")
@reconciliations.arguments(schemas.ContractQuery, location="query")
@reconciliations.response(200, page_of(schemas.ReconciliationSchema))
def browse(query: dict[str, Any]) -> dict[str, Any]:
    """All runs, or those of a contract, oldest first."""
    with transaction() as session:
        return lists.reconciliations(session, query)


@reconciliations.route("/<uuid:reconciliation_id>")
@roles("admin", "finance", "operations")
@reconciliations.response(200, schemas.ReconciliationSchema)
def show(reconciliation_id: UUID) -> Reconciliation:
    """One run."""
    with transaction() as session:
        return runs.find(session, reconciliation_id)


@reconciliations.route("/export.csv")
@roles("admin", "finance", "operations")
@reconciliations.arguments(schemas.ContractQuery, location="query")
@reconciliations.doc(responses={"200": CSV_ANSWER})
def export_runs(query: dict[str, Any]) -> Response:
    """All runs, or those of a contract, as CSV."""
    return csv_file("reconciliations", export(runtime().engine, lists.RECONCILIATIONS_CSV, query))


@comparisons.route("/<uuid:contract_id>/comparison", methods=["POST"])
@roles("admin", "finance", "operations")
@comparisons.response(200, schemas.ComparisonSchema)
def compare(contract_id: UUID) -> comparing.Comparison:
    """Compares the operator's whole statement with our register; nothing is changed."""
    with transaction() as session:
        contracts.find(session, contract_id)
    return comparing.compare(runtime(), contract_id)
