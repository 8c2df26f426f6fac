"""Balances over HTTP, and lists as files: streamed part by part, so of any length."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.redeemer.fields import text
from services.redeemer.reports import balances, exports
from services.redeemer.structures.models import Structure
from services.redeemer.transitions import CHEQUE, REDEMPTION
from shared.access.tokens import caller, roles
from shared.files import csv_export
from shared.files.csv_export import CSV_ANSWER, PeriodQuery
from shared.http.request_context import csv_file, runtime, transaction
from shared.places import exporter

blueprint = Blueprint("balances", __name__, url_prefix="/v1/balances", description="What the cheques add up to.")
lists = Blueprint("exports", __name__, url_prefix="/v1", description="Lists as CSV files.")
BLUEPRINTS = (blueprint, lists)


class SumSchema(Schema):
    """Some cheques or redemptions."""

    number = fields.Int(required=True)
    cents = fields.Int(required=True)


def _by_state(name: str, *states: str) -> type[Schema]:
    return Schema.from_dict({state: fields.Nested(SumSchema, required=True) for state in states}, name=name)


class ProgrammeBalanceSchema(Schema):
    """The cheques of a programme by state, and its redemptions by how far they are settled."""

    programme = fields.Str(required=True)
    issued = fields.Nested(SumSchema, required=True)
    states = fields.Nested(_by_state("ChequeStates", *CHEQUE), required=True)
    redemptions = fields.Nested(_by_state("RedemptionStates", *REDEMPTION, balances.REVERSED), required=True)


class BalancesSchema(Schema):
    """Everything, summed."""

    programmes = fields.List(fields.Nested(ProgrammeBalanceSchema), required=True)


@blueprint.route("")
@roles("admin", "finance", "operations", "service")
@blueprint.response(200, BalancesSchema)
def show_balances() -> dict[str, Any]:
    """Number and cents of all cheques by state, and of all redemptions, per programme."""
    with transaction() as session:
        return {"programmes": balances.balances(session)}


class RedemptionQuery(PeriodQuery):
    """Which redemptions: by programme, structure, and the day on which they were presented (Europe/Paris)."""

    programme = text(load_default=None)
    structure_id = fields.UUID(load_default=None, metadata={"description": "A structure sees its own only."})


@lists.route("/redemptions/export.csv")
@roles("admin", "finance", own="structure")
@lists.arguments(RedemptionQuery, location="query")
@lists.doc(responses={"200": CSV_ANSWER})
def export_redemptions(query: dict[str, Any]) -> Response:
    """Redemptions and how far each is settled, oldest first; to a structure, its own."""
    query["structure_id"] = caller().scope or query["structure_id"]
    return _file("redemptions", exports.REDEMPTIONS, query)


@lists.route("/structures/export.csv")
@roles("admin", "finance", "operations")
@lists.arguments(csv_export.FormatQuery, location="query")
@lists.doc(responses={"200": CSV_ANSWER})
def export_structures(query: dict[str, Any]) -> Response:
    """Training structures and whether they are suspended, oldest first."""
    return _file("structures", exports.STRUCTURES, query)


@lists.route("/structures/lieux-mediation-numerique.csv")
@roles("admin", "finance", "operations")
@lists.doc(responses={"200": CSV_ANSWER})
def export_places() -> Response:
    """Training structures as a file of the national schema “Lieux de médiation numérique”, v1.0.2."""
    return csv_file(exporter.FILE, exporter.export(runtime().engine, Structure))


@lists.route("/affiliations/export.csv")
@roles("admin", "finance", "operations")
@lists.arguments(csv_export.FormatQuery, location="query")
@lists.doc(responses={"200": CSV_ANSWER})
def export_affiliations(query: dict[str, Any]) -> Response:
    """Which structure redeems under which contract, and when, oldest first."""
    return _file("affiliations", exports.AFFILIATIONS, query)


def _file(name: str, sql: str, query: dict[str, Any]) -> Response:
    return csv_file(name, csv_export.export_in_parts(runtime().engine, sql, query, query.pop("separator")))
