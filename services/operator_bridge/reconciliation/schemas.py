"""The JSON of reconciliations, discrepancies and balances."""

from marshmallow import EXCLUDE, Schema, fields, validate

from services.operator_bridge.reconciliation.comparing import KINDS
from services.operator_bridge.register import transitions
from shared.database.paging import PageQuery
from shared.values.text_rules import check_line


class NewReconciliationSchema(Schema):
    contract_id = fields.UUID(required=True)


class ReconciliationSchema(Schema):
    reconciliation_id = fields.UUID(required=True)
    contract_id = fields.UUID(required=True)
    night = fields.Date(allow_none=True, metadata={"description": "The day whose nightly run it is."})
    state = fields.Str(required=True)
    requested_at = fields.AwareDateTime(required=True)
    started_at = fields.AwareDateTime(allow_none=True)
    finished_at = fields.AwareDateTime(allow_none=True)
    attempts = fields.Int(required=True)
    error = fields.Str(allow_none=True)
    compared = fields.Bool(allow_none=True, metadata={"description": "False where the operator holds no statement."})
    lines = fields.Int(required=True)
    moving = fields.Int(required=True, metadata={"description": "Cheques not compared: something is on its way."})
    ours = fields.Dict(required=True, metadata={"description": "By status: number, cents, redeemed cents."})
    theirs = fields.Dict(required=True)
    differences = fields.Dict(required=True, metadata={"description": "How many by kind."})
    settled = fields.Int(required=True, metadata={"description": "On how many a policy acted."})
    resolved = fields.Int(required=True, metadata={"description": "How many of before are in agreement now."})
    waiting = fields.Int(required=True, metadata={"description": "How many wait for a person."})
    withheld = fields.Bool(required=True, metadata={"description": "So much differs that no policy acted."})


class ContractQuery(PageQuery):
    contract_id = fields.UUID(load_default=None)


class DiscrepancyFilter(Schema):
    class Meta:
        unknown = EXCLUDE

    contract_id = fields.UUID(load_default=None)
    state = fields.Str(load_default=None, validate=validate.OneOf(tuple(transitions.DISCREPANCY)))
    kind = fields.Str(load_default=None, validate=validate.OneOf(KINDS))


class DiscrepancyQuery(PageQuery, DiscrepancyFilter):
    class Meta:
        unknown = EXCLUDE


class ExampleSchema(Schema):
    reference = fields.Str(required=True, metadata={"description": "The cheque, or the operator's reference."})
    cheque_id = fields.UUID(allow_none=True)
    ours = fields.Dict(required=True)
    theirs = fields.Dict(required=True)


class DiscrepancySchema(ExampleSchema):
    discrepancy_id = fields.UUID(required=True)
    operator = fields.Str(required=True)
    kind = fields.Str(required=True)
    contract_id = fields.UUID(allow_none=True)
    state = fields.Str(required=True)
    found_at = fields.AwareDateTime(required=True)
    policy = fields.Str(allow_none=True, metadata={"description": "What was done about it without a person."})
    resolved_at = fields.AwareDateTime(allow_none=True)
    resolved_by = fields.Str(allow_none=True)
    resolver = fields.Str(allow_none=True)
    note = fields.Str(allow_none=True)
    history = fields.List(fields.Dict(), required=True, metadata={"description": "Earlier ends, if it came again."})


class ResolutionSchema(Schema):
    note = fields.Str(required=True, validate=[validate.Length(1, 2000), check_line])


class DayFilter(Schema):
    class Meta:
        unknown = EXCLUDE

    since = fields.Date(load_default=None, data_key="from")
    until = fields.Date(load_default=None, data_key="to")
    programme = fields.Str(load_default=None)


class DailyBalanceSchema(Schema):
    day = fields.Date(required=True)
    programme = fields.Str(required=True)
    kept_at = fields.AwareDateTime(required=True)
    register = fields.Dict(required=True, metadata={"description": "By state: number and cents."})
    redeemer = fields.Dict(required=True, allow_none=True, metadata={"description": "Null where it did not answer."})
    operators = fields.List(fields.Dict(), required=True, metadata={"description": "Each contract's last comparison."})
    agrees = fields.Bool(required=True, allow_none=True)


class CountSchema(Schema):
    state = fields.Str(required=True)
    number = fields.Int(required=True)


class AmountSchema(CountSchema):
    cents = fields.Int(required=True)


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


class DifferenceSchema(Schema):
    kind = fields.Str(required=True)
    count = fields.Int(required=True)
    examples = fields.List(fields.Nested(ExampleSchema), required=True)


_TOTALS = Schema.from_dict(
    {f"{side}_{what}": fields.Int() for side in ("our", "their") for what in ("cheques", "cents", "redeemed_cents")},
    name="TotalsSchema",
)


class ComparisonSchema(Schema):
    taken_at = fields.AwareDateTime(required=True)
    compared = fields.Bool(required=True, metadata={"description": "False where the operator holds no statement."})
    totals = fields.Nested(_TOTALS, required=True)
    moving = fields.Int(
        required=True, metadata={"description": "Cheques not compared: something about them is on its way."}
    )
    count = fields.Int(required=True, metadata={"description": "How many cheques differ: 0 when in step."})
    differences = fields.List(fields.Nested(DifferenceSchema), required=True)
