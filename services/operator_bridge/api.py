"""Orders and balances over HTTP."""

from typing import Any

import sqlalchemy as sa
from flask_smorest import Blueprint

from services.operator_bridge import balances as balancing
from services.operator_bridge import schemas
from services.operator_bridge.models import Order
from shared.auth import roles
from shared.paging import page, page_of
from shared.web import transaction

orders = Blueprint("orders", __name__, url_prefix="/v1/orders", description="What operators are told.")
balances = Blueprint("balances", __name__, url_prefix="/v1/balances", description="What stands where.")


@orders.route("")
@roles("admin", "operations", "finance")
@orders.arguments(schemas.OrderQuery, location="query")
@orders.response(200, page_of(schemas.OrderSchema))
def browse_orders(query: dict[str, Any]) -> dict[str, Any]:
    """Orders by state, kind and contract, oldest first."""
    chosen: sa.Select[Any] = sa.select(Order)
    for name in ("state", "kind", "contract_id"):
        if query[name] is not None:
            chosen = chosen.where(getattr(Order, name) == query[name])
    if query["stuck"] is not None:
        chosen = chosen.where(Order.stuck.is_(query["stuck"]))
    with transaction() as session:
        return page(session, chosen, Order.order_id, query["after"], query["limit"])


@balances.route("")
@roles("admin", "operations", "finance")
@balances.response(200, schemas.BalancesSchema)
def show_balances() -> dict[str, Any]:
    """Per contract, its links, redemptions and orders by state, in number and in cents."""
    with transaction() as session:
        return balancing.balances(session)
