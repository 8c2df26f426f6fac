"""The JSON of requests about orders, and of orders."""

from marshmallow import Schema, fields, validate

from services.operator_bridge.interface import KINDS
from services.operator_bridge.register import transitions
from shared.database.paging import PageQuery
from shared.values.text_rules import check_line


class OrderQuery(PageQuery):
    state = fields.Str(load_default=None, validate=validate.OneOf(tuple(transitions.ORDER)))
    kind = fields.Str(load_default=None, validate=validate.OneOf(KINDS))
    contract_id = fields.UUID(load_default=None)
    stuck = fields.Bool(
        load_default=None, metadata={"description": "Those that are not sent again, as no answer came too often."}
    )


class OrderSchema(Schema):
    order_id = fields.UUID(required=True, metadata={"description": "The reference that the operator sees."})
    contract_id = fields.UUID(required=True)
    kind = fields.Str(required=True)
    cheque_id = fields.UUID(allow_none=True)
    redemption_id = fields.UUID(allow_none=True)
    structure_id = fields.UUID(allow_none=True)
    state = fields.Str(required=True)
    reason = fields.Str(allow_none=True)
    attempts = fields.Int(required=True)
    lost = fields.Int(attribute="unanswered", required=True, metadata={"description": "How often no answer came."})
    stuck = fields.Bool(required=True)
    created_at = fields.AwareDateTime(required=True)
    next_attempt_at = fields.AwareDateTime(required=True)
    sent_at = fields.AwareDateTime(allow_none=True)
    settled_at = fields.AwareDateTime(allow_none=True)
    retries = fields.List(
        fields.Dict(), metadata={"description": "Who had it sent again, when and why; `of` is the order it followed."}
    )
    vouched = fields.List(
        fields.Dict(), metadata={"description": "Who said what became of it, when and how they know."}
    )


def note(description: str, error: str = "Say why.") -> fields.Str:
    """What a person has to say about what they do; `error` is for those who say nothing."""
    return fields.Str(
        required=True,
        validate=[validate.Length(1, 500), validate.Regexp(r"\s*\S", error=error), check_line],
        metadata={"description": description},
    )


class RetrySchema(Schema):
    note = note("Why it may be sent again; kept with the order.")


class OutcomeSchema(Schema):
    done = fields.Bool(required=True, metadata={"description": "Whether the operator did it."})
    note = note("How that is known; kept with the order.", "Say how you know.")


class RetryStuckSchema(RetrySchema):
    contract_id = fields.UUID(load_default=None, metadata={"description": "Of one contract; else of all."})


class RetriedSchema(Schema):
    retried = fields.Int(required=True, metadata={"description": "How many orders are sent again."})
