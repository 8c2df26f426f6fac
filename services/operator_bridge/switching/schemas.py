"""The JSON of the switch's routes."""

from marshmallow import Schema, fields, validate

from shared.values.text_rules import check_line


class NewSwitchSchema(Schema):
    """From which contract to which, and whether the old operator is still there."""

    from_contract_id = fields.UUID(required=True)
    to_contract_id = fields.UUID(required=True)
    payer_contract_id = fields.UUID(
        load_default=None,
        allow_none=True,
        metadata={"description": "Under which unpaid redemptions are declared again, if not under the new contract."},
    )
    mode = fields.Str(
        required=True,
        validate=validate.OneOf(("handover", "failure")),
        metadata={"description": "`failure`: the old operator is dead, nothing is sent to it and all is claimed."},
    )
    creditor = fields.Str(
        load_default="Le Département",
        validate=[validate.Length(1, 200), check_line],
        metadata={"description": "In whose name the claims are, as printed."},
    )


class AcceptanceSchema(Schema):
    note = fields.Str(required=True, validate=[validate.Length(1, 2000), check_line])


class SwitchStepSchema(Schema):
    step = fields.Str(required=True)
    started_at = fields.AwareDateTime(required=True)
    finished_at = fields.AwareDateTime(allow_none=True)
    figures = fields.Dict(required=True, metadata={"description": "Numbers, and cents of EUR; so far if not done."})


class SwitchSchema(Schema):
    switch_id = fields.UUID(required=True)
    from_contract_id = fields.UUID(required=True)
    to_contract_id = fields.UUID(required=True)
    payer_contract_id = fields.UUID(required=True)
    mode = fields.Str(required=True)
    creditor = fields.Str(required=True)
    step = fields.Str(required=True, metadata={"description": "The step in hand; the last one when done."})
    waiting_for = fields.Str(allow_none=True, metadata={"description": "What it waits for; null while it is at work."})
    accepted = fields.Str(allow_none=True)
    asked_by = fields.Str(required=True)
    started_at = fields.AwareDateTime(required=True)
    finished_at = fields.AwareDateTime(allow_none=True, metadata={"description": "Null until it is done."})
    report = fields.Dict(allow_none=True, metadata={"description": "How many, how much, how long, what differs."})


class WatchedSwitchSchema(SwitchSchema):
    steps = fields.List(fields.Nested(SwitchStepSchema), required=True)
