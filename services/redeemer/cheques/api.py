"""Expiring cheques on demand over HTTP."""

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.redeemer.cheques import expiring
from shared.access.tokens import roles
from shared.http.request_context import runtime

blueprint = Blueprint("expiries", __name__, url_prefix="/v1/expiries", description="Cheques whose time is over.")
BLUEPRINTS = (blueprint,)


class ExpirySchema(Schema):
    """What a run came to."""

    expired = fields.Int(required=True, metadata={"description": "Cheques."})


@blueprint.route("", methods=["POST"])
@roles("admin", "operations")
@blueprint.response(200, ExpirySchema)
def expire() -> dict[str, int]:
    """Expire every cheque that may no longer be presented. It is done every hour anyway; twice does no harm."""
    return {"expired": expiring.expire(runtime())[0]}
