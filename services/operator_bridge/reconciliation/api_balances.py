"""Balances over HTTP."""

from typing import Any

from flask_smorest import Blueprint

from services.operator_bridge.reconciliation import balances, schemas
from shared.access.tokens import roles
from shared.http.request_context import transaction

blueprint = Blueprint("balances", __name__, url_prefix="/v1/balances", description="What stands where.")


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.response(200, schemas.BalancesSchema)
def show() -> dict[str, Any]:
    """Per contract, its links, redemptions and orders by state, in number and in cents."""
    with transaction() as session:
        return balances.balances(session)
