"""Balances over HTTP."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.redeemer.reports import balances
from services.redeemer.transitions import CHEQUE, REDEMPTION
from shared.access.tokens import roles
from shared.http.request_context import transaction

blueprint = Blueprint("balances", __name__, url_prefix="/v1/balances", description="What the cheques add up to.")


class SumSchema(Schema):
    """Some cheques or redemptions."""

    number = fields.Int(required=True)
    cents = fields.Int(required=True)


def _by_state(name: str, *states: str) -> type[Schema]:
    return Schema.from_dict({state: fields.Nested(SumSchema, required=True) for state in states}, name=name)


class ProgrammeBalanceSchema(Schema):
    """The cheques of a programme by state, and its redemptions by how far they are settled."""

    programme = fields.Str(required=True)
    issued = fields.Nested(SumSchema, required=True)
    states = fields.Nested(_by_state("ChequeStates", *CHEQUE), required=True)
    redemptions = fields.Nested(_by_state("RedemptionStates", *REDEMPTION, balances.REVERSED), required=True)


class BalancesSchema(Schema):
    """Everything, summed."""

    programmes = fields.List(fields.Nested(ProgrammeBalanceSchema), required=True)


@blueprint.route("")
@roles("admin", "finance", "operations", "service")
@blueprint.response(200, BalancesSchema)
def show_balances() -> dict[str, Any]:
    """Number and cents of all cheques by state, and of all redemptions, per programme."""
    with transaction() as session:
        return {"programmes": balances.balances(session)}
