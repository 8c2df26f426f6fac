"""The codes of cheques over HTTP, for the operator bridge."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.issuer.cheques.codes import Codes, Revealed
from services.issuer.cheques.schemas import ChequesSchema
from services.issuer.metrics import REVEALED
from shared.access.tokens import caller, roles
from shared.audit import trail
from shared.http.request_context import runtime, transaction
from shared.observability.logs import logger

code_views = Blueprint("codes", __name__, url_prefix="/v1/codes", description="Codes, for the operator bridge.")
BLUEPRINTS = (code_views,)


class RevealedCodeSchema(Schema):
    cheque_id = fields.UUID(required=True)
    code = fields.Str(required=True)


class RevealedCodesSchema(Schema):
    codes = fields.Nested(RevealedCodeSchema, many=True, required=True)


@code_views.route("", methods=["POST"])
@roles(service="operator_bridge")
@code_views.arguments(ChequesSchema)
@code_views.response(200, RevealedCodesSchema)
def reveal_codes(body: dict[str, Any]) -> dict[str, list[Revealed]]:
    """The codes of cheques, to register them with an operator at this moment; they are not to be kept."""
    with transaction() as session:
        found = Codes(runtime().settings.keys).of_cheques(session, body["cheque_ids"])
        trail.record(
            session, "codes", after={"shown": "codes", "cheque_ids": [str(cheque.cheque_id) for cheque in found]}
        )
    REVEALED.inc(len(found))
    logger().info("codes_revealed", cheques=len(found), caller=str(caller()))
    return {"codes": found}
