"""The JSON of requests about contracts, and of contracts."""

from marshmallow import Schema, fields, validate

from services.operator_bridge.orders.schemas import note
from services.operator_bridge.register import transitions
from shared.values.bounded_fields import BoundedList
from shared.values.text_rules import check_line, no_code


class NewContractSchema(Schema):
    code = fields.Str(required=True, validate=[validate.Regexp(r"[a-z0-9][a-z0-9-]{0,62}\Z"), no_code])
    operator = fields.Str(required=True, validate=[validate.Length(1, 63), check_line])
    programme = fields.Str(required=True, validate=[validate.Length(1, 63), check_line])
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
    reason = note("Shown to all who ask why nothing is sent.")


class StateSchema(Schema):
    state = fields.Str(required=True, validate=validate.OneOf(tuple(transitions.CONTRACT)))


class ActivationSchema(Schema):
    payment_order = fields.Str(
        required=True,
        validate=[validate.Length(1, 100), check_line],
        metadata={"description": "Number of the mandat."},
    )
    cheque_ids = BoundedList(
        fields.UUID(),
        load_default=None,
        least=1,
        most=100_000,
        metadata={"description": "The cheques that it paid for; where there are none, all that wait to be activated."},
    )


class ActivatedSchema(Schema):
    ordered = fields.Int(required=True, metadata={"description": "How many cheques are being activated now."})


class AdoptedSchema(Schema):
    adopted = fields.Int(required=True, metadata={"description": "How many cheques the contract takes."})
