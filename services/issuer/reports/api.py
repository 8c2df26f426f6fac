"""Balances, exported lists and the reports of conventions over HTTP. No code and nobody's name is in them."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.issuer.cheques.models import STATES
from services.issuer.fields import day, programme_code
from services.issuer.prescribers.models import Prescriber
from services.issuer.reports import balances, exports
from services.issuer.reports import conventions as reports
from services.issuer.reports.conventions import MEASURES, SUMMARY, ReportRequest
from shared.access.tokens import caller, roles
from shared.files import csv_export
from shared.files.csv_export import CSV_ANSWER, FormatQuery, PeriodQuery
from shared.http.request_context import csv_file, runtime, transaction
from shared.places import exporter
from shared.problems import ProblemSchema

balance_views = Blueprint("balances", __name__, url_prefix="/v1/balances", description="What the cheques add up to.")
export_views = Blueprint("exports", __name__, url_prefix="/v1", description="Lists as CSV files.")
report_views = Blueprint(
    "reports", __name__, url_prefix="/v1/reports/conventions", description="What became of the funders' money."
)
BLUEPRINTS = (balance_views, export_views, report_views)


class SumSchema(Schema):
    number = fields.Int(required=True)
    cents = fields.Int(required=True)


StatesSchema = Schema.from_dict({state: fields.Nested(SumSchema, required=True) for state in STATES}, name="States")


class ProgrammeBalanceSchema(Schema):
    programme = fields.Str(required=True)
    states = fields.Nested(StatesSchema, required=True)


class EnvelopeBalanceSchema(ProgrammeBalanceSchema):
    envelope_id = fields.UUID(required=True)
    funder = fields.Str(required=True)
    convention_reference = fields.Str(required=True)
    amount_cents = fields.Int(required=True)
    engaged_cents = fields.Int(required=True)
    available_cents = fields.Int(required=True)


class BalancesSchema(Schema):
    programmes = fields.List(fields.Nested(ProgrammeBalanceSchema), required=True)
    envelopes = fields.List(fields.Nested(EnvelopeBalanceSchema), required=True)


class ProgrammeQuery(PeriodQuery):
    """Which grants or cheques: by programme, and by the day of the grant."""

    programme = programme_code(load_default=None)


_AS_OF = {"description": "The day as of which to report, as it was known then (Europe/Paris); today, if not said."}


class ReportQuery(Schema):
    as_of = day(load_default=None, metadata=_AS_OF)
    convention_id = fields.UUID(load_default=None, metadata={"description": "Of one convention alone."})


class MeasureSchema(SumSchema):
    """Some cheques. In a breakdown by month, more may have gone back than was granted: then it is negative."""


MeasuresSchema = Schema.from_dict(
    {measure: fields.Nested(MeasureSchema, required=True) for measure in MEASURES}, name="Measures"
)


class ReportLineSchema(Schema):
    sums = fields.Nested(MeasuresSchema, required=True)


class EnvelopeLineSchema(ReportLineSchema):
    envelope_id = fields.UUID(required=True)
    programme = fields.Str(required=True)
    amount_cents = fields.Int(required=True)
    closed = fields.Bool(required=True)


class PublicLineSchema(ReportLineSchema):
    target_public = fields.Str(required=True, allow_none=True)


class KindLineSchema(ReportLineSchema):
    """The cheques granted by one kind of prescriber, its first typology."""

    prescriber_kind = fields.Str(required=True, allow_none=True)


class MonthLineSchema(ReportLineSchema):
    month = fields.Str(required=True, metadata={"description": "`2026-11`, of the fact, not of its booking."})


class ConventionReportSchema(Schema):
    convention_id = fields.UUID(required=True)
    funder = fields.Str(required=True)
    convention_reference = fields.Str(required=True)
    amount_cents = fields.Int(required=True)
    envelopes_cents = fields.Int(required=True, metadata={"description": "What its envelopes held together."})
    pays_at_most_bp = fields.Int(required=True)
    owed_cents = fields.Int(required=True, metadata={"description": "What the funder owes for the cheques used."})
    sums = fields.Nested(MeasuresSchema, required=True)
    by_envelope = fields.List(fields.Nested(EnvelopeLineSchema), required=True)
    by_target_public = fields.List(fields.Nested(PublicLineSchema), required=True)
    by_prescriber_kind = fields.List(fields.Nested(KindLineSchema), required=True)
    by_month = fields.List(fields.Nested(MonthLineSchema), required=True)


class ConventionReportsSchema(Schema):
    as_of = fields.Date(required=True)
    provisional = fields.Bool(required=True, metadata={"description": "The day is not over: more may be booked."})
    conventions = fields.List(fields.Nested(ConventionReportSchema), required=True)


@balance_views.route("")
@roles("admin", "finance", "operations")
@balance_views.response(200, BalancesSchema)
def show_balances() -> dict[str, Any]:
    """Number and cents of all cheques by what became of them, per programme and per envelope."""
    with transaction() as session:
        return balances.balances(session)


@export_views.route("/grants/export.csv")
@roles("admin", "finance", own="prescriber")
@export_views.arguments(ProgrammeQuery, location="query")
@export_views.doc(responses={"200": CSV_ANSWER})
def export_grants(query: dict[str, Any]) -> Response:
    """Grants and how much of each is spent, oldest first; to a prescriber, its own."""
    return _file("grants", exports.GRANTS, query | {"prescriber_id": caller().scope})


@export_views.route("/cheques/export.csv")
@roles("admin", "finance")
@export_views.arguments(ProgrammeQuery, location="query")
@export_views.doc(responses={"200": CSV_ANSWER})
def export_cheques(query: dict[str, Any]) -> Response:
    """Cheques, whose money each is and how it stands, oldest first."""
    return _file("cheques", exports.CHEQUES, query)


@export_views.route("/envelopes/export.csv")
@roles("admin", "finance")
@export_views.arguments(FormatQuery, location="query")
@export_views.doc(responses={"200": CSV_ANSWER})
def export_envelopes(query: dict[str, Any]) -> Response:
    """Envelopes and what is engaged of each, oldest first."""
    return _file("envelopes", exports.ENVELOPES, query)


@export_views.route("/prescribers/lieux-mediation-numerique.csv")
@roles("admin", "finance", "operations")
@export_views.doc(responses={"200": CSV_ANSWER})
def export_prescribers() -> Response:
    """The prescribers as a file of the national schema “Lieux de médiation numérique”, v1.0.2."""
    return csv_file(exporter.FILE, exporter.export(runtime().engine, Prescriber))


def _file(name: str, sql: str, query: dict[str, Any]) -> Response:
    return csv_file(name, csv_export.export_in_parts(runtime().engine, sql, query, query.pop("separator")))


@report_views.route("")
@roles("admin", "finance")
@report_views.arguments(ReportQuery, location="query")
@report_views.response(200, ConventionReportsSchema)
@report_views.alt_response(404, schema=ProblemSchema)
def show_report(query: dict[str, Any]) -> dict[str, Any]:
    """Granted, engaged, used, expired, cancelled and paid, per convention and by what a funder asks for."""
    with transaction() as session:
        return reports.report(session, ReportRequest.on(**query))


@report_views.route("/summary.csv")
@roles("admin", "finance")
@report_views.arguments(ReportQuery, location="query")
@report_views.response(200, content_type="text/csv")
@report_views.alt_response(404, schema=ProblemSchema)
def download_report(query: dict[str, Any]) -> Response:
    """The same as a table: one line for each convention."""
    request = ReportRequest.on(**query)
    with transaction() as session:
        lines = list(reports.summary(session, request))
    return csv_file(f"conventions-{request.as_of}", csv_export.lines(SUMMARY, lines))


@report_views.route("/lines.csv")
@roles("admin", "finance")
@report_views.arguments(ReportQuery, location="query")
@report_views.response(200, content_type="text/csv")
@report_views.alt_response(404, schema=ProblemSchema)
def download_lines(query: dict[str, Any]) -> Response:
    """The same in full: one line for each envelope, public, kind of prescriber and month."""
    request = ReportRequest.on(**query)
    with transaction() as session:
        params = reports.check(session, request)
    return csv_file(f"conventions-{request.as_of}-lines", csv_export.export(runtime().engine, reports.LINES, params))
