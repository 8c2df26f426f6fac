"""TODO."""

from marshmallow import Schema, fields


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
