"""The issuer's lists as files: streamed part by part, so of any length. No code and nobody's name is in them."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from services.issuer.fields import programme_code
from services.issuer.prescribers.models import Prescriber
from services.issuer.reports import exports
from shared.access.tokens import caller, roles
from shared.files import csv_export
from shared.files.csv_export import CSV_ANSWER, PeriodQuery
from shared.http.request_context import csv_file, runtime
from shared.places import exporter

blueprint = Blueprint("exports", __name__, url_prefix="/v1", description="Lists as CSV files.")
BLUEPRINTS = (blueprint,)


class ProgrammeQuery(PeriodQuery):
    """Which grants or cheques: by programme, and by the day of the grant."""

    programme = programme_code(load_default=None)


@blueprint.route("/grants/export.csv")
@roles("admin", "finance", own="prescriber")
@blueprint.arguments(ProgrammeQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_grants(query: dict[str, Any]) -> Response:
    """Grants and how much of each is spent, oldest first; to a prescriber, its own."""
    return _file("grants", exports.GRANTS, query | {"prescriber_id": caller().scope})


@blueprint.route("/cheques/export.csv")
@roles("admin", "finance")
@blueprint.arguments(ProgrammeQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_cheques(query: dict[str, Any]) -> Response:
    """Cheques, whose money each is and how it stands, oldest first."""
    return _file("cheques", exports.CHEQUES, query)


@blueprint.route("/envelopes/export.csv")
@roles("admin", "finance")
@blueprint.arguments(csv_export.FormatQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_envelopes(query: dict[str, Any]) -> Response:
    """Envelopes and what is engaged of each, oldest first."""
    return _file("envelopes", exports.ENVELOPES, query)


@blueprint.route("/prescribers/lieux-mediation-numerique.csv")
@roles("admin", "finance", "operations")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_prescribers() -> Response:
    """The prescribers as a file of the national schema “Lieux de médiation numérique”, v1.0.2."""
    return csv_file(exporter.FILE, exporter.export(runtime().engine, Prescriber))


def _file(name: str, sql: str, query: dict[str, Any]) -> Response:
    return csv_file(name, csv_export.export_in_parts(runtime().engine, sql, query, query.pop("separator")))
