"""What statements and corrections look like over HTTP."""

from marshmallow import Schema, fields, validate

from services.redeemer.fields import Month, text
from shared.database.paging import PageQuery
from shared.files.csv_export import FormatQuery
from shared.values.french_format import in_figures, in_words


class IssueRequest(Schema):
    """A month that is over."""

    month = Month(required=True)
    structure_id = fields.UUID(
        load_default=None, metadata={"description": "Of this structure only; the month stays open for the others."}
    )


class AmountSchema(Schema):
    """An amount in cents of EUR, in French figures and in French words."""

    cents = fields.Int(required=True)
    figures = fields.Function(lambda amount: in_figures(amount["cents"]), required=True)
    words = fields.Function(lambda amount: in_words(amount["cents"]), required=True)


class ColumnsSchema(Schema):
    """The three columns of a statement, in cents."""

    due_cents = fields.Int(required=True)
    confirmed_cents = fields.Int(required=True)
    paid_cents = fields.Int(required=True)


class StatementSchema(ColumnsSchema):
    """A statement as it was frozen when it was issued."""

    statement_id = fields.UUID(required=True, attribute="id")
    number = fields.Str(required=True, attribute="name", metadata={"example": "2026-00042"})
    structure_id = fields.UUID(required=True)
    month = Month(required=True)
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


class IssuedSchema(Schema):
    """The statements that were made."""

    statements = fields.List(fields.Nested(StatementSchema), required=True)


class LineSchema(ColumnsSchema):
    """A redemption, or what corrects one of an earlier statement."""

    position = fields.Int(required=True)
    kind = fields.Str(required=True, validate=validate.OneOf(("redemption", "correction")))
    redemption_id = fields.UUID(required=True)
    cheque_id = fields.UUID(required=True)
    programme = fields.Str(required=True)
    presented_on = fields.Date(required=True)
    given_on = fields.Date(required=True)
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


class NowSchema(ColumnsSchema):
    """The present sums of the statement."""

    open_cents = fields.Int(
        required=True, attribute="unpaid_cents", metadata={"description": "Negative where too much was paid."}
    )


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


class _Which(Schema):
    month = Month(load_default=None)
    structure_id = fields.UUID(load_default=None)


class StatementQuery(_Which, PageQuery):
    """A page of which statements."""


class RegisterQuery(_Which, FormatQuery):
    """A file of which statements."""


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
