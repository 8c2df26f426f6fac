"""Orders by what is asked of them, page by page."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.register.models import Order
from shared.database.paging import page


def browse(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the orders of a state, a kind or a contract, stuck or not, oldest first."""
    chosen: sa.Select[Any] = sa.select(Order)
    for name in ("state", "kind", "contract_id"):
        if query[name] is not None:
            chosen = chosen.where(getattr(Order, name) == query[name])
    if query["stuck"] is not None:
        chosen = chosen.where(Order.stuck.is_(query["stuck"]))
    return page(session, chosen, Order.order_id, query["after"], query["limit"])
