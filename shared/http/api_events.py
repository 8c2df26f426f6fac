"""The feed: a service's event log over HTTP, and how far behind this service is with those it reads."""

from typing import Any

import sqlalchemy as sa
from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from shared.access.tokens import roles
from shared.eventlog import consumer, log
from shared.http.request_context import runtime, transaction

blueprint = Blueprint(
    "events", __name__, url_prefix="/v1/events", description="The service's own log of what happened."
)

_LAG = sa.text("""
    SELECT publisher, count(*) AS events,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY lag) AS median_seconds,
           percentile_cont(0.99) WITHIN GROUP (ORDER BY lag) AS p99_seconds
    FROM (
        SELECT publisher, extract(epoch FROM applied_at - occurred_at) AS lag
        FROM applied_event WHERE applied_at > now() - make_interval(secs => :seconds)
    ) recent
    GROUP BY publisher ORDER BY publisher
""")


class FeedQuery(Schema):
    after = fields.Int(
        load_default=0, validate=validate.Range(min=0), metadata={"description": "A position: 0 is the start."}
    )
    limit = fields.Int(load_default=consumer.PAGE_SIZE, validate=validate.Range(1, 1000))


class EntrySchema(Schema):
    position = fields.Int(required=True)
    event_id = fields.UUID(required=True)
    kind = fields.Str(required=True)
    version = fields.Int(required=True)
    key = fields.Str(required=True)
    occurred_at = fields.AwareDateTime(required=True)
    request_id = fields.Str(allow_none=True)
    body = fields.Raw(required=True)


class FeedPage(Schema):
    epoch = fields.UUID(
        required=True, metadata={"description": "Changes when the log was restored: read it again from 0."}
    )
    head = fields.Int(required=True, metadata={"description": "The last position given."})
    events = fields.List(fields.Nested(EntrySchema), required=True)


class LagQuery(Schema):
    seconds = fields.Int(
        load_default=3600, validate=validate.Range(1, 7 * 86400), metadata={"description": "How far back."}
    )


class LagSchema(Schema):
    publisher = fields.Str(required=True)
    events = fields.Int(required=True)
    median_seconds = fields.Float(required=True)
    p99_seconds = fields.Float(required=True)


class CursorSchema(Schema):
    publisher = fields.Str(required=True)
    epoch = fields.UUID(required=True)
    position = fields.Int(required=True)


class CursorsSchema(Schema):
    head = fields.Int(required=True, metadata={"description": "The last position of this service's own log."})
    cursors = fields.List(fields.Nested(CursorSchema), required=True)
    lag = fields.List(fields.Nested(LagSchema), required=True)


@blueprint.route("")
@roles("service")
@blueprint.arguments(FeedQuery, location="query")
@blueprint.response(200, FeedPage)
def read_feed(query: dict[str, int]) -> Response:
    """The entries after a position, oldest first."""
    page = log.page(runtime().engine, query["after"], query["limit"])
    return Response(page.json(), mimetype="application/json")


@blueprint.route("/reading")
@roles("admin", "operations", "service")
@blueprint.arguments(LagQuery, location="query")
@blueprint.response(200, CursorsSchema)
def read_cursors(query: dict[str, int]) -> dict[str, Any]:
    """How far this service has read the others' logs, and the seconds from an event's happening to its effect here."""
    head = log.page(runtime().engine, 0, 1).head
    with transaction() as session:
        cursors = session.execute(sa.select(consumer.CURSOR).order_by(consumer.CURSOR.c.publisher)).all()
        lag = session.execute(_LAG, query).all()
    return {"head": head, "cursors": cursors, "lag": lag}
