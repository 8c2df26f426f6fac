"""The redemptions that the issuer mirrors, over HTTP, for a redeemer that was restored from a backup."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint

from services.issuer.lifecycle import mirror
from shared.access.tokens import roles
from shared.http.request_context import transaction
from shared.process.recovery import Query, RedemptionsRemembered

blueprint = Blueprint(
    "recollections",
    __name__,
    url_prefix="/v1/recollections",
    description="What is remembered here of another service, for one that was restored from a backup.",
)
BLUEPRINTS = (blueprint,)


@blueprint.route("/redemptions")
@roles(service="redeemer")
@blueprint.arguments(Query, location="query")
@blueprint.response(200, RedemptionsRemembered)
def remember_redemptions(query: dict[str, UUID]) -> dict[str, Any]:
    """The redemptions that the redeemer published, by page; an empty page is the end."""
    with transaction() as session:
        return {"items": mirror.redemption_page(session, query["after"])}
