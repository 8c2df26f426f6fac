"""Affiliations over HTTP."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.redeemer.structures import affiliations
from services.redeemer.structures.models import Affiliation
from shared.access.tokens import roles
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import transaction
from shared.problems import ProblemSchema

blueprint = Blueprint(
    "affiliations", __name__, url_prefix="/v1/affiliations", description="Who may redeem which programme's cheques."
)


class AffiliationRequest(Schema):
    """A structure, a contract, and a period of which both days count."""

    structure_id = fields.UUID(required=True)
    contract_id = fields.UUID(required=True)
    starts_on = fields.Date(required=True)
    ends_on = fields.Date(load_default=None, allow_none=True)


class AffiliationSchema(AffiliationRequest):
    """An affiliation as it stands."""

    affiliation_id = fields.UUID(required=True, attribute="id")


class AffiliationQuery(PageQuery):
    structure_id = fields.UUID(load_default=None)


@blueprint.route("", methods=["POST"])
@roles("admin")
@idempotent()
@blueprint.arguments(AffiliationRequest)
@blueprint.response(201, AffiliationSchema)
@blueprint.alt_response(409, schema=ProblemSchema, description="The structure is affiliated in that period already.")
def affiliate(body: dict[str, Any]) -> Affiliation:
    """Affiliate a structure to a contract for a period."""
    with transaction() as session:
        return affiliations.affiliate(session, **body)


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.arguments(AffiliationQuery, location="query")
@blueprint.response(200, page_of(AffiliationSchema))
def list_affiliations(query: dict[str, Any]) -> dict[str, Any]:
    """List affiliations, oldest first."""
    with transaction() as session:
        return affiliations.page(session, query)
