"""Notices over HTTP."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.issuer.fields import text
from services.issuer.notices import outbox
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_of
from shared.http.request_context import transaction

notice_views = Blueprint(
    "notices", __name__, url_prefix="/v1/notices", description="What somebody should be told, each once."
)
BLUEPRINTS = (notice_views,)


class NoticeSchema(Schema):
    notice_id = fields.UUID(required=True, attribute="id")
    kind = fields.Str(required=True)
    key = fields.Str(required=True, metadata={"description": "Of one kind and key there is one notice, ever."})
    subject_id = fields.UUID(
        required=True, allow_none=True, metadata={"description": "The grant, envelope or lot that it is about."}
    )
    prescriber_id = fields.UUID(required=True, allow_none=True, metadata={"description": "Whom it concerns."})
    body = fields.Dict(keys=fields.Str(), required=True)
    posted_at = fields.AwareDateTime(required=True)


class NoticeQuery(PageQuery):
    kind = text(60, load_default=None)
    subject_id = fields.UUID(load_default=None)


@notice_views.route("")
@roles("admin", "finance", "operations", own="prescriber")
@notice_views.arguments(NoticeQuery, location="query")
@notice_views.response(200, page_of(NoticeSchema))
def list_notices(query: dict[str, Any]) -> dict[str, Any]:
    """The notices, oldest first; to a prescriber, those that concern it."""
    with transaction() as session:
        return outbox.find_page(session, query, caller().scope)
