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
