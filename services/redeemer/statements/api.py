"""Statements over HTTP: read, as files, and corrected on the next one."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint

from services.redeemer.statements import documents, statements
from services.redeemer.statements.models import Correction, Statement
from services.redeemer.statements.schemas import (
    CorrectionRequest,
    CorrectionSchema,
    RegisterQuery,
    StatementQuery,
    StatementSchema,
    WholeStatementSchema,
)
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_of
from shared.files import csv_export
from shared.files.csv_export import CSV_ANSWER, FormatQuery, export_in_parts
from shared.http.idempotency import idempotent
from shared.http.request_context import csv_file, pdf_file, runtime, transaction
from shared.problems import ProblemSchema

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


@blueprint.route("")
@roles("admin", "finance", own="structure")
@blueprint.arguments(StatementQuery, location="query")
@blueprint.response(200, page_of(StatementSchema))
def list_statements(query: dict[str, Any]) -> dict[str, Any]:
    """List statements, in the order of their numbers; a structure sees its own."""
    with transaction() as session:
        return statements.page(session, query | {"structure_id": caller().scope or query["structure_id"]})


@blueprint.route("/export.csv")
@roles("admin", "finance", own="structure")
@blueprint.arguments(RegisterQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_statements(query: dict[str, Any]) -> Response:
    """Statements as issued and as they stand now, as CSV, in the order of their numbers; to a structure, its own."""
    separator = query.pop("separator")
    query["structure_id"] = caller().scope or query["structure_id"]
    return csv_file("statements", export_in_parts(runtime().engine, statements.REGISTER, query, separator))


@blueprint.route("/<uuid:statement_id>")
@roles("admin", "finance", own="structure")
@blueprint.response(200, WholeStatementSchema)
def show_statement(statement_id: UUID) -> dict[str, Any]:
    """Show a statement with its lines and totals as they were frozen, and what of it is confirmed and paid now."""
    with transaction() as session:
        statement, lines, refusals = _read(statement_id)
        [account] = statements.accounts(session, [statement_id])
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
    rows = documents.csv_rows(statement, lines, refusals)
    return csv_file(f"statement-{statement.name}", csv_export.lines(documents.HEADS, rows, query["separator"]))


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
        return statements.correct(session, **body, made_by=str(caller()))


@corrections.route("")
@roles("admin", "finance")
@corrections.arguments(PageQuery, location="query")
@corrections.response(200, page_of(CorrectionSchema))
def list_corrections(query: dict[str, Any]) -> dict[str, Any]:
    """List corrections, in the order in which they were made."""
    with transaction() as session:
        return statements.corrections(session, query)


def _read(statement_id: UUID) -> tuple[Statement, Any, Any]:
    with transaction() as session:
        statement = statements.find(session, statement_id)
        caller().require(statement.structure_id)
        return statement, statements.lines(session, statement_id), statements.refusals(session, statement_id)
