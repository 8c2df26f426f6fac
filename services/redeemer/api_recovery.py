"""What the redeemer remembers of the bridge's log, for a bridge that was restored."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.redeemer.structures import structures
from shared.access.tokens import roles
from shared.http.request_context import transaction
from shared.process.recovery import Query

blueprint = Blueprint(
    "recollections",
    __name__,
    url_prefix="/v1/recollections",
    description="What is remembered here of another service, for one that was restored from a backup.",
)
BLUEPRINTS = (blueprint,)


class ContractRemembered(Schema):
    """A contract as the bridge last published it."""

    contract_id = fields.UUID(required=True, attribute="id")
    code = fields.Str(required=True)
    operator = fields.Str(required=True)
    programme = fields.Str(required=True)
    state = fields.Str(required=True)
    starts_on = fields.Date(required=True)
    ends_on = fields.Date(required=True, allow_none=True)


class ContractsRemembered(Schema):
    items = fields.List(fields.Nested(ContractRemembered), required=True)


@blueprint.route("/contracts")
@roles(service="operator_bridge")
@blueprint.arguments(Query, location="query")
@blueprint.response(200, ContractsRemembered)
def remember_contracts(query: dict[str, UUID]) -> dict[str, Any]:
    """The contracts that the bridge announced, by page; an empty page is the end."""
    with transaction() as session:
        return {"items": structures.contracts(session, query["after"])}
