"""Lots over HTTP: grants that belong together, suspended, resumed and agreed upon as a whole."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.issuer.fields import programme_code, published_reason, text
from services.issuer.grants import lots
from services.issuer.grants.models import Lot
from services.issuer.lifecycle import suspending
from services.issuer.lots import documents, statement
from services.issuer.lots.statement import COLUMNS, Shown
from services.issuer.programmes import programmes
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page, page_of
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
    programme = programme_code(required=True)
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


def _sums() -> dict[str, Any]:
    units = ("number", "cents")
    return {f"{column}_{unit}": fields.Int(required=True) for column in COLUMNS for unit in units}


_SumsSchema = Schema.from_dict(_sums(), name="LotSums")
_LineSchema = Schema.from_dict(
    {
        "envelope_id": fields.UUID(required=True),
        "funder": fields.Str(required=True),
        "convention_reference": fields.Str(required=True),
        **_sums(),
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
    programme = fields.Str(required=True)
    figures = fields.Nested(LotFiguresSchema, required=True)
    digest = fields.Str(required=True, metadata={"description": "SHA-256 of the figures: name it to agree."})
    agreed_at = fields.AwareDateTime(required=True, allow_none=True)
    agreed_by = fields.Str(required=True, allow_none=True)
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
def create_lot(body: dict[str, Any]) -> dict[str, Any]:
    """Add a lot to a programme."""
    with transaction() as session:
        programme = programmes.named(session, body["programme"])
        return _shown(lots.create(session, body["code"], body["name"], programme), programme.code)


@blueprint.route("")
@roles("admin", "finance", "operations", "prescriber")
@blueprint.arguments(LotQuery, location="query")
@blueprint.response(200, page_of(LotSchema))
def list_lots(query: dict[str, Any]) -> dict[str, Any]:
    """The lots, of one programme or of all, in the order in which they were added."""
    with transaction() as session:
        found = page(session, lots.every(query["programme"]), Lot.id, query["after"], query["limit"])
        codes = programmes.codes(session)
        return found | {"items": [_shown(lot, codes[lot.programme_id]) for lot in found["items"]]}


@blueprint.route("/<code>")
@roles("admin", "finance", "operations", "prescriber")
@blueprint.response(200, LotSchema)
def show_lot(code: str) -> dict[str, Any]:
    """One lot."""
    with transaction() as session:
        lot = lots.find(session, code)
        return _shown(lot, programmes.codes(session)[lot.programme_id])


@blueprint.route("/<code>/suspension", methods=["POST"])
@roles("admin")
@blueprint.arguments(ReasonSchema)
@blueprint.response(200, LotSchema)
@blueprint.alt_response(409, schema=ProblemSchema)
def suspend_lot(body: dict[str, Any], code: str) -> dict[str, Any]:
    """Have every cheque of a lot refused from now on, and grant nothing more in it. Once is enough."""
    with transaction() as session:
        lot = suspending.suspend(session, code, body["reason"], str(caller()))
        return _shown(lot, programmes.codes(session)[lot.programme_id])


@blueprint.route("/<code>/resumption", methods=["POST"])
@roles("admin")
@blueprint.arguments(ReasonSchema)
@blueprint.response(200, LotSchema)
@blueprint.alt_response(409, schema=ProblemSchema)
def resume_lot(body: dict[str, Any], code: str) -> dict[str, Any]:
    """Take a suspension back. What was blocked for a reason of its own stays blocked."""
    with transaction() as session:
        lot = suspending.resume(session, code, body["reason"], str(caller()))
        return _shown(lot, programmes.codes(session)[lot.programme_id])


@blueprint.route("/<code>/statement")
@roles("admin", "finance", "operations")
@blueprint.response(200, LotStatementSchema)
def show_lot_statement(code: str) -> Shown:
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
    return csv_file(f"lot-{shown.lot.code}", documents.table(shown))


@blueprint.route("/<code>/statement.pdf")
@roles("admin", "finance", "operations")
@blueprint.response(200, content_type="application/pdf")
def lot_statement_document(code: str) -> Response:
    """The same figures as a document in French, to sign."""
    with transaction() as session:
        shown = statement.show(session, code)
    return pdf_file(f"lot-{shown.lot.code}", documents.document(shown))


@blueprint.route("/<code>/statement", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(AgreementSchema)
@blueprint.response(201, LotStatementSchema)
def agree_to_lot_statement(body: dict[str, Any], code: str) -> Shown:
    """Agree to a lot's figures as they were looked at: they are frozen, and the lot is closed."""
    with transaction() as session:
        return statement.agree(session, code, body["digest"], str(caller()))


def _shown(lot: Lot, programme: str) -> dict[str, Any]:
    columns = {field.attribute or name: name for name, field in LotSchema().fields.items() if name != "programme"}
    return {column: getattr(lot, column) for column in columns} | {"programme": programme}
