"""What the issuer remembers of the redeemer's log, for a redeemer that was restored."""

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
BLUEPRINTS = (blueprint,)

# The issuer keeps days, not instants, and not which of our tills or the operator's took a cheque: the bridge does, and
# is asked first.
_REDEMPTIONS = sa.text("""
    SELECT redemption.id AS redemption_id, redemption.id AS presentation_id, cheque_id, structure_id,
           cheque.value_cents AS amount_cents, 'till' AS via, CAST(NULL AS uuid) AS contract_id,
           redeemed_on AS given_on, CAST(redeemed_on AS timestamptz) AS redeemed_at, reversed_on IS NOT NULL AS reversed
    FROM redemption JOIN cheque ON cheque.id = cheque_id
    WHERE redeemed_on IS NOT NULL AND redemption.id > :after
    ORDER BY redemption.id LIMIT :limit
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
