"""Grants over HTTP, by the thousand."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from flask import request
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields

from services.issuer import bulk, bulk_lines
from services.issuer.api_grants import order, secrets
from services.issuer.bulk import Answer, Line
from services.issuer.bulk_lines import Raw
from services.issuer.issuing import Granted
from services.issuer.schemas import OrderSchema
from shared import idempotency
from shared.app import ProblemSchema
from shared.auth import Caller, caller, roles
from shared.problems import Invalid, Problem, Unavailable
from shared.web import runtime

blueprint = Blueprint("bulk grants", __name__, url_prefix="/v1/grants/bulk", description="Many grants at once.")
BLUEPRINTS = (blueprint,)

# Each holds two connections of the pool: the request's, and the one of the portion in hand.
_AT_ONCE = threading.BoundedSemaphore(2)


class LineSchema(OrderSchema):
    """A line: a grant, and for whom an admin makes it."""

    prescriber_id = fields.UUID(metadata={"description": "Required of an admin; a prescriber grants for itself."})


class AnswerSchema(Schema):
    """What became of a line: a grant, or a problem."""

    line = fields.Int(required=True, metadata={"description": "CSV: the file's line. JSON: 1 is the first."})
    grant_id = fields.UUID()
    already = fields.Bool(metadata={"description": "Granted before, under the same reference."})
    problem = fields.Dict(metadata={"description": "RFC 9457 problem details, as a single grant would get."})


class AnswersSchema(Schema):
    """What became of all lines."""

    accepted = fields.Int(required=True)
    refused = fields.Int(required=True)
    lines = fields.List(fields.Nested(AnswerSchema), required=True)


_LINE = LineSchema()
_COLUMNS = f"{', '.join(bulk_lines.COLUMNS)}, answer.<question>"
_BODY = {
    "requestBody": {
        "required": True,
        "description": f"At most {bulk_lines.MOST_LINES} grants. CSV columns: {_COLUMNS}.",
        "content": {
            "application/json": {"schema": {"type": "array", "items": LineSchema}},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}


@blueprint.route("", methods=["POST"])
@roles("prescriber", "admin")
@idempotency.idempotent()
@blueprint.doc(**_BODY)
@blueprint.response(200, AnswersSchema)
@blueprint.alt_response(422, schema=ProblemSchema)
@blueprint.alt_response(503, schema=ProblemSchema)
def create_grants() -> dict[str, Any]:
    """Grant many: each line is answered, the good ones go in, in their order.

    A line is granted once: by its own `reference`, or by the request's Idempotency-Key and the line's number. So the
    same file sent again does no harm. Codes are not in the answer: see `/v1/grants/{grant_id}/codes`.
    """
    is_csv = request.mimetype == "text/csv"
    given = bulk_lines.of_csv(request.get_data()) if is_csv else bulk_lines.of_json(request.get_json())
    lines = [_line(number, raw, caller()) for number, raw in given]
    with _turn():
        answers = bulk.grant_lines(runtime().transaction, secrets(), lines, _origin())
    shown = [_shown(answer) for answer in answers]
    refused = sum("problem" in line for line in shown)
    return {"accepted": len(shown) - refused, "refused": refused, "lines": shown}


def _line(number: int, raw: Raw, who: Caller) -> Line:
    if isinstance(raw, Problem):
        return Line(number, raw)
    try:
        body = _LINE.load(raw)
        return Line(number, order(body, _prescriber(body.pop("prescriber_id", None), who)))
    except ValidationError as error:
        return Line(number, _invalid(error.messages_dict))
    except Problem as problem:
        return Line(number, problem)


def _prescriber(named: UUID | None, who: Caller) -> UUID:
    prescriber_id = named or who.scope
    if prescriber_id is None:
        raise _invalid({"prescriber_id": ["Say which prescriber grants."]})
    if who.scope not in (None, prescriber_id):
        raise _invalid({"prescriber_id": ["A prescriber grants for itself only."]})
    return prescriber_id


def _invalid(errors: dict[str, Any]) -> Invalid:
    return Invalid("Some fields are not valid: see `errors`.", errors=errors)


def _origin() -> str | None:
    """Names this very request of this caller, whenever it is repeated; None where it has no key."""
    key = idempotency.key()
    if key is None:
        return None
    return hashlib.sha256(f"{caller()} {key} ".encode() + idempotency.request_digest()).hexdigest()


@contextmanager
def _turn() -> Iterator[None]:
    if not _AT_ONCE.acquire(blocking=False):
        raise Unavailable("Other bulk grants are in hand. Nothing was done.", headers={"Retry-After": "5"})
    try:
        yield
    finally:
        _AT_ONCE.release()


def _shown(answer: Answer) -> dict[str, Any]:
    outcome = answer.outcome
    if isinstance(outcome, Granted):
        return {"line": answer.number, "grant_id": outcome.grant.id, "already": outcome.already}
    return {"line": answer.number, "problem": outcome.body()}
