"""Orders over HTTP."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint

from services.operator_bridge.orders import manual, schemas
from services.operator_bridge.register.models import Order
from services.operator_bridge.workers import wakeups
from shared.access.tokens import caller, roles
from shared.database.paging import page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, transaction
from shared.problems import ProblemSchema

orders = Blueprint("orders", __name__, url_prefix="/v1/orders", description="Orders to operators.")


@orders.route("")
@roles("admin", "finance", "operations")
@orders.arguments(schemas.OrderQuery, location="query")
@orders.response(200, page_of(schemas.OrderSchema))
def browse_orders(query: dict[str, Any]) -> dict[str, Any]:
    """Orders by state, kind and contract, oldest first."""
    with transaction() as session:
        return manual.browse(session, query)


@orders.route("/<uuid:order_id>/retry", methods=["POST"])
@roles("admin", "operations")
@idempotent()
@orders.arguments(schemas.RetrySchema)
@orders.response(201, schemas.OrderSchema)
def retry(body: dict[str, str], order_id: UUID) -> Order:
    """Sends an order again whose outcome is unknown, under its reference; one that was refused, under a fresh one."""
    with transaction() as session:
        order = manual.retry(session, order_id, caller().subject, body["note"])
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.push", str(order.contract_id))
    return order


@orders.route("/<uuid:order_id>/outcome", methods=["POST"])
@roles("admin", "operations")
@orders.arguments(schemas.OutcomeSchema)
@orders.response(200, schemas.OrderSchema)
@orders.alt_response(409, schema=ProblemSchema)
def record_outcome(body: dict[str, Any], order_id: UUID) -> Order:
    """Settles an order whose outcome is unknown by the word of a person who asked the operator."""
    with transaction() as session:
        order = manual.settle(session, order_id, body["done"], caller().subject, body["note"])
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.push", str(order.contract_id))
    return order


@orders.route("/retries", methods=["POST"])
@roles("admin", "operations")
@idempotent()
@orders.arguments(schemas.RetryStuckSchema)
@orders.response(201, schemas.RetriedSchema)
def retry_stuck(body: dict[str, Any]) -> dict[str, int]:
    """Sends all orders again that got no answer too often, under the references that their operators know."""
    with transaction() as session:
        retried = manual.retry_stuck(session, caller().subject, body["note"], body["contract_id"])
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.wake_pushes")
    return {"retried": retried}
