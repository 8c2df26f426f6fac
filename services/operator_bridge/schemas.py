"""The JSON of the bridge's routes."""

import re

from marshmallow import Schema, ValidationError, fields, validate

from services.operator_bridge.interface import KINDS
from services.operator_bridge.register import transitions
from shared.database.paging import PageQuery
from shared.values.text_rules import no_code

# Neither control characters nor halves of surrogate pairs: PostgreSQL stores neither.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def fit(value: str) -> None:
    """Checks that a text says something, on one line."""
    if not value.strip() or _UNFIT.search(value):
        raise ValidationError("A text on one line is expected.")


class OperatorSchema(Schema):
    code = fields.Str(required=True)
    name = fields.Str(required=True)
    configured = fields.Bool(required=True, metadata={"description": "Whether all its settings are there."})
    takes = fields.List(fields.Str(), required=True, metadata={"description": "The kinds of order it understands."})
    own_till = fields.Bool(required=True)
    pays_structures = fields.Bool(required=True)
    has_statement = fields.Bool(required=True)
    needs_codes = fields.Bool(required=True)
    supplies_codes = fields.Bool(required=True)
    activates = fields.Bool(
        required=True, metadata={"description": "Whether cheques wait for the payment order's number (mandat)."}
    )
    by_status = fields.Bool(
        required=True, metadata={"description": "Whether it has no statement, but says of each cheque how it stands."}
    )
    batch_size = fields.Int(required=True)
    rate = fields.Float(required=True, metadata={"description": "Batches a second, from all workers together."})


class NewContractSchema(Schema):
    code = fields.Str(required=True, validate=[validate.Regexp(r"[a-z0-9][a-z0-9-]{0,62}\Z"), no_code])
    operator = fields.Str(required=True, validate=[validate.Length(1, 63), fit, no_code])
    programme = fields.Str(required=True, validate=[validate.Length(1, 63), fit, no_code])
    starts_on = fields.Date(required=True)
    ends_on = fields.Date(load_default=None, allow_none=True)


class ContractSchema(NewContractSchema):
    contract_id = fields.UUID(required=True)
    state = fields.Str(required=True)
    created_at = fields.AwareDateTime(required=True)
    live_at = fields.AwareDateTime(allow_none=True)
    polled_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "Up to when its statement was read and applied."}
    )
    held_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "Since when nothing is sent, as somebody said so."}
    )
    held_reason = fields.Str(allow_none=True)
    circuit = fields.Str(
        required=True,
        metadata={"description": "`open` while the operator fails again and again: one order at a time is tried."},
    )
    circuit_opened_at = fields.AwareDateTime(allow_none=True)
    failures = fields.Int(required=True, metadata={"description": "Calls in a row that failed."})
    last_failure = fields.Str(allow_none=True)
    next_push_at = fields.AwareDateTime(
        required=True, metadata={"description": "The operator is not called before: its rate, or a failure."}
    )


class HoldSchema(Schema):
    reason = fields.Str(
        required=True,
        validate=[validate.Length(1, 500), validate.Regexp(r"\s*\S", error="Say why."), fit, no_code],
        metadata={"description": "Shown to all who ask why nothing is sent."},
    )


class StateSchema(Schema):
    state = fields.Str(required=True, validate=validate.OneOf(tuple(transitions.CONTRACT)))


class ActivationSchema(Schema):
    payment_order = fields.Str(
        required=True,
        validate=[validate.Length(1, 100), fit, no_code],
        metadata={"description": "Number of the mandat."},
    )
    cheque_ids = fields.List(
        fields.UUID(),
        load_default=None,
        validate=validate.Length(1, 100_000),
        metadata={"description": "The cheques that it paid for; where there are none, all that wait to be activated."},
    )


class ActivatedSchema(Schema):
    ordered = fields.Int(required=True, metadata={"description": "How many cheques are being activated now."})


class PollSchema(Schema):
    taken_at = fields.AwareDateTime(required=True)
    lines = fields.Int(required=True)
    unsettled = fields.Int(required=True, metadata={"description": "Orders whose outcome was unknown before."})
    settled = fields.Int(required=True, metadata={"description": "Of these, those that the statement settled."})
    sent_again = fields.Int(required=True, metadata={"description": "Of these, those that were not done."})


class ExampleSchema(Schema):
    reference = fields.Str(required=True, metadata={"description": "The cheque, or what the operator says it of."})
    cheque_id = fields.UUID(allow_none=True)
    ours = fields.Dict(required=True)
    theirs = fields.Dict(required=True)


class DifferenceSchema(Schema):
    kind = fields.Str(required=True)
    count = fields.Int(required=True)
    examples = fields.List(fields.Nested(ExampleSchema), required=True)


class TotalsSchema(Schema):
    our_cheques = fields.Int()
    our_cents = fields.Int()
    our_redeemed_cents = fields.Int()
    their_cheques = fields.Int()
    their_cents = fields.Int()
    their_redeemed_cents = fields.Int()


class ComparisonSchema(Schema):
    taken_at = fields.AwareDateTime(required=True)
    compared = fields.Bool(required=True, metadata={"description": "False where the operator holds no statement."})
    totals = fields.Nested(TotalsSchema, required=True)
    moving = fields.Int(
        required=True, metadata={"description": "Cheques not compared: something about them is on its way."}
    )
    count = fields.Int(required=True, metadata={"description": "How many cheques differ: 0 when in step."})
    differences = fields.List(fields.Nested(DifferenceSchema), required=True)


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
    lost = fields.Int(required=True, metadata={"description": "How often no answer came."})
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


class RetrySchema(Schema):
    note = fields.Str(
        required=True,
        validate=[validate.Length(1, 500), validate.Regexp(r"\s*\S", error="Say why."), fit, no_code],
        metadata={"description": "Why it may be sent again; kept with the order."},
    )


class OutcomeSchema(Schema):
    done = fields.Bool(required=True, metadata={"description": "Whether the operator did it."})
    note = fields.Str(
        required=True,
        validate=[validate.Length(1, 500), validate.Regexp(r"\s*\S", error="Say how you know."), fit, no_code],
        metadata={"description": "How that is known; kept with the order."},
    )


class RetryStuckSchema(RetrySchema):
    contract_id = fields.UUID(load_default=None, metadata={"description": "Of one contract; else of all."})


class RetriedSchema(Schema):
    retried = fields.Int(required=True, metadata={"description": "How many orders are sent again."})


class AdoptedSchema(Schema):
    adopted = fields.Int(required=True, metadata={"description": "How many cheques the contract takes."})


class AmountSchema(Schema):
    state = fields.Str(required=True)
    number = fields.Int(required=True)
    cents = fields.Int(required=True)


class CountSchema(Schema):
    state = fields.Str(required=True)
    number = fields.Int(required=True)


class ContractBalanceSchema(Schema):
    contract_id = fields.UUID(required=True)
    code = fields.Str(required=True)
    operator = fields.Str(required=True)
    programme = fields.Str(required=True)
    state = fields.Str(required=True)
    links = fields.List(fields.Nested(AmountSchema), required=True)
    redemptions = fields.List(fields.Nested(AmountSchema), required=True)
    orders = fields.List(fields.Nested(CountSchema), required=True)


class WithoutLinkSchema(AmountSchema):
    programme = fields.Str(required=True)


class BalancesSchema(Schema):
    contracts = fields.List(fields.Nested(ContractBalanceSchema), required=True)
    redemptions_without_contract = fields.List(fields.Nested(AmountSchema), required=True)
    cheques_without_link = fields.List(fields.Nested(WithoutLinkSchema), required=True)
    cheques_without_operator = fields.List(
        fields.Nested(WithoutLinkSchema),
        required=True,
        metadata={"description": "Refused by an operator and had by no other; of the redeemed, nobody pays the money."},
    )
