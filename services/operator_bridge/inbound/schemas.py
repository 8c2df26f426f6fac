"""TODO."""

from marshmallow import Schema, fields


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
