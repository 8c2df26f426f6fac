"""Statements over HTTP: issued, read, as files, and corrected on the next one."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from services.redeemer.fields import _month, text
from services.redeemer.statements import corrections as correcting
from services.redeemer.statements import documents, issuing, statement_sql
from services.redeemer.statements.issuing import Account
from services.redeemer.statements.models import Correction, Statement
from shared.access.tokens import Role, caller, roles
from shared.database.paging import PageQuery, page, page_of
from shared.files.csv_export import CSV_ANSWER, FormatQuery, export_in_parts
from shared.http.idempotency import idempotent
from shared.http.request_context import csv_file, pdf_file, runtime, transaction, wait_for_others
from shared.problems import ProblemSchema
from shared.values.french_format import in_figures, in_words

blueprint = Blueprint(
    "statements", __name__, url_prefix="/v1/statements", description="What structures are owed, month by month."
)
corrections = Blueprint(
    "corrections", __name__, url_prefix="/v1/corrections", description="What of a statement is put right on the next."
)
BLUEPRINTS = (blueprint, corrections)

_PDF = {
    "200": {"description": "PDF.", "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}
}


class IssueRequest(Schema):
    """A month that is over."""

    month = _month(required=True)
    structure_id = fields.UUID(
        load_default=None, metadata={"description": "Of this structure only; the month stays open for the others."}
    )


class AmountSchema(Schema):
    """An amount in cents of EUR, in French figures and in French words."""

    cents = fields.Int(required=True)
    figures = fields.Function(lambda amount: in_figures(amount["cents"]), required=True)
    words = fields.Function(lambda amount: in_words(amount["cents"]), required=True)


class StatementSchema(Schema):
    """A statement as it was frozen when it was issued."""

    statement_id = fields.UUID(required=True, attribute="id")
    number = fields.Str(required=True, attribute="name", metadata={"example": "2026-00042"})
    structure_id = fields.UUID(required=True)
    month = _month(required=True)
    issued_at = fields.AwareDateTime(required=True)
    issued_by = fields.Str(required=True)
    due_on = fields.Date(required=True)
    authority = fields.Str(required=True)
    structure_name = fields.Str(required=True)
    siret = fields.Str(required=True, allow_none=True)
    address = fields.Str(required=True)
    postcode = fields.Str(required=True)
    commune = fields.Str(required=True)
    redemptions = fields.Int(required=True)
    corrections = fields.Int(required=True)
    due_cents = fields.Int(required=True)
    confirmed_cents = fields.Int(required=True)
    paid_cents = fields.Int(required=True)


class IssuedSchema(Schema):
    """The statements that were made."""

    statements = fields.List(fields.Nested(StatementSchema), required=True)


class LineSchema(Schema):
    """A redemption, or what corrects one of an earlier statement."""

    position = fields.Int(required=True)
    kind = fields.Str(required=True, validate=validate.OneOf(("redemption", "correction")))
    redemption_id = fields.UUID(required=True)
    cheque_id = fields.UUID(required=True)
    programme = fields.Str(required=True)
    presented_on = fields.Date(required=True)
    given_on = fields.Date(required=True)
    due_cents = fields.Int(required=True)
    confirmed_cents = fields.Int(required=True)
    paid_cents = fields.Int(required=True)
    corrects = fields.Str(required=True, allow_none=True, metadata={"description": "The earlier statement's number."})
    reason = fields.Str(required=True, allow_none=True)


class StatementRefusalSchema(Schema):
    """A redemption that its operator refused before it was ever stated: nothing is owed for it."""

    redemption_id = fields.UUID(required=True)
    programme = fields.Str(required=True)
    presented_on = fields.Date(required=True)
    given_on = fields.Date(required=True)
    amount_cents = fields.Int(required=True, metadata={"description": "What it would have been worth."})
    reason = fields.Str(required=True)


class TotalsSchema(Schema):
    """The three columns."""

    due = fields.Nested(AmountSchema, required=True)
    confirmed = fields.Nested(AmountSchema, required=True)
    paid = fields.Nested(AmountSchema, required=True)


class NowSchema(Schema):
    """What the statement comes to now."""

    due_cents = fields.Int(required=True)
    confirmed_cents = fields.Int(required=True)
    paid_cents = fields.Int(required=True)
    open_cents = fields.Int(required=True, metadata={"description": "Negative where too much was paid."})


class WholeStatementSchema(Schema):
    """A statement with its lines, frozen, and with what was confirmed and paid since."""

    statement = fields.Nested(StatementSchema, required=True)
    totals = fields.Nested(TotalsSchema, required=True)
    lines = fields.List(fields.Nested(LineSchema), required=True)
    refusals = fields.List(
        fields.Nested(StatementRefusalSchema),
        required=True,
        metadata={"description": "For information: not in the totals."},
    )
    now = fields.Nested(NowSchema, required=True)


class StatementQuery(PageQuery):
    month = _month(load_default=None)
    structure_id = fields.UUID(load_default=None)


class RegisterQuery(FormatQuery):
    """Which statements."""

    month = _month(load_default=None)
    structure_id = fields.UUID(load_default=None)


class CorrectionRequest(Schema):
    """What is owed for a redemption in truth."""

    redemption_id = fields.UUID(required=True)
    owed_cents = fields.Int(required=True, strict=True, validate=validate.Range(0, 2**31 - 1))
    reason = text(required=True, metadata={"description": "As the structure and the accountant will read it."})


class CorrectionSchema(CorrectionRequest):
    """A correction as it was made."""

    correction_id = fields.UUID(required=True, attribute="id")
    made_by = fields.Str(required=True)
    made_at = fields.AwareDateTime(required=True)


@blueprint.route("", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(IssueRequest)
@blueprint.response(200, IssuedSchema)
def issue_statements(body: dict[str, Any]) -> dict[str, Any]:
    """Issue the statements of a month that is over: those that there are already stay as they are.

    It is done from the third of each month anyway. Then the month is closed: what comes late for it is on the next.
    """
    wait_for_others()
    return {"statements": issuing.issue(runtime(), body["month"], str(caller()), body["structure_id"])}


@blueprint.route("")
@roles("admin", "finance", own="structure")
@blueprint.arguments(StatementQuery, location="query")
@blueprint.response(200, page_of(StatementSchema))
def list_statements(query: dict[str, Any]) -> dict[str, Any]:
    """List statements, in the order of their numbers; a structure sees its own."""
    wanted = {"month": query["month"], "structure_id": query["structure_id"]}
    if caller().role is Role.STRUCTURE:
        wanted["structure_id"] = caller().own
    given = {name: value for name, value in wanted.items() if value is not None}
    found: sa.Select[Any] = sa.select(Statement).filter_by(**given)
    with transaction() as session:
        return page(session, found, Statement.id, query["after"], query["limit"])


@blueprint.route("/export.csv")
@roles("admin", "finance", own="structure")
@blueprint.arguments(RegisterQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_statements(query: dict[str, Any]) -> Response:
    """Statements as issued and as they stand now, as CSV, in the order of their numbers; to a structure, its own."""
    own = {"structure_id": caller().own} if caller().role is Role.STRUCTURE else {}
    given = {"month": query["month"], "structure_id": query["structure_id"], **own}
    return csv_file("statements", export_in_parts(runtime().engine, statement_sql.REGISTER, given, query["separator"]))


@blueprint.route("/<uuid:statement_id>")
@roles("admin", "finance", own="structure")
@blueprint.response(200, WholeStatementSchema)
def show_statement(statement_id: UUID) -> dict[str, Any]:
    """Show a statement with its lines and totals as they were frozen, and what of it is confirmed and paid now."""
    with transaction() as session:
        statement, lines, refusals = _read(statement_id)
        account: Account = issuing.account(session, statement_id)
    columns = {"due": statement.due_cents, "confirmed": statement.confirmed_cents, "paid": statement.paid_cents}
    totals = {name: {"cents": cents} for name, cents in columns.items()}
    return {"statement": statement, "totals": totals, "lines": lines, "refusals": refusals, "now": account}


@blueprint.route("/<uuid:statement_id>/statement.csv")
@roles("admin", "finance", own="structure")
@blueprint.arguments(FormatQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_statement(query: dict[str, str], statement_id: UUID) -> Response:
    """A statement as CSV: a line per redemption, correction or (for information, of 0 cents) refusal, then the total.

    The last line has the total in cents and in words.
    """
    with transaction():
        statement, lines, refusals = _read(statement_id)
        written = list(documents.csv_lines(statement, lines, refusals, query["separator"]))
    return csv_file(f"statement-{statement.name}", written)


@blueprint.route("/<uuid:statement_id>/statement.pdf")
@roles("admin", "finance", own="structure")
@blueprint.doc(responses=_PDF)
def print_statement(statement_id: UUID) -> Response:
    """A statement as the public accountant takes it: an état liquidatif, in French, to be signed."""
    with transaction():
        statement, lines, refusals = _read(statement_id)
    return pdf_file(f"etat-liquidatif-{statement.name}", documents.pdf(statement, lines, refusals))


@corrections.route("", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@corrections.arguments(CorrectionRequest)
@corrections.response(201, CorrectionSchema)
@corrections.alt_response(404, schema=ProblemSchema)
@corrections.alt_response(409, schema=ProblemSchema, description="It stands on no statement: take it back.")
def correct_redemption(body: dict[str, Any]) -> Correction:
    """Say what is owed for a redemption that stands on a statement: the next statement has the difference."""
    with transaction() as session:
        return correcting.correct(session, **body, made_by=str(caller()))


@corrections.route("")
@roles("admin", "finance")
@corrections.arguments(PageQuery, location="query")
@corrections.response(200, page_of(CorrectionSchema))
def list_corrections(query: dict[str, Any]) -> dict[str, Any]:
    """List corrections, in the order in which they were made."""
    with transaction() as session:
        return page(session, sa.select(Correction), Correction.id, query["after"], query["limit"])


def _read(statement_id: UUID) -> tuple[Statement, Any, Any]:
    with transaction() as session:
        statement = issuing.find(session, statement_id)
        caller().require(statement.structure_id)
        return statement, issuing.lines(session, statement_id), issuing.refusals(session, statement_id)
