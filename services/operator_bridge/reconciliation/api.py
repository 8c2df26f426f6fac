"""Reconciliation over HTTP: runs, comparing at once, discrepancies, and balances of this moment and of each day."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint

from services.operator_bridge.reconciliation import balances, comparing, runs, schemas
from services.operator_bridge.register import contracts, discrepancies
from services.operator_bridge.register.models_reconciliation import DailyBalance, Discrepancy, Reconciliation
from services.operator_bridge.workers import wakeups
from shared.access.tokens import caller, roles
from shared.database.paging import page_by, page_of
from shared.files.csv_export import CSV_ANSWER, export
from shared.http.idempotency import idempotent
from shared.http.request_context import csv_file, runtime, transaction
from shared.problems import ProblemSchema


def _blueprint(name: str, path: str, description: str) -> Blueprint:
    return Blueprint(name, __name__, url_prefix=f"/v1/{path}", description=description)


reconciliation_runs = _blueprint("reconciliations", "reconciliations", "Operators' statements beside our register.")
comparisons = _blueprint("comparisons", "contracts", "Comparing operators' statements now.")
differences = _blueprint("discrepancies", "discrepancies", "Where an operator's word differs from ours.")
current_balances = _blueprint("balances", "balances", "What stands where.")
daily_balances = _blueprint("daily-balances", "daily-balances", "Register, redeemer and operators, each day.")
BLUEPRINTS = (reconciliation_runs, comparisons, differences, current_balances, daily_balances)


@reconciliation_runs.route("", methods=["POST"])
@roles("admin", "finance", "operations")
@idempotent()
@reconciliation_runs.arguments(schemas.NewReconciliationSchema)
@reconciliation_runs.response(202, schemas.ReconciliationSchema)
@reconciliation_runs.alt_response(404, schema=ProblemSchema)
def ask(body: dict[str, Any]) -> Reconciliation:
    """Requests a run for a contract: a worker does it, and this run says when it is done."""
    with transaction() as session:
        run = runs.request(session, body["contract_id"])
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.reconcile", str(run.reconciliation_id))
    return run


@reconciliation_runs.route("")
@roles("admin", "finance", "operations")
@reconciliation_runs.arguments(schemas.ContractQuery, location="query")
@reconciliation_runs.response(200, page_of(schemas.ReconciliationSchema))
def browse(query: dict[str, Any]) -> dict[str, Any]:
    """All runs, or those of a contract, oldest first."""
    with transaction() as session:
        return page_by(session, Reconciliation, query)


@reconciliation_runs.route("/<uuid:reconciliation_id>")
@roles("admin", "finance", "operations")
@reconciliation_runs.response(200, schemas.ReconciliationSchema)
def show(reconciliation_id: UUID) -> Reconciliation:
    """One run."""
    with transaction() as session:
        return runs.find(session, reconciliation_id)


@reconciliation_runs.route("/export.csv")
@roles("admin", "finance", "operations")
@reconciliation_runs.arguments(schemas.ContractQuery, location="query")
@reconciliation_runs.doc(responses={"200": CSV_ANSWER})
def export_runs(query: dict[str, Any]) -> Response:
    """All runs, or those of a contract, as CSV."""
    return csv_file("reconciliations", export(runtime().engine, runs.CSV, query))


@comparisons.route("/<uuid:contract_id>/comparison", methods=["POST"])
@roles("admin", "finance", "operations")
@comparisons.response(200, schemas.ComparisonSchema)
def compare(contract_id: UUID) -> comparing.Comparison:
    """Compares the operator's whole statement with our register; nothing is changed."""
    with transaction() as session:
        contracts.find(session, contract_id)
    return comparing.compare(runtime(), contract_id)


@differences.route("")
@roles("admin", "finance", "operations")
@differences.arguments(schemas.DiscrepancyQuery, location="query")
@differences.response(200, page_of(schemas.DiscrepancySchema))
def browse_discrepancies(query: dict[str, Any]) -> dict[str, Any]:
    """Where an operator's word differs from ours, with both sides' rows, oldest first."""
    with transaction() as session:
        return page_by(session, Discrepancy, query)


@differences.route("/<uuid:discrepancy_id>")
@roles("admin", "finance", "operations")
@differences.response(200, schemas.DiscrepancySchema)
def show_discrepancy(discrepancy_id: UUID) -> Discrepancy:
    """One difference."""
    with transaction() as session:
        return discrepancies.find(session, discrepancy_id)


@differences.route("/<uuid:discrepancy_id>/resolution", methods=["POST"])
@roles("admin", "finance", "operations")
@idempotent()
@differences.arguments(schemas.ResolutionSchema)
@differences.response(200, schemas.DiscrepancySchema)
def resolve(body: dict[str, str], discrepancy_id: UUID) -> Discrepancy:
    """Resolves a difference as a person decided, with the reason. It is not opened again while both sides stay so."""
    with transaction() as session:
        return discrepancies.resolve(session, discrepancy_id, caller().subject, body["note"])


@differences.route("/export.csv")
@roles("admin", "finance", "operations")
@differences.arguments(schemas.DiscrepancyFilter, location="query")
@differences.doc(responses={"200": CSV_ANSWER})
def export_discrepancies(query: dict[str, Any]) -> Response:
    """Differences by contract, state and kind, as CSV."""
    return csv_file("discrepancies", export(runtime().engine, discrepancies.CSV, query))


@current_balances.route("", endpoint="show")
@roles("admin", "finance", "operations")
@current_balances.response(200, schemas.BalancesSchema)
def show_balances() -> dict[str, Any]:
    """Per contract, its links, redemptions and orders by state, in number and in cents."""
    with transaction() as session:
        return balances.current(session)


@daily_balances.route("")
@roles("admin", "finance", "operations")
@daily_balances.arguments(schemas.DayFilter, location="query")
@daily_balances.response(200, schemas.DailyBalanceSchema(many=True))
def browse_balances(query: dict[str, Any]) -> Sequence[DailyBalance]:
    """What register, redeemer and operators had, day by day and programme by programme: the last 366 of them."""
    with transaction() as session:
        return balances.browse_days(session, **query)


@daily_balances.route("/export.csv")
@roles("admin", "finance", "operations")
@daily_balances.arguments(schemas.DayFilter, location="query")
@daily_balances.doc(responses={"200": CSV_ANSWER})
def export_balances(query: dict[str, Any]) -> Response:
    """The same as CSV: one line per day, programme, party and state."""
    return csv_file("daily-balances", export(runtime().engine, balances.DAYS_CSV, query))
