"""Booklets over HTTP: a grant's cheques to hand over, on paper or as a page for a telephone.

No address and no file name holds a code. Who printed is logged, what was printed is not.
"""

from itertools import chain
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer.booklets import booklet, printing
from services.issuer.booklets.booklet import Booklet
from services.issuer.cheques.codes import Codes
from services.issuer.fields import day, programme_code, text
from services.issuer.grants import queries
from shared.access.tokens import caller, roles
from shared.audit import trail
from shared.database.paging import PageQuery, page_of
from shared.http.request_context import pdf_file, runtime, transaction
from shared.observability.logs import logger
from shared.problems import ProblemSchema
from shared.values import clock
from shared.values.bounded_fields import BoundedList

grant_views = Blueprint(
    "booklet", __name__, url_prefix="/v1/grants", description="What is handed over with a grant's cheques."
)
booklet_views = Blueprint("booklets", __name__, url_prefix="/v1/booklets", description="Booklets of many grants.")
BLUEPRINTS = (grant_views, booklet_views)


def _per_page(strict: bool) -> fields.Int:
    described = {"description": "How many cheques to print on a page."}
    return fields.Int(
        strict=strict, load_default=5, validate=validate.Range(1, printing.MAX_PER_PAGE), metadata=described
    )


class PaperQuery(Schema):
    per_page = _per_page(strict=False)


class PrintingSchema(Schema):
    """Which grants to print in one file: these, in their order, or all that the filters leave, by prescriber."""

    grant_ids = BoundedList(fields.UUID(), load_default=None, least=1, most=printing.MAX_GRANTS)
    programme = programme_code(load_default=None)
    lot = text(load_default=None)
    granted_from = day(load_default=None)
    granted_until = day(load_default=None)
    per_page = _per_page(strict=True)

    @validates_schema
    def _check_choice(self, data: dict[str, Any], **_: Any) -> None:
        filters = [data[name] for name in ("programme", "lot", "granted_from", "granted_until")]
        if (data["grant_ids"] is None) == all(value is None for value in filters):
            raise ValidationError("Either grant_ids, or at least one of programme, lot, granted_from, granted_until.")


class NumberQuery(PageQuery):
    number = fields.Str(
        required=True,
        validate=validate.Regexp(r"[0-9A-Fa-f]{4}[- ]?[0-9A-Fa-f]{4}\Z"),
        metadata={"description": "The number on the booklet, `7F3A-19C2`, as somebody says it who lost a cheque."},
    )


class NumberedSchema(Schema):
    grant_id = fields.UUID(required=True, attribute="id")
    prescriber_id = fields.UUID(required=True)
    programme = fields.Str(required=True, attribute="programme_code")
    granted_on = fields.Date(required=True)
    valid_until = fields.Date(required=True)
    amount_cents = fields.Int(required=True)


def _booklet(grant_id: UUID, how: str) -> Booklet:
    with transaction() as session:
        queries.grant(session, grant_id, caller().scope)
        made = booklet.booklet(session, Codes(runtime().settings.keys), grant_id, clock.today())
        trail.record(session, "grant", [grant_id], after={"shown": "booklet", "how": how})
    logger().info("booklet_made", grant_id=str(grant_id), how=how, caller=str(caller()))
    return made


@grant_views.route("/<uuid:grant_id>/booklet.pdf")
@roles("admin", own="prescriber")
@grant_views.arguments(PaperQuery, location="query")
@grant_views.response(200, content_type="application/pdf")
@grant_views.alt_response(409, schema=ProblemSchema, description="None of the cheques can be used any more.")
def print_booklet(query: dict[str, Any], grant_id: UUID) -> Response:
    """A grant's booklet to print on A4 (French, PDF/UA-1), with the cheques that can still be used."""
    made = _booklet(grant_id, "paper")
    return pdf_file("carnet", printing.pdf([made], query["per_page"], clock.now()))


@grant_views.route("/<uuid:grant_id>/booklet.html")
@roles("admin", own="prescriber")
@grant_views.response(200, content_type="text/html")
@grant_views.alt_response(409, schema=ProblemSchema, description="None of the cheques can be used any more.")
def show_booklet(grant_id: UUID) -> Response:
    """A grant's booklet as one page for a telephone (French), to save and hand over as a file."""
    headers = {
        "Content-Disposition": 'attachment; filename="carnet.html"',
        "Content-Security-Policy": f"{printing.POLICY}; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return Response(printing.html(_booklet(grant_id, "phone")), mimetype="text/html", headers=headers)


@booklet_views.route("", methods=["POST"])
@roles("admin", own="prescriber")
@booklet_views.arguments(PrintingSchema)
@booklet_views.response(200, content_type="application/pdf")
@booklet_views.alt_response(
    404, schema=ProblemSchema, description="A grant that is named is not within the caller's scope."
)
@booklet_views.alt_response(409, schema=ProblemSchema, description="Nothing is left to print.")
def print_booklets(body: dict[str, Any]) -> Response:
    """The booklets of many grants as one PDF for a printer, sent while it is made; to a prescriber, its own.

    Grants without a cheque left to use are left out. An answer that breaks off is no whole file: ask again.
    """
    per_page = body.pop("per_page")
    with transaction() as session:
        grant_ids = printing.chosen(session, caller().scope, body)
        trail.record(session, "grant", grant_ids, after={"shown": "booklet", "how": "printer"})
    logger().info("booklets_made", grants=len(grant_ids), caller=str(caller()))
    pieces = printing.stream(runtime().transaction, Codes(runtime().settings.keys), grant_ids, per_page)
    head, first = next(pieces), next(pieces)  # what fails in the first batch is answered as a problem
    return pdf_file("carnets", chain((head, first), pieces))


@booklet_views.route("")
@roles("admin", own="prescriber")
@booklet_views.arguments(NumberQuery, location="query")
@booklet_views.response(200, page_of(NumberedSchema))
def find_booklets(query: dict[str, Any]) -> dict[str, Any]:
    """The grants whose booklet has this number, nearly always one; to a prescriber, its own."""
    with transaction() as session:
        return booklet.find_page(session, query, caller().scope)
