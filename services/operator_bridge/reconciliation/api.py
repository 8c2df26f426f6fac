"""Reconciliations, discrepancies and daily balances over HTTP, and each of them as CSV."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from flask import Response
from flask_smorest import Blueprint
from marshmallow import EXCLUDE, Schema, fields, validate

from services.operator_bridge.reconciliation import exports, runs
from services.operator_bridge.reconciliation.comparing import KINDS
from services.operator_bridge.register import discrepancies, transitions
from services.operator_bridge.register.models_reconciliation import DailyBalance, Discrepancy, Reconciliation
from services.operator_bridge.workers import wakeups
from shared.access.tokens import caller, roles
from shared.database.lookup import get_or_404
from shared.database.paging import PageQuery, page, page_of
from shared.files.csv_export import export
from shared.http.idempotency import idempotent
from shared.http.request_context import csv_file, runtime, transaction
from shared.problems import ProblemSchema
from shared.values.text_rules import check_line

reconciliations = Blueprint(
    "reconciliations",
    __name__,
    url_prefix="/v1/reconciliations",
    description="Operators' statements beside our register.",
)
differences = Blueprint(
    "discrepancies", __name__, url_prefix="/v1/discrepancies", description="Where an operator's word differs from ours."
)
balances = Blueprint(
    "daily-balances",
    __name__,
    url_prefix="/v1/daily-balances",
    description="Register, redeemer and operators, each day.",
)

_CSV = {"description": "CSV in UTF-8; amounts in cents of EUR.", "content": {"text/csv": {}}}


class NewReconciliationSchema(Schema):
    contract_id = fields.UUID(required=True)


class ReconciliationSchema(Schema):
    reconciliation_id = fields.UUID(required=True)
    contract_id = fields.UUID(required=True)
    night = fields.Date(allow_none=True, metadata={"description": "The day whose nightly run it is."})
    state = fields.Str(required=True)
    requested_at = fields.AwareDateTime(required=True)
    started_at = fields.AwareDateTime(allow_none=True)
    finished_at = fields.AwareDateTime(allow_none=True)
    attempts = fields.Int(required=True)
    error = fields.Str(allow_none=True)
    compared = fields.Bool(allow_none=True, metadata={"description": "False where the operator holds no statement."})
    lines = fields.Int(required=True)
    moving = fields.Int(required=True, metadata={"description": "Cheques not compared: something is on its way."})
    ours = fields.Dict(required=True, metadata={"description": "By status: number, cents, redeemed cents."})
    theirs = fields.Dict(required=True)
    differences = fields.Dict(required=True, metadata={"description": "How many by kind."})
    settled = fields.Int(required=True, metadata={"description": "On how many a policy acted."})
    resolved = fields.Int(required=True, metadata={"description": "How many of before are in agreement now."})
    waiting = fields.Int(required=True, metadata={"description": "How many wait for a person."})
    withheld = fields.Bool(required=True, metadata={"description": "So much differs that no policy acted."})


class ContractQuery(PageQuery):
    contract_id = fields.UUID(load_default=None)


class DiscrepancyFilter(Schema):
    class Meta:
        unknown = EXCLUDE

    contract_id = fields.UUID(load_default=None)
    state = fields.Str(load_default=None, validate=validate.OneOf(tuple(transitions.DISCREPANCY)))
    kind = fields.Str(load_default=None, validate=validate.OneOf(KINDS))


class DiscrepancyQuery(PageQuery, DiscrepancyFilter):
    class Meta:
        unknown = EXCLUDE


class DiscrepancySchema(Schema):
    discrepancy_id = fields.UUID(required=True)
    operator = fields.Str(required=True)
    kind = fields.Str(required=True)
    reference = fields.Str(required=True, metadata={"description": "The cheque, or what the operator says it of."})
    contract_id = fields.UUID(allow_none=True)
    cheque_id = fields.UUID(allow_none=True)
    state = fields.Str(required=True)
    ours = fields.Dict(required=True)
    theirs = fields.Dict(required=True)
    found_at = fields.AwareDateTime(required=True)
    policy = fields.Str(allow_none=True, metadata={"description": "What was done about it without a person."})
    resolved_at = fields.AwareDateTime(allow_none=True)
    resolved_by = fields.Str(allow_none=True)
    resolver = fields.Str(allow_none=True)
    note = fields.Str(allow_none=True)
    history = fields.List(fields.Dict(), required=True, metadata={"description": "Earlier ends, if it came again."})


class ResolutionSchema(Schema):
    note = fields.Str(required=True, validate=[validate.Length(1, 2000), check_line])


class DayFilter(Schema):
    class Meta:
        unknown = EXCLUDE

    since = fields.Date(load_default=None, data_key="from")
    until = fields.Date(load_default=None, data_key="to")
    programme = fields.Str(load_default=None)


class DailyBalanceSchema(Schema):
    day = fields.Date(required=True)
    programme = fields.Str(required=True)
    kept_at = fields.AwareDateTime(required=True)
    register = fields.Dict(required=True, metadata={"description": "By state: number and cents."})
    redeemer = fields.Dict(required=True, allow_none=True, metadata={"description": "Null where it did not answer."})
    operators = fields.List(fields.Dict(), required=True, metadata={"description": "Each contract's last comparison."})
    agrees = fields.Bool(required=True, allow_none=True)


@reconciliations.route("", methods=["POST"])
@roles("admin", "finance", "operations")
@idempotent()
@reconciliations.arguments(NewReconciliationSchema)
@reconciliations.response(202, ReconciliationSchema)
@reconciliations.alt_response(404, schema=ProblemSchema)
def ask(body: dict[str, Any]) -> Reconciliation:
    """Asks for a contract to be reconciled now: a worker does it, and this run says when it is done."""
    with transaction() as session:
        run = runs.request(session, body["contract_id"])
    wakeups.wake(runtime(), "operator_bridge.reconcile", str(run.reconciliation_id))
    return run


@reconciliations.route("")
@roles("admin", "finance", "operations")
@reconciliations.arguments(ContractQuery, location="query")
@reconciliations.response(200, page_of(ReconciliationSchema))
def browse(query: dict[str, Any]) -> dict[str, Any]:
    """All runs, or those of a contract, oldest first."""
    chosen = _chosen(sa.select(Reconciliation), Reconciliation, query, "contract_id")
    with transaction() as session:
        return page(session, chosen, Reconciliation.reconciliation_id, query["after"], query["limit"])


@reconciliations.route("/<uuid:reconciliation_id>")
@roles("admin", "finance", "operations")
@reconciliations.response(200, ReconciliationSchema)
def show(reconciliation_id: UUID) -> Reconciliation:
    """One run."""
    with transaction() as session:
        return get_or_404(session, Reconciliation, reconciliation_id, "There is no such reconciliation.")


@reconciliations.route("/export.csv")
@roles("admin", "finance", "operations")
@reconciliations.arguments(ContractQuery, location="query")
@reconciliations.doc(responses={"200": _CSV})
def export_runs(query: dict[str, Any]) -> Response:
    """All runs, or those of a contract, as CSV."""
    return _csv("reconciliations", exports.RECONCILIATIONS, query)


@differences.route("")
@roles("admin", "finance", "operations")
@differences.arguments(DiscrepancyQuery, location="query")
@differences.response(200, page_of(DiscrepancySchema))
def browse_discrepancies(query: dict[str, Any]) -> dict[str, Any]:
    """Where an operator's word differs from ours, with both sides' rows, oldest first."""
    chosen = _chosen(sa.select(Discrepancy), Discrepancy, query, "contract_id", "state", "kind")
    with transaction() as session:
        return page(session, chosen, Discrepancy.discrepancy_id, query["after"], query["limit"])


@differences.route("/<uuid:discrepancy_id>")
@roles("admin", "finance", "operations")
@differences.response(200, DiscrepancySchema)
def show_discrepancy(discrepancy_id: UUID) -> Discrepancy:
    """One difference."""
    with transaction() as session:
        return get_or_404(session, Discrepancy, discrepancy_id, "There is no such discrepancy.")


@differences.route("/<uuid:discrepancy_id>/resolution", methods=["POST"])
@roles("admin", "finance", "operations")
@idempotent()
@differences.arguments(ResolutionSchema)
@differences.response(200, DiscrepancySchema)
def resolve(body: dict[str, str], discrepancy_id: UUID) -> Discrepancy:
    """Resolves a difference as a person decided, with the reason. It is not opened again while both sides stay so."""
    with transaction() as session:
        return discrepancies.resolve(session, discrepancy_id, caller().subject, body["note"])


@differences.route("/export.csv")
@roles("admin", "finance", "operations")
@differences.arguments(DiscrepancyFilter, location="query")
@differences.doc(responses={"200": _CSV})
def export_discrepancies(query: dict[str, Any]) -> Response:
    """Differences by contract, state and kind, as CSV."""
    return _csv("discrepancies", exports.DISCREPANCIES, query)


@balances.route("")
@roles("admin", "finance", "operations")
@balances.arguments(DayFilter, location="query")
@balances.response(200, DailyBalanceSchema(many=True))
def browse_balances(query: dict[str, Any]) -> list[DailyBalance]:
    """What register, redeemer and operators had, day by day and programme by programme: the last 366 days asked for."""
    chosen = _chosen(sa.select(DailyBalance), DailyBalance, query, "programme")
    if query["since"]:
        chosen = chosen.where(DailyBalance.day >= query["since"])
    if query["until"]:
        chosen = chosen.where(DailyBalance.day <= query["until"])
    with transaction() as session:
        found = session.scalars(chosen.order_by(DailyBalance.day.desc(), DailyBalance.programme).limit(366)).all()
    return list(reversed(found))


@balances.route("/export.csv")
@roles("admin", "finance", "operations")
@balances.arguments(DayFilter, location="query")
@balances.doc(responses={"200": _CSV})
def export_balances(query: dict[str, Any]) -> Response:
    """The same as CSV: one line per day, programme, party and state."""
    return _csv("daily-balances", exports.DAILY_BALANCES, query)


def _chosen(query: sa.Select[Any], model: Any, given: Mapping[str, Any], *names: str) -> sa.Select[Any]:
    for name in names:
        if given[name] is not None:
            query = query.where(getattr(model, name) == given[name])
    return query


def _csv(name: str, query: str, given: Mapping[str, Any]) -> Response:
    """A CSV file of a query; the runtime is taken now, as the lines are made when the request has ended."""
    return csv_file(name, export(runtime().engine, query, given))
