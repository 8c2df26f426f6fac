"""Balances over HTTP: of this moment, and of each day."""

from collections.abc import Sequence
from typing import Any

from flask import Response
from flask_smorest import Blueprint

from services.operator_bridge.reconciliation import balances, lists, schemas
from services.operator_bridge.register.models_reconciliation import DailyBalance
from shared.access.tokens import roles
from shared.files.csv_export import CSV_ANSWER, export
from shared.http.request_context import csv_file, runtime, transaction

blueprint = Blueprint("balances", __name__, url_prefix="/v1/balances", description="What stands where.")
daily = Blueprint(
    "daily-balances",
    __name__,
    url_prefix="/v1/daily-balances",
    description="Register, redeemer and operators, each day.",
)


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.response(200, schemas.BalancesSchema)
def show() -> dict[str, Any]:
    """Per contract, its links, redemptions and orders by state, in number and in cents."""
    with transaction() as session:
        return balances.balances(session)


@daily.route("")
@roles("admin", "finance", "operations")
@daily.arguments(schemas.DayFilter, location="query")
@daily.response(200, schemas.DailyBalanceSchema(many=True))
def browse_balances(query: dict[str, Any]) -> Sequence[DailyBalance]:
    """What register, redeemer and operators had, day by day and programme by programme: the last 366 of them."""
    with transaction() as session:
        return lists.daily_balances(session, **query)


@daily.route("/export.csv")
@roles("admin", "finance", "operations")
@daily.arguments(schemas.DayFilter, location="query")
@daily.doc(responses={"200": CSV_ANSWER})
def export_balances(query: dict[str, Any]) -> Response:
    """The same as CSV: one line per day, programme, party and state."""
    return csv_file("daily-balances", export(runtime().engine, lists.DAILY_BALANCES_CSV, query))
