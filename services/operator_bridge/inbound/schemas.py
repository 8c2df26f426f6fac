"""The JSON of operators and of the results of reading their statements."""

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
