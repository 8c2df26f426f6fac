"""Schemas of cheques that several rooms' APIs share."""

from typing import Any

from marshmallow import Schema, fields

from shared.values.bounded_fields import BoundedList


class ChequeSchema(Schema):
    """A cheque, without its code."""

    cheque_id = fields.UUID(required=True, attribute="id")
    value_cents = fields.Int(required=True)
    envelope_id = fields.UUID(required=True)
    state = fields.Str(required=True, metadata={"description": "As far as is known here; the redeemer decides."})


class PrintedChequeSchema(Schema):
    """A cheque and the code that is handed over."""

    cheque_id = fields.UUID(required=True)
    code = fields.Str(required=True, metadata={"description": "Whoever reads it can spend the cheque."})
    value_cents = fields.Int(required=True)
    envelope_id = fields.UUID(required=True)
    state = fields.Str(required=True)


def cheque_id_list(**options: Any) -> BoundedList:
    return BoundedList(fields.UUID(), least=1, most=1000, **options)


class ChequesSchema(Schema):
    """Some cheques, at most 1 000."""

    cheque_ids = cheque_id_list(required=True)
