"""What the bridge remembers of the redeemer's log, for a redeemer that was restored."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from flask_smorest import Blueprint

from shared.access.tokens import roles
from shared.http.request_context import transaction
from shared.process.recovery import PAGE_SIZE, Query, RedemptionsRemembered

blueprint = Blueprint(
    "recollections",
    __name__,
    url_prefix="/v1/recollections",
    description="What is remembered here of another service, for one that was restored from a backup.",
)

_REDEMPTIONS = sa.text("""
    SELECT redemption_id, presentation_id, cheque_id, structure_id, amount_cents, via,
           CASE via WHEN 'operator' THEN contract_id END AS contract_id, given_on, redeemed_at,
           state = 'reversed' AS reversed
    FROM redemption
    WHERE redemption_id > :after
    ORDER BY redemption_id LIMIT :limit
""")


@blueprint.route("/redemptions")
@roles(service="redeemer")
@blueprint.arguments(Query, location="query")
@blueprint.response(200, RedemptionsRemembered)
def remember_redemptions(query: dict[str, UUID]) -> dict[str, Any]:
    """The redemptions that the redeemer told of, by page; an empty page is the end."""
    with transaction() as session:
        found = session.execute(_REDEMPTIONS, {"after": query["after"], "limit": PAGE_SIZE})
        return {"items": list(found.mappings())}
