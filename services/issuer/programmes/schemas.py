"""The shape of an assessment rule; `assessment` and `person_limits` apply it."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer.fields import MAX_CENTS, cents, text
from shared.values.bounded_fields import BoundedDict, BoundedList

_POINTS = validate.Range(-100_000, 100_000)


class QuestionSchema(Schema):
    """A question and the points that each answer gives."""

    key = text(60, required=True)
    label = text(500, required=True)
    answers = BoundedDict(
        text(),
        fields.Int(strict=True, validate=validate.Range(-1000, 1000)),
        required=True,
        least=1,
        most=100,
    )


class AmountStepSchema(Schema):
    """An amount from a number of points on; 0 cents: nothing is granted."""

    from_points = fields.Int(strict=True, required=True, validate=_POINTS)
    cents = fields.Int(strict=True, required=True, validate=validate.Range(0, MAX_CENTS))


class ConditionSchema(Schema):
    """An amount for these answers and at least these points; 0 cents: nothing is granted."""

    when = BoundedDict(
        text(60),
        BoundedList(text(), least=1, most=100),
        most=100,
        metadata={"description": "The answers that each of these questions may have."},
    )
    from_points = fields.Int(strict=True, validate=_POINTS)
    cents = fields.Int(strict=True, required=True, validate=validate.Range(0, MAX_CENTS))
    reason = text(500, metadata={"description": "It is written on the grant: give no answer away in it."})


class PeriodSchema(Schema):
    """A number of months from grant to grant, or the calendar year."""

    months = fields.Int(strict=True, validate=validate.Range(1, 240))
    calendar = fields.Str(validate=validate.OneOf(("year",)))

    @validates_schema
    def _check_one(self, data: dict[str, Any], **_: Any) -> None:
        if len(data) != 1:
            raise ValidationError('Either {"months": …} or {"calendar": "year"}.')


class WhoSchema(Schema):
    """Callers, by their roles and, of prescribers, by their kinds."""

    roles = BoundedList(fields.Str(validate=validate.OneOf(("prescriber", "admin"))), required=True, least=1, most=2)
    typologies = BoundedList(
        text(),
        least=1,
        most=100,
        metadata={"description": "Only prescribers of one of these kinds, as the national schema names them."},
    )


class PerPersonSchema(Schema):
    """The limit for one person, whoever makes the grants."""

    ceiling_cents = cents()
    grants = fields.Int(
        strict=True, validate=validate.Range(1, 1000), metadata={"description": "How many; 1: no second one."}
    )
    period = fields.Nested(PeriodSchema, metadata={"description": "Not said: for ever."})
    beneficiary = fields.Str(
        validate=validate.OneOf(("required", "optional")),
        metadata={
            "description": "Whether a grant must say who it is for (so unless said); one without does not count."
        },
    )
    exceeding = fields.Nested(
        WhoSchema, metadata={"description": "Who may go beyond the limit, with a reason. Not said: nobody."}
    )

    @validates_schema
    def _check_some(self, data: dict[str, Any], **_: Any) -> None:
        if not {"ceiling_cents", "grants"} & data.keys():
            raise ValidationError("`ceiling_cents`, `grants` or both.")


class RuleSchema(Schema):
    """From answers to an amount, by points or by conditions, and what one person may have in all."""

    questions = BoundedList(fields.Nested(QuestionSchema), least=1, most=100)
    amounts = BoundedList(fields.Nested(AmountStepSchema), least=1, most=100)
    conditions = BoundedList(
        fields.Nested(ConditionSchema),
        least=1,
        most=100,
        metadata={"description": "Instead of `amounts`: the first that holds counts."},
    )
    stating = fields.Nested(
        WhoSchema,
        metadata={"description": "Who may state an amount and a reason instead of answers. Not said: everybody."},
    )
    per_person = fields.Nested(PerPersonSchema)

    @validates_schema
    def _check_whole(self, data: dict[str, Any], **_: Any) -> None:
        ways = len({"amounts", "conditions"} & data.keys())
        if "questions" in data and ways != 1:
            raise ValidationError("Questions lead to either `amounts` or `conditions`.", "questions")
        if "questions" not in data and ways:
            raise ValidationError("Amounts and conditions need questions.", "questions")
        if "stating" in data and "questions" not in data:
            raise ValidationError("Without questions amounts can only be stated.", "stating")
        if not data:
            raise ValidationError("It has `questions`, or `per_person`, or both.")
