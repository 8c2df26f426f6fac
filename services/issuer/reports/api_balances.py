"""Balances over HTTP."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.issuer.cheques.models import STATES
from services.issuer.reports.balances import balances
from shared.access.tokens import roles
from shared.http.request_context import transaction

blueprint = Blueprint("balances", __name__, url_prefix="/v1/balances", description="What the cheques add up to.")
BLUEPRINTS = (blueprint,)


class SumSchema(Schema):
    """Some cheques."""

    number = fields.Int(required=True)
    cents = fields.Int(required=True)


StatesSchema = Schema.from_dict({state: fields.Nested(SumSchema, required=True) for state in STATES}, name="States")


class ProgrammeBalanceSchema(Schema):
    """The cheques of a programme, by mirror state."""

    programme = fields.Str(required=True)
    states = fields.Nested(StatesSchema, required=True)


class EnvelopeBalanceSchema(ProgrammeBalanceSchema):
    """The cheques charged to an envelope, by mirror state."""

    envelope_id = fields.UUID(required=True)
    funder = fields.Str(required=True)
    convention_reference = fields.Str(required=True)
    amount_cents = fields.Int(required=True)
    engaged_cents = fields.Int(required=True)
    available_cents = fields.Int(required=True)


class BalancesSchema(Schema):
    """Everything issued, summed."""

    programmes = fields.List(fields.Nested(ProgrammeBalanceSchema), required=True)
    envelopes = fields.List(fields.Nested(EnvelopeBalanceSchema), required=True)


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.response(200, BalancesSchema)
def show_balances() -> dict[str, Any]:
    """Number and cents of all cheques by what became of them, per programme and per envelope."""
    with transaction() as session:
        return balances(session)
