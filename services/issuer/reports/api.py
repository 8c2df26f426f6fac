"""The reports of conventions over HTTP."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import EXCLUDE, Schema, fields

from services.issuer.fields import day
from services.issuer.funding import conventions
from services.issuer.reports import conventions as reports
from services.issuer.reports.conventions import MEASURES, SUMMARY, ReportRequest
from shared.access.tokens import roles
from shared.files import csv_export
from shared.http.request_context import csv_file, runtime, transaction
from shared.problems import ProblemSchema

blueprint = Blueprint(
    "reports", __name__, url_prefix="/v1/reports/conventions", description="What became of the funders' money."
)
BLUEPRINTS = (blueprint,)


_AS_OF = {"description": "The day as of which to report, as it was known then (Europe/Paris); today, if not said."}


class ReportQuery(Schema):
    """Of what, and as of which day."""

    class Meta:
        unknown = EXCLUDE

    as_of = day(load_default=None, metadata=_AS_OF)
    convention_id = fields.UUID(load_default=None, metadata={"description": "Of one convention alone."})


class MeasureSchema(Schema):
    """Some cheques. In a breakdown by month, more may have gone back than was granted: then it is negative."""

    number = fields.Int(required=True)
    cents = fields.Int(required=True)


MeasuresSchema = Schema.from_dict(
    {measure: fields.Nested(MeasureSchema, required=True) for measure in MEASURES}, name="Measures"
)


class ReportLineSchema(Schema):
    """A part of a convention's cheques."""

    sums = fields.Nested(MeasuresSchema, required=True)


class EnvelopeLineSchema(ReportLineSchema):
    """The cheques charged to one envelope."""

    envelope_id = fields.UUID(required=True)
    programme = fields.Str(required=True)
    amount_cents = fields.Int(required=True)
    closed = fields.Bool(required=True)


class PublicLineSchema(ReportLineSchema):
    """The cheques granted to one public."""

    target_public = fields.Str(required=True, allow_none=True)


class KindLineSchema(ReportLineSchema):
    """The cheques granted by one kind of prescriber, its first typology."""

    prescriber_kind = fields.Str(required=True, allow_none=True)


class MonthLineSchema(ReportLineSchema):
    """What happened in one month."""

    month = fields.Str(required=True, metadata={"description": "`2026-11`, of the fact, not of its booking."})


class ConventionReportSchema(Schema):
    """What a convention came to."""

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
    """What the conventions came to as of a day."""

    as_of = fields.Date(required=True)
    provisional = fields.Bool(required=True, metadata={"description": "The day is not over: more may be booked."})
    conventions = fields.List(fields.Nested(ConventionReportSchema), required=True)


def _request(query: dict[str, Any]) -> ReportRequest:
    return ReportRequest.on(query["as_of"], query["convention_id"])


@blueprint.route("")
@roles("admin", "finance")
@blueprint.arguments(ReportQuery, location="query")
@blueprint.response(200, ConventionReportsSchema)
@blueprint.alt_response(404, schema=ProblemSchema)
def show_report(query: dict[str, Any]) -> dict[str, Any]:
    """Granted, engaged, used, expired, cancelled and paid, per convention and by what a funder asks for."""
    with transaction() as session:
        return reports.report(session, _request(query))


@blueprint.route("/summary.csv")
@roles("admin", "finance")
@blueprint.arguments(ReportQuery, location="query")
@blueprint.response(200, content_type="text/csv")
@blueprint.alt_response(404, schema=ProblemSchema)
def download_report(query: dict[str, Any]) -> Response:
    """The same as a table: one line for each convention."""
    request = _request(query)
    with transaction() as session:
        lines = list(reports.summary(session, request))
    return csv_file(f"conventions-{request.as_of}", csv_export.lines(SUMMARY, lines))


@blueprint.route("/lines.csv")
@roles("admin", "finance")
@blueprint.arguments(ReportQuery, location="query")
@blueprint.response(200, content_type="text/csv")
@blueprint.alt_response(404, schema=ProblemSchema)
def download_lines(query: dict[str, Any]) -> Response:
    """The same in full: one line for each envelope, public, kind of prescriber and month."""
    request = _request(query)
    with transaction() as session:
        if request.convention_id:
            conventions.find(session, request.convention_id)
    params = {"as_of": request.as_of, "convention_id": request.convention_id}
    return csv_file(f"conventions-{request.as_of}-lines", csv_export.export(runtime().engine, reports.LINES, params))
