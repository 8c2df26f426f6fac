"""Grants over HTTP, by the thousand."""

import hashlib
import threading
from typing import Any

from flask import request
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields

from services.issuer.grants import bulk, bulk_csv
from services.issuer.grants.bulk import Line
from services.issuer.grants.bulk_csv import Raw
from services.issuer.grants.issuing import Secrets
from services.issuer.grants.schemas import GrantOrderSchema, grant_request
from shared.access.tokens import caller, roles
from shared.files.file_import import IMPORT_OPTIONS, ImportOptions, ImportOptionsQuery
from shared.http import idempotency
from shared.http.request_context import runtime, wait_for_others
from shared.limiting.request_limits import MIB, body_limit
from shared.problems import Invalid, Problem, Unavailable

blueprint = Blueprint("bulk grants", __name__, url_prefix="/v1/grants/bulk", description="Many grants at once.")
BLUEPRINTS = (blueprint,)

# Every bulk request uses two connections of the pool: its own, and the one of the current batch.
_SLOTS = threading.BoundedSemaphore(2)


class AnswerSchema(Schema):
    """The result of a line: a grant, or a problem."""

    line = fields.Int(required=True, metadata={"description": "CSV: the file's line. JSON: 1 is the first."})
    grant_id = fields.Str(metadata={"format": "uuid", "description": "On trial a new grant has none."})
    amount_cents = fields.Int()
    already = fields.Bool(metadata={"description": "Granted before, under the same reference."})
    problem = fields.Dict(metadata={"description": "RFC 9457 problem details, as a single grant would get."})


class AnswersSchema(Schema):
    """The results of all lines."""

    already_imported_at = fields.Str(
        required=True,
        allow_none=True,
        metadata={"format": "date-time", "description": "When the very same file was sent before."},
    )
    accepted = fields.Int(required=True)
    refused = fields.Int(required=True)
    amount_cents = fields.Int(required=True, metadata={"description": "What is granted that was not before."})
    lines = fields.List(fields.Nested(AnswerSchema), required=True)


_LINE = GrantOrderSchema()
_BODY = {
    "requestBody": {
        "required": True,
        "description": (
            f"At most {bulk_csv.MAX_LINES} grants, {bulk.MAX_ALL_OR_NOTHING} where they are to be all or nothing."
            f" CSV columns: {', '.join(bulk_csv.COLUMNS)}, answer.<question>."
        ),
        "content": {
            "application/json": {
                "schema": {"type": "array", "maxItems": bulk_csv.MAX_LINES, "items": GrantOrderSchema}
            },
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}


@blueprint.route("", methods=["POST"])
@roles("admin", own="prescriber")
@body_limit(16 * MIB)
@idempotency.idempotent(trials=True)
@blueprint.doc(**_BODY)
@blueprint.arguments(ImportOptionsQuery, **IMPORT_OPTIONS)
@blueprint.response(200, AnswersSchema)
def create_grants(options: ImportOptions) -> dict[str, Any]:
    """Grant many: each line is answered, the good ones go in, in their order; or all of them, or none.

    A line is granted once: by its own `reference`, or by the request's Idempotency-Key and the line's number. So the
    same file sent again does no harm, and is noticed. `dry_run=true` says what would become of each line without any
    effect. Codes are not in the answer: see `/v1/grants/{grant_id}/codes`.
    """
    is_csv = request.mimetype == "text/csv"
    rows = bulk_csv.of_csv(request.get_data()) if is_csv else bulk_csv.of_json(request.get_json())
    lines = [_line(number, raw) for number, raw in rows]
    if not _SLOTS.acquire(blocking=False):
        raise Unavailable("Other bulk grants are in hand. Nothing was done.", headers={"Retry-After": "5"})
    try:
        wait_for_others()
        secrets = Secrets.of(runtime().settings.keys)
        return bulk.grant_lines(runtime().transaction, secrets, lines, _origin(), _digest(), options).payload()
    finally:
        _SLOTS.release()


def _line(number: int, raw: Raw) -> Line:
    if isinstance(raw, Problem):
        return Line(number, raw)
    try:
        return Line(number, grant_request(_LINE.load(raw), caller()))
    except ValidationError as error:
        return Line(number, Invalid("Some fields are not valid: see `errors`.", errors=error.messages_dict))
    except Problem as problem:
        return Line(number, problem)


def _origin() -> str | None:
    """The digest of this caller's request, the same for every repeat; None without an Idempotency-Key."""
    key = idempotency.key()
    if key is None:
        return None
    # Without the query: a trial and the real thing are one request.
    request_digest = idempotency.request_digest(f"{request.path}?")
    return hashlib.sha256(f"{caller()} {key} ".encode() + request_digest).hexdigest()


def _digest() -> str:
    """The digest of the file, by which it is recognised when the same prescriber, or the team, sends it again."""
    return idempotency.request_digest(f"grants of {caller().scope}").hex()
