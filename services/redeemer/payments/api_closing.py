"""Issuing the statements of a month over HTTP."""

from typing import Any

from flask_smorest import Blueprint

from services.redeemer.payments import closing
from services.redeemer.statements.schemas import IssuedSchema, IssueRequest
from shared.access.tokens import caller, roles
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, wait_for_others

blueprint = Blueprint("closing", __name__, url_prefix="/v1/statements", description="Months whose statements are made.")


@blueprint.route("", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(IssueRequest)
@blueprint.response(200, IssuedSchema)
def issue_statements(body: dict[str, Any]) -> dict[str, Any]:
    """Issue the statements of a month that is over: those that exist already stay as they are.

    It is done from the third of each month anyway. Then the month is closed: what comes late for it is on the next.
    """
    wait_for_others()
    return {"statements": closing.close(runtime(), body["month"], str(caller()), body["structure_id"])}
