"""Comparing a contract's whole statement with our register over HTTP, at once."""

from uuid import UUID

from flask_smorest import Blueprint

from services.operator_bridge.reconciliation import comparing, schemas
from services.operator_bridge.register import contracts
from shared.access.tokens import roles
from shared.http.request_context import runtime, transaction

blueprint = Blueprint(
    "comparisons", __name__, url_prefix="/v1/contracts", description="Comparing operators' statements now."
)


@blueprint.route("/<uuid:contract_id>/comparison", methods=["POST"])
@roles("admin", "finance", "operations")
@blueprint.response(200, schemas.ComparisonSchema)
def compare(contract_id: UUID) -> comparing.Comparison:
    """Compares the operator's whole statement with our register; nothing is changed."""
    with transaction() as session:
        contracts.find(session, contract_id)
    return comparing.compare(runtime(), contract_id)
