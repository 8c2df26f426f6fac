"""Payments over HTTP: months closed, the accountant's files imported, payments listed and withdrawn, what is late."""

from typing import Any
from uuid import UUID

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from services.redeemer.fields import Month, ReasonSchema, text
from services.redeemer.payments import closing, importing, overdue, payment_file, withdrawal
from services.redeemer.payments.models import PAYMENT, SET_OFF, WITHDRAWAL, Payment
from services.redeemer.statements import issuing
from services.redeemer.statements.models import PaymentTerm
from services.redeemer.statements.schemas import IssuedSchema, IssueRequest
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_of
from shared.files import csv_export
from shared.files.csv_export import CSV_ANSWER, FormatQuery, PeriodQuery, export_in_parts
from shared.files.file_import import IMPORT_OPTIONS, ImportOptions, ImportOptionsQuery
from shared.http.idempotency import idempotent
from shared.http.request_context import csv_file, runtime, transaction, wait_for_others
from shared.limiting.request_limits import MIB, body_limit
from shared.problems import ProblemSchema

blueprint = Blueprint("payments", __name__, url_prefix="/v1/payments", description="Money that went to structures.")
closings = Blueprint("closing", __name__, url_prefix="/v1/statements", description="Months whose statements are made.")
late = Blueprint(
    "late payments", __name__, url_prefix="/v1/late-payments", description="Statements that are not paid in time."
)
terms = Blueprint("payment terms", __name__, url_prefix="/v1/payment-terms", description="How long a payment may take.")
BLUEPRINTS = (blueprint, closings, late, terms)

_BODY = {
    "requestBody": {
        "required": True,
        "description": (
            f"A line per payment, at most {payment_file.MAX_LINES}. Columns: statement (its number) or reference (the"
            " payment's own; one that contains the number will do), amount (in euros), paid_on, and siret, which is"
            " compared. Commas or semicolons, French or English names, decimal commas and days."
        ),
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


class OutcomeSchema(Schema):
    """What becomes of a line."""

    line = fields.Int(required=True, metadata={"description": "The file's physical line."})
    outcome = fields.Str(required=True, validate=validate.OneOf(importing.OUTCOMES))
    statement = fields.Str(required=True, allow_none=True)
    amount_cents = fields.Int(required=True, allow_none=True)
    field = fields.Str(required=True, metadata={"description": "What is wrong with it; empty: the line."})
    reason = fields.Str(required=True, allow_none=True, metadata={"description": "Why, or a remark."})


class PaymentReportSchema(Schema):
    """What becomes of a file of payments."""

    already_imported_at = fields.AwareDateTime(required=True, allow_none=True)
    recorded = fields.Int(required=True)
    recorded_before = fields.Int(required=True, data_key="known", attribute="known")
    refused = fields.Int(required=True)
    recorded_cents = fields.Int(required=True)
    settled = fields.Int(required=True, metadata={"description": "Redemptions that these payments pay."})
    lines = fields.List(fields.Nested(OutcomeSchema), required=True)


class PaymentSchema(Schema):
    """A payment that the accountant typed, or an entry about one."""

    payment_id = fields.UUID(required=True, attribute="id")
    kind = fields.Str(
        required=True,
        validate=validate.OneOf((PAYMENT, WITHDRAWAL, SET_OFF)),
        metadata={
            "description": "`withdrawal`: the payment that it `withdraws` was never made. `set_off`: of nothing, as"
            " what the statement takes back pays the rest of it."
        },
    )
    statement_id = fields.UUID(required=True)
    amount_cents = fields.Int(required=True)
    paid_on = fields.Date(required=True)
    reference = fields.Str(required=True)
    typed_by = fields.Str(required=True)
    typed_at = fields.AwareDateTime(required=True)
    withdraws = fields.UUID(required=True, allow_none=True)
    reason = fields.Str(required=True, allow_none=True)


class PaymentQuery(PageQuery):
    statement_id = fields.UUID(load_default=None)


class LateSchema(Schema):
    """A statement of which something should have been paid by now."""

    number = fields.Str(required=True)
    statement_id = fields.UUID(required=True)
    structure_id = fields.UUID(required=True)
    structure_name = fields.Str(required=True)
    siret = fields.Str(required=True, allow_none=True)
    month = Month(required=True)
    due_on = fields.Date(required=True)
    days_late = fields.Int(required=True)
    due_cents = fields.Int(required=True)
    paid_cents = fields.Int(required=True)
    late_cents = fields.Int(required=True, metadata={"description": "Less what the structure owes back."})


class LatePaymentsSchema(Schema):
    """Everything that is late, the oldest first."""

    items = fields.List(fields.Nested(LateSchema), required=True)
    late_cents = fields.Int(required=True)


class LateQuery(Schema):
    on = fields.Date(load_default=None, metadata={"description": "Late on this day; today if not said."})


class LateFileQuery(LateQuery, FormatQuery):
    """A day, and how the file is written."""


class TermRequest(Schema):
    """A programme and a number of days."""

    programme = text(100, required=True)
    days = fields.Int(required=True, strict=True, validate=validate.Range(1, 365))


class TermSchema(TermRequest):
    """Within how many days of issue the statements of a programme are to be paid."""

    changed_by = fields.Str(required=True)
    changed_at = fields.AwareDateTime(required=True)


class TermsSchema(Schema):
    """The programmes that have a term of their own; for the others it is the usual one."""

    usual_days = fields.Int(required=True)
    items = fields.List(fields.Nested(TermSchema), required=True)


@blueprint.route("/imports", methods=["POST"])
@roles("admin", "finance")
@body_limit(8 * MIB)
@idempotent(trials=True)
@blueprint.doc(**_BODY)
@blueprint.arguments(ImportOptionsQuery, **IMPORT_OPTIONS)
@blueprint.response(200, PaymentReportSchema)
def import_payments(options: ImportOptions) -> dict[str, Any]:
    """Take the accountant's payments in: each is matched with its statement, and settles redemptions in their order.

    A payment that was recorded before, or that an operator reported, is known again and changes nothing.
    """
    with transaction() as session:
        return importing.take_in(session, request.get_data(), options, str(caller()))


@blueprint.route("")
@roles("admin", "finance", own="structure")
@blueprint.arguments(PaymentQuery, location="query")
@blueprint.response(200, page_of(PaymentSchema))
def list_payments(query: dict[str, Any]) -> dict[str, Any]:
    """List the payments that the accountant typed, in the order in which they came; a structure sees its own."""
    with transaction() as session:
        return withdrawal.page(session, query, caller().scope)


@blueprint.route("/<uuid:payment_id>/withdrawal", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(ReasonSchema)
@blueprint.response(201, PaymentSchema)
@blueprint.alt_response(409, schema=ProblemSchema, description="The entry is not a payment.")
def withdraw_payment(body: dict[str, str], payment_id: UUID) -> Payment:
    """Withdraw a payment that was typed by mistake: a counter-entry says so, and what it paid is open again."""
    with transaction() as session:
        return withdrawal.withdraw(session, payment_id, body["reason"], str(caller()))


@blueprint.route("/export.csv")
@roles("admin", "finance")
@blueprint.arguments(PeriodQuery, location="query")
@blueprint.doc(responses={"200": CSV_ANSWER})
def export_payments(query: dict[str, Any]) -> Response:
    """The payments that the accountant typed, as CSV, by the day on which they were paid."""
    separator = query.pop("separator")
    return csv_file("payments", export_in_parts(runtime().engine, withdrawal.REGISTER, query, separator))


@late.route("")
@roles("admin", "finance", own="structure")
@late.arguments(LateQuery, location="query")
@late.response(200, LatePaymentsSchema)
def list_late_payments(query: dict[str, Any]) -> dict[str, Any]:
    """List the statements of which something should have been paid by now; to a structure, its own."""
    items = _late(query)
    return {"items": items, "late_cents": sum(statement["late_cents"] for statement in items)}


@late.route("/export.csv")
@roles("admin", "finance", own="structure")
@late.arguments(LateFileQuery, location="query")
@late.doc(responses={"200": CSV_ANSWER})
def export_late_payments(query: dict[str, Any]) -> Response:
    """The same as CSV."""
    columns = list(LateSchema().fields)
    rows = ([statement[name] for name in columns] for statement in _late(query))
    return csv_file("late-payments", csv_export.lines(columns, rows, query["separator"]))


def _late(query: dict[str, Any]) -> list[dict[str, Any]]:
    with transaction() as session:
        return overdue.late(session, query["on"], caller().scope)


@terms.route("")
@roles("admin", "finance")
@terms.response(200, TermsSchema)
def list_payment_terms() -> dict[str, Any]:
    """List the programmes whose payment term is not the usual one."""
    with transaction() as session:
        return {"usual_days": issuing.USUAL_TERM_DAYS, "items": issuing.terms(session)}


@terms.route("", methods=["PUT"])
@roles("admin", "finance")
@terms.arguments(TermRequest)
@terms.response(200, TermSchema)
def set_payment_term(body: dict[str, Any]) -> PaymentTerm:
    """Set within how many days of issue the statements of a programme are to be paid; issued ones keep theirs."""
    with transaction() as session:
        return issuing.set_term(session, **body, by=str(caller()))


@closings.route("", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@closings.arguments(IssueRequest)
@closings.response(200, IssuedSchema)
def issue_statements(body: dict[str, Any]) -> dict[str, Any]:
    """Issue the statements of a month that is over: those that exist already stay as they are.

    It is done from the third of each month anyway. Then the month is closed: what comes late for it is on the next.
    """
    wait_for_others()
    return {"statements": closing.close(runtime(), body["month"], str(caller()), body["structure_id"])}
