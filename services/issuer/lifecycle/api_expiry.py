"""What will expire soon, over HTTP."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from services.issuer.fields import programme_code
from services.issuer.lifecycle import expiry
from shared.access.tokens import caller, roles
from shared.files.csv_export import export
from shared.http.request_context import csv_file, runtime, transaction

expiring_views = Blueprint(
    "expiring", __name__, url_prefix="/v1/expiring", description="What will expire soon if it is not spent."
)
BLUEPRINTS = (expiring_views,)


class ExpiringQuery(Schema):
    days = fields.Int(load_default=30, validate=validate.Range(0, 366))
    programme = programme_code(load_default=None)


class ExpiringLineSchema(Schema):
    """Cheques of one programme and envelope that are not spent, with their last day."""

    programme = fields.Str(required=True)
    valid_until = fields.Date(required=True, metadata={"description": "The last day of a workshop that they pay for."})
    presentable_until = fields.Date(required=True)
    envelope_id = fields.UUID(required=True)
    funder = fields.Str(required=True)
    convention_reference = fields.Str(required=True)
    grants = fields.Int(required=True)
    number = fields.Int(required=True)
    cents = fields.Int(required=True)
    blocked_number = fields.Int(
        required=True, metadata={"description": "Of them blocked: they do not expire by themselves, cancel them."}
    )


class ExpiringSchema(Schema):
    from_ = fields.Date(required=True, attribute="from", data_key="from")
    until = fields.Date(required=True)
    number = fields.Int(required=True)
    cents = fields.Int(required=True)
    lines = fields.List(fields.Nested(ExpiringLineSchema), required=True)


class WarnedSchema(Schema):
    posted = fields.Int(required=True)


@expiring_views.route("")
@roles("admin", "finance", "operations", own="prescriber")
@expiring_views.arguments(ExpiringQuery, location="query")
@expiring_views.response(200, ExpiringSchema)
def show_expiring(query: dict[str, Any]) -> dict[str, Any]:
    """What will expire soon, by last day, programme and envelope; to a prescriber, of its own grants."""
    with transaction() as session:
        return expiry.report(session, expiry.params(query, caller().scope))


@expiring_views.route("/grants.csv")
@roles("admin", "finance", "operations", own="prescriber")
@expiring_views.arguments(ExpiringQuery, location="query")
@expiring_views.response(200, content_type="text/csv")
def expiring_table(query: dict[str, Any]) -> Response:
    """The grants with something unspent that ends soon, streamed; to a prescriber, its own."""
    params = expiry.params(query, caller().scope)
    return csv_file("expiring-grants", export(runtime().engine, expiry.GRANTS, params))


@expiring_views.route("/warnings", methods=["POST"])
@roles("admin", "operations")
@expiring_views.response(200, WarnedSchema)
def warn() -> dict[str, int]:
    """Post now the warnings that are due: 30, 15 and 7 days before the last day of a grant, once each."""
    posted, _ = expiry.warn(runtime())
    return {"posted": posted}
