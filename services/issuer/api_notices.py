"""Notices over HTTP, and what will expire soon."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import EXCLUDE, Schema, fields, validate

from services.issuer import expiring_soon, notices
from services.issuer.fields import programme_code, text
from services.issuer.models_life import Notice
from shared.auth import caller, roles
from shared.exporting import export
from shared.paging import PageQuery, page, page_of
from shared.web import csv_file, runtime, transaction

notice_views = Blueprint(
    "notices", __name__, url_prefix="/v1/notices", description="What somebody should be told, each once."
)
expiring_views = Blueprint(
    "expiring", __name__, url_prefix="/v1/expiring", description="What will expire soon if it is not spent."
)
BLUEPRINTS = (notice_views, expiring_views)


class NoticeSchema(Schema):
    """A notice."""

    notice_id = fields.UUID(required=True, attribute="id")
    kind = fields.Str(required=True)
    key = fields.Str(required=True, metadata={"description": "Of one kind and key there is one notice, ever."})
    subject_id = fields.UUID(
        required=True, allow_none=True, metadata={"description": "The grant, envelope or lot that it is about."}
    )
    prescriber_id = fields.UUID(required=True, allow_none=True, metadata={"description": "Whom it concerns."})
    body = fields.Dict(keys=fields.Str(), required=True)
    posted_at = fields.AwareDateTime(required=True)


class NoticeQuery(PageQuery):
    """Which notices."""

    kind = text(60, load_default=None)
    subject_id = fields.UUID(load_default=None)


class ExpiringQuery(Schema):
    """How far to look ahead, and where."""

    class Meta:
        unknown = EXCLUDE

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
    """What will expire within some days if it is not spent."""

    from_ = fields.Date(required=True, attribute="from", data_key="from")
    until = fields.Date(required=True)
    number = fields.Int(required=True)
    cents = fields.Int(required=True)
    lines = fields.List(fields.Nested(ExpiringLineSchema), required=True)


class WarnedSchema(Schema):
    """How many grants were warned of."""

    posted = fields.Int(required=True)


@notice_views.route("")
@roles("prescriber", "admin", "finance", "operations")
@notice_views.arguments(NoticeQuery, location="query")
@notice_views.response(200, page_of(NoticeSchema))
def list_notices(query: dict[str, Any]) -> dict[str, Any]:
    """The notices, oldest first; to a prescriber, those that concern it."""
    with transaction() as session:
        found = notices.listed(caller().scope, query["kind"], query["subject_id"])
        return page(session, found, Notice.id, query["after"], query["limit"])


@expiring_views.route("")
@roles("prescriber", "admin", "finance", "operations")
@expiring_views.arguments(ExpiringQuery, location="query")
@expiring_views.response(200, ExpiringSchema)
def show_expiring(query: dict[str, Any]) -> dict[str, Any]:
    """What will expire soon, by last day, programme and envelope; to a prescriber, of its own grants."""
    with transaction() as session:
        given = expiring_soon.asked(query["days"], query["programme"], caller().scope)
        return expiring_soon.report(session, given)


@expiring_views.route("/grants.csv")
@roles("prescriber", "admin", "finance", "operations")
@expiring_views.arguments(ExpiringQuery, location="query")
@expiring_views.response(200, content_type="text/csv")
def expiring_table(query: dict[str, Any]) -> Response:
    """The grants with something unspent that ends soon, streamed; to a prescriber, its own."""
    given = expiring_soon.asked(query["days"], query["programme"], caller().scope)
    return csv_file("expiring-grants", export(runtime(), expiring_soon.GRANTS, given))


@expiring_views.route("/warnings", methods=["POST"])
@roles("admin", "operations")
@expiring_views.response(200, WarnedSchema)
def warn() -> dict[str, int]:
    """Post now the warnings that are due: 30, 15 and 7 days before the last day of a grant, once each."""
    return {"posted": expiring_soon.warn(runtime())}
