"""The audit trail over HTTP: every request says who acts, and those who may read it back."""

from collections.abc import Mapping
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
from shared.http import service
from shared.http.api_access import ONE_LINE
from shared.http.request_context import csv_file, runtime, transaction
from shared.observability.logs import logger
from shared.process.runtime import Runtime
from shared.values import clock

blueprint = Blueprint(
    "audit", __name__, url_prefix="/v1/audit", description="Who did what, when, from where, on which object."
)

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# What a caller who is known was refused and should be able to be asked about; bad input is none of it.
_TOLD = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
# A refusal at a till is an everyday matter, and those who guess are counted where guesses are.
_EVERYDAY = frozenset({"/v1/redemptions", "/v1/checks"})
_PART = 500
_LONGEST = 200


class AuditQuery(Schema):
    """Which entries: of an object, of whoever acted, of days in Paris (both included)."""

    object_kind = fields.Str(load_default=None, validate=[validate.Length(max=100), ONE_LINE])
    object_id = fields.Str(load_default=None, validate=[validate.Length(max=100), ONE_LINE])
    subject = fields.Str(load_default=None, validate=[validate.Length(max=200), ONE_LINE])
    role = fields.Str(load_default=None, validate=validate.OneOf([*Role, "system", "database", "nobody"]))
    scope = fields.UUID(load_default=None)
    request_id = fields.Str(load_default=None, validate=[validate.Length(max=64), ONE_LINE])
    outcome = fields.Str(load_default=None, validate=validate.OneOf((trail.DONE, trail.REFUSED)))
    since = fields.Date(load_default=None, data_key="from")
    until = fields.Date(load_default=None, data_key="to")


class AuditPageQuery(AuditQuery):
    after = fields.Int(
        load_default=0, validate=validate.Range(0, 2**63 - 1), metadata={"description": "`next` of the page before."}
    )
    limit = fields.Int(load_default=100, validate=validate.Range(1, 500))


class AuditFileQuery(AuditQuery, FormatQuery):
    """Which entries, and how the file is written."""


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
    """Some entries, oldest first."""

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
    return csv_file("audit", _lines(runtime(), query))


def _lines(of: Runtime, query: Mapping[str, Any]) -> Any:
    names = [*AuditEntrySchema().fields]
    separator = query["separator"]
    yield ("" if separator == "," else "\ufeff") + line(names, separator)
    position = 0
    while True:
        with of.engine.connect() as connection:
            rows = connection.execute(_select(query, position, _PART)).mappings().all()
        told = [{**row, "hash": bytes(row["hash"]).hex()} for row in rows]
        yield "".join(line([row[name] for name in names], separator) for row in told)
        if len(rows) < _PART:
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
    """The instant at which a day in Paris begins, or one so many days later; PostgreSQL's days have no last one."""
    first = sa.cast(sa.cast(day, sa.Date) + later, sa.DateTime)
    return sa.func.timezone(clock.PARIS.key, first)


def watch_requests(app: Flask) -> None:
    """Says of every request who acts, and records what a known caller was refused."""

    @app.before_request
    def begin() -> None:
        trail.begin(_act)

    @app.after_request
    def tell_refusal(response: Response) -> Response:
        refused = response.status_code in _TOLD and "caller" in g
        if refused and request.method not in _READING and str(request.url_rule) not in _EVERYDAY:
            _record_refusal(service.of(app).runtime, response)
        return response

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        trail.end()


def _record_refusal(of: Runtime, response: Response) -> None:
    """The refused transaction took its entries back with it, so this one is of a transaction of its own."""
    act = _act()
    problem = response.get_json(silent=True) or {}
    said = {"problem": str(problem.get("type", "")).removeprefix("urn:souche:"), "status": response.status_code}
    try:
        with of.transaction() as session:
            trail.record(session, act.object_kind, [act.object_id], after=said, outcome=trail.REFUSED)
    except SQLAlchemyError as error:
        logger().error("refusal_not_recorded", error=type(error).__name__)


def _act() -> Act:
    caller: Caller | None = g.get("caller")
    kind, identifier = _object(request.blueprint, request.view_args or {})
    return Act(
        role=caller.role.value if caller else "nobody",
        subject=_fit(caller.subject) if caller else "-",
        action=f"{request.method} {request.url_rule}",
        scope=caller.scope if caller else None,
        address=request.remote_addr,
        request_id=g.get("request_id"),
        object_kind=kind,
        object_id=identifier,
        changes=request.method not in _READING,
        # What nobody in particular sends is kept as it came, or only counted.
        of_request=caller is not None and str(request.url_rule) not in _EVERYDAY,
    )


def _object(area: str | None, given: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The object that the address names, `grant` for `<uuid:grant_id>`; where it names none, what it is about."""
    for name, value in given.items():
        return name.removesuffix("_id"), _fit(str(value))
    return area, None


def _fit(text: str) -> str:
    """A text that others chose, as PostgreSQL can keep it."""
    return text[:_LONGEST].encode("utf-8", "replace").decode().replace("\0", "?")
