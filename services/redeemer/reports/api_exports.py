"""The redeemer's lists as files: streamed part by part, so of any length."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields

from services.redeemer.fields import text
from services.redeemer.reports import exports
from services.redeemer.structures.models import Structure
from shared.access.tokens import Role, caller, roles
from shared.files import csv_export
from shared.files.csv_export import CSV_ANSWER, PeriodQuery
from shared.http.request_context import csv_file, runtime
from shared.places import exporter

blueprint = Blueprint("exports", __name__, url_prefix="/v1", description="Lists as CSV files.")


class RedemptionQuery(PeriodQuery):
    """Which redemptions: by programme, structure, and the day on which they were presented (Europe/Paris)."""

    programme = text(load_default=None)
    structure_id = fields.UUID(load_default=None, metadata={"description": "A structure sees its own only."})


@blueprint.route("/redemptions/export.csv")
@roles("admin", "finance", own="structure")
@blueprint.arguments(RedemptionQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_redemptions(query: dict[str, Any]) -> Response:
    """Redemptions and how far each is settled, oldest first; to a structure, its own."""
    own = {"structure_id": caller().own} if caller().role is Role.STRUCTURE else {}
    return _file("redemptions", exports.REDEMPTIONS, query | own)


@blueprint.route("/structures/export.csv")
@roles("admin", "finance", "operations")
@blueprint.arguments(csv_export.FormatQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_structures(query: dict[str, Any]) -> Response:
    """Training structures and whether they are suspended, oldest first."""
    return _file("structures", exports.STRUCTURES, query)


@blueprint.route("/structures/lieux-mediation-numerique.csv")
@roles("admin", "finance", "operations")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_places() -> Response:
    """Training structures as a file of the national schema “Lieux de médiation numérique”, v1.0.2."""
    return csv_file(exporter.FILE, exporter.export(runtime().engine, Structure))


@blueprint.route("/affiliations/export.csv")
@roles("admin", "finance", "operations")
@blueprint.arguments(csv_export.FormatQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_affiliations(query: dict[str, Any]) -> Response:
    """Which structure redeems under which contract, and when, oldest first."""
    return _file("affiliations", exports.AFFILIATIONS, query)


def _file(name: str, sql: str, query: dict[str, Any]) -> Response:
    return csv_file(name, csv_export.export_in_parts(runtime().engine, sql, query, query.pop("separator")))
