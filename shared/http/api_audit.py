"""The audit trail over HTTP: every request says who acts, and those who may read it back."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from http import HTTPStatus
from typing import Any

import sqlalchemy as sa
from flask import Flask, Response, g, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate
from sqlalchemy.exc import SQLAlchemyError

from shared.access.tokens import Caller, Role, roles
from shared.audit import hash_chain, trail
from shared.audit.trail import ENTRY, Act
from shared.files.csv_export import CSV_ANSWER, FormatQuery, line
from shared.http.api_access import ONE_LINE
from shared.http.request_context import csv_file, runtime, transaction
from shared.observability.logs import logger
from shared.values import clock

blueprint = Blueprint(
    "audit", __name__, url_prefix="/v1/audit", description="Who did what, when, from where, on which object."
)

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# The refusals of an authenticated caller that are recorded; bad input is none of them.
_RECORDED = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
# A refusal at a till is an everyday matter, and the lock-out counts guesses.
_EVERYDAY = frozenset({"/v1/redemptions", "/v1/checks"})
_BATCH_SIZE = 500
_MAX_LENGTH = 200


def _filter(longest: int) -> fields.Str:
    return fields.Str(load_default=None, validate=[validate.Length(max=longest), ONE_LINE])


class AuditQuery(Schema):
    """Filters of entries; the days are of Paris, both included."""

    object_kind, object_id, subject = _filter(100), _filter(100), _filter(200)
    role = fields.Str(load_default=None, validate=validate.OneOf([*Role, "system", "database", "nobody"]))
    scope = fields.UUID(load_default=None)
    request_id = _filter(64)
    outcome = fields.Str(load_default=None, validate=validate.OneOf((trail.DONE, trail.REFUSED)))
    since = fields.Date(load_default=None, data_key="from")
    until = fields.Date(load_default=None, data_key="to")


class AuditPageQuery(AuditQuery):
    after = fields.Int(
        load_default=0, validate=validate.Range(0, 2**63 - 1), metadata={"description": "`next` of the page before."}
    )
    limit = fields.Int(load_default=100, validate=validate.Range(1, 500))


class AuditFileQuery(AuditQuery, FormatQuery):
    pass


class AuditEntrySchema(Schema):
    """One entry; `…` stands for a value that changed and is not written down."""

    position = fields.Int(required=True)
    hash = fields.Function(lambda row: bytes(row.hash).hex(), metadata={"type": "string"}, required=True)
    occurred_at = fields.AwareDateTime(required=True)
    role = fields.Str(
        required=True, metadata={"description": "As of tokens; `system`: a task; `database`: somebody by hand."}
    )
    scope = fields.UUID(required=True, allow_none=True)
    subject = fields.Str(required=True)
    address = fields.Str(required=True, allow_none=True)
    request_id = fields.Str(required=True, allow_none=True)
    action = fields.Str(required=True)
    object_kind = fields.Str(required=True, allow_none=True)
    object_id = fields.Str(required=True, allow_none=True)
    before = fields.Dict(required=True, allow_none=True)
    after = fields.Dict(required=True, allow_none=True)
    outcome = fields.Str(required=True)


class AuditPage(Schema):
    items = fields.List(fields.Nested(AuditEntrySchema), required=True)
    next = fields.Int(required=True, allow_none=True)


@blueprint.route("")
@roles("admin")
@blueprint.arguments(AuditPageQuery, location="query")
@blueprint.response(200, AuditPage)
def list_entries(query: dict[str, Any]) -> dict[str, Any]:
    """List what was done, oldest first."""
    hash_chain.chain(runtime().engine, runtime().settings.service)
    with transaction() as session:
        found = session.execute(_select(query, query["after"], query["limit"] + 1)).all()
    items = found[: query["limit"]]
    return {"items": items, "next": items[-1].position if len(found) > len(items) else None}


@blueprint.route("/export")
@roles("admin")
@blueprint.doc(responses={"200": CSV_ANSWER})
@blueprint.arguments(AuditFileQuery, location="query")
@blueprint.response(200)
def export_entries(query: dict[str, Any]) -> Response:
    """The same as CSV, with the hash of each entry."""
    hash_chain.chain(runtime().engine, runtime().settings.service)
    return csv_file("audit", _lines(runtime().engine, query))


def _lines(engine: sa.Engine, query: Mapping[str, Any]) -> Iterator[str]:
    names = [*AuditEntrySchema().fields]
    separator = query["separator"]
    yield ("" if separator == "," else "\ufeff") + line(names, separator)
    position = 0
    while True:
        with engine.connect() as connection:
            rows = connection.execute(_select(query, position, _BATCH_SIZE)).mappings().all()
        entries = [row | {"hash": bytes(row["hash"]).hex()} for row in map(dict, rows)]
        yield "".join(line([entry[name] for name in names], separator) for entry in entries)
        if len(rows) < _BATCH_SIZE:
            return
        position = rows[-1]["position"]


def _select(query: Mapping[str, Any], after: int, limit: int) -> sa.Select[Any]:
    same = ("object_kind", "object_id", "subject", "role", "scope", "request_id", "outcome")
    found = sa.select(ENTRY).where(ENTRY.c.position > after).order_by(ENTRY.c.position).limit(limit)
    found = found.where(*(ENTRY.c[name] == query[name] for name in same if query[name] is not None))
    if query["since"]:
        found = found.where(ENTRY.c.occurred_at >= _midnight(query["since"], 0))
    if query["until"]:
        found = found.where(ENTRY.c.occurred_at < _midnight(query["until"], 1))
    return found


def _midnight(day: date, later: int) -> sa.ColumnElement[datetime]:
    """The instant at which a day in Paris begins, `later` days after this; PostgreSQL's days have no last one."""
    first = sa.cast(sa.cast(day, sa.Date) + later, sa.DateTime)
    return sa.func.timezone(clock.PARIS.key, first)


def watch_requests(app: Flask) -> None:
    """Names for each request who acts, and records what an authenticated caller was refused."""

    @app.before_request
    def begin() -> None:
        trail.begin(_act)

    @app.after_request
    def record_refusal(response: Response) -> Response:
        refused = response.status_code in _RECORDED and "caller" in g
        if refused and request.method not in _READING and str(request.url_rule) not in _EVERYDAY:
            _record_refusal(response)
        return response

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        trail.end()


def _record_refusal(response: Response) -> None:
    """In a transaction of its own, as the refused one was rolled back with its entries."""
    act = _act()
    problem = response.get_json(silent=True) or {}
    facts = {"problem": str(problem.get("type", "")).removeprefix("urn:souche:"), "status": response.status_code}
    try:
        with runtime().transaction() as session:
            trail.record(session, act.object_kind, [act.object_id], after=facts, outcome=trail.REFUSED)
    except SQLAlchemyError as error:
        logger().error("refusal_not_recorded", error=type(error).__name__)


def _act() -> Act:
    caller: Caller | None = g.get("caller")
    # The first object in the address, `grant` for `<uuid:grant_id>`; where there is none, the blueprint.
    name, value = next(iter((request.view_args or {}).items()), (request.blueprint, None))
    return Act(
        role=caller.role.value if caller else "nobody",
        subject=_fit(caller.subject) if caller else "-",
        action=f"{request.method} {request.url_rule}",
        scope=caller.scope if caller else None,
        address=request.remote_addr,
        request_id=g.get("request_id"),
        object_kind=name and name.removesuffix("_id"),
        object_id=None if value is None else _fit(str(value)),
        changes=request.method not in _READING,
        # What strangers send is kept as it came, or only counted.
        of_request=caller is not None and str(request.url_rule) not in _EVERYDAY,
    )


def _fit(text: str) -> str:
    """A text that others chose, as PostgreSQL can store it."""
    return text[:_MAX_LENGTH].encode("utf-8", "replace").decode().replace("\0", "?")
