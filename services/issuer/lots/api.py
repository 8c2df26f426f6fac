"""Lots over HTTP: grants that belong together, suspended, resumed and agreed upon as a whole."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.issuer.fields import programme_code, published_reason, text
from services.issuer.grants import lots
from services.issuer.grants.models import Lot
from services.issuer.lifecycle import blocking
from services.issuer.lots import statement
from services.issuer.lots.statement import SUMS, LotReport
from services.issuer.programmes import programmes
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import csv_file, pdf_file, transaction
from shared.problems import ProblemSchema

blueprint = Blueprint("lots", __name__, url_prefix="/v1/lots", description="Grants that belong together.")
BLUEPRINTS = (blueprint,)


class LotSchema(Schema):
    """A lot: a print run, a distribution, a campaign."""

    lot_id = fields.UUID(dump_only=True, attribute="id")
    code = programme_code(required=True)
    name = text(required=True)
    programme = programme_code(required=True, attribute="programme_code")
    created_at = fields.AwareDateTime(dump_only=True)
    suspended_at = fields.AwareDateTime(dump_only=True, allow_none=True)
    suspended_by = fields.Str(dump_only=True, allow_none=True)
    suspension_reason = fields.Str(dump_only=True, allow_none=True)
    closed_at = fields.AwareDateTime(
        dump_only=True, allow_none=True, metadata={"description": "When its statement was agreed."}
    )


class LotQuery(PageQuery):
    """Which lots."""

    programme = programme_code(load_default=None)


class ReasonSchema(Schema):
    """Why."""

    reason = published_reason()


_SUMS: dict[str, Any] = {name: fields.Int(required=True) for name in SUMS}
_SumsSchema = Schema.from_dict(_SUMS, name="LotSums")
_LineSchema = Schema.from_dict(
    {
        "envelope_id": fields.UUID(required=True),
        "funder": fields.Str(required=True),
        "convention_reference": fields.Str(required=True),
        **_SUMS,
    },
    name="LotLine",
)


class LotFiguresSchema(Schema):
    """Number and cents of a lot's cheques, by envelope and in all."""

    envelopes = fields.List(fields.Nested(_LineSchema), required=True)
    total = fields.Nested(_SumsSchema, required=True)


class LotStatementSchema(Schema):
    """A lot's statement: `figures` are what was agreed, and before that what is so now."""

    lot = fields.Str(required=True, attribute="lot.code")
    name = fields.Str(required=True, attribute="lot.name")
    programme = fields.Str(required=True, attribute="lot.programme_code")
    figures = fields.Nested(LotFiguresSchema, required=True, attribute="agreed.figures")
    digest = fields.Str(
        required=True, attribute="agreed.digest", metadata={"description": "SHA-256 of the figures: name it to agree."}
    )
    agreed_at = fields.AwareDateTime(required=True, allow_none=True, attribute="agreed.agreed_at")
    agreed_by = fields.Str(required=True, allow_none=True, attribute="agreed.agreed_by")
    differs = fields.Bool(required=True, metadata={"description": "Something has happened since: see `now`."})
    now = fields.Nested(LotFiguresSchema, required=True)


class AgreementSchema(Schema):
    """The figures that are agreed to."""

    digest = text(64, required=True)


@blueprint.route("", methods=["POST"])
@roles("admin")
@idempotent()
@blueprint.arguments(LotSchema)
@blueprint.response(201, LotSchema)
def create_lot(body: dict[str, Any]) -> Lot:
    """Add a lot to a programme."""
    with transaction() as session:
        programme = programmes.named(session, body["programme_code"])
        return lots.create(session, body["code"], body["name"], programme)


@blueprint.route("")
@roles("admin", "finance", "operations", "prescriber")
@blueprint.arguments(LotQuery, location="query")
@blueprint.response(200, page_of(LotSchema))
def list_lots(query: dict[str, Any]) -> dict[str, Any]:
    """The lots, of one programme or of all, in the order in which they were added."""
    with transaction() as session:
        return lots.page(session, query)


@blueprint.route("/<code>")
@roles("admin", "finance", "operations", "prescriber")
@blueprint.response(200, LotSchema)
def show_lot(code: str) -> Lot:
    """One lot."""
    with transaction() as session:
        return lots.find(session, code)


@blueprint.route("/<code>/suspension", methods=["POST"])
@roles("admin")
@blueprint.arguments(ReasonSchema)
@blueprint.response(200, LotSchema)
@blueprint.alt_response(409, schema=ProblemSchema)
def suspend_lot(body: dict[str, Any], code: str) -> Lot:
    """Have every cheque of a lot refused from now on, and grant nothing more in it. Once is enough."""
    with transaction() as session:
        return blocking.suspend(session, code, body["reason"], str(caller()))


@blueprint.route("/<code>/resumption", methods=["POST"])
@roles("admin")
@blueprint.arguments(ReasonSchema)
@blueprint.response(200, LotSchema)
@blueprint.alt_response(409, schema=ProblemSchema)
def resume_lot(body: dict[str, Any], code: str) -> Lot:
    """Take a suspension back. What was blocked for a reason of its own stays blocked."""
    with transaction() as session:
        return blocking.resume(session, code, body["reason"], str(caller()))


@blueprint.route("/<code>/statement")
@roles("admin", "finance", "operations")
@blueprint.response(200, LotStatementSchema)
def show_lot_statement(code: str) -> LotReport:
    """What a lot came to: as it was agreed, or as it stands."""
    with transaction() as session:
        return statement.show(session, code)


@blueprint.route("/<code>/statement.csv")
@roles("admin", "finance", "operations")
@blueprint.response(200, content_type="text/csv")
def lot_statement_table(code: str) -> Response:
    """The same figures, a line for each envelope."""
    with transaction() as session:
        shown = statement.show(session, code)
    return csv_file(f"lot-{shown.lot.code}", statement.table(shown))


@blueprint.route("/<code>/statement.pdf")
@roles("admin", "finance", "operations")
@blueprint.response(200, content_type="application/pdf")
def lot_statement_document(code: str) -> Response:
    """The same figures as a document in French, to sign."""
    with transaction() as session:
        shown = statement.show(session, code)
    return pdf_file(f"lot-{shown.lot.code}", statement.document(shown))


@blueprint.route("/<code>/statement", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(AgreementSchema)
@blueprint.response(201, LotStatementSchema)
def agree_to_lot_statement(body: dict[str, Any], code: str) -> LotReport:
    """Agree to a lot's figures as they were looked at: they are frozen, and the lot is closed."""
    with transaction() as session:
        return statement.agree(session, code, body["digest"], str(caller()))
