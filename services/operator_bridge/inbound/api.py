"""Operators over HTTP: what they support, the route for their messages, and reading a statement now."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import request
from flask.typing import ResponseReturnValue
from flask_smorest import Blueprint

from services.operator_bridge import interface
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.inbound import schemas, statement_polling, webhook_inbox
from services.operator_bridge.inbound.log_throttle import RefusalLog
from services.operator_bridge.interface import BadSignature, UnknownOperator
from services.operator_bridge.register import contracts
from services.operator_bridge.workers import wakeups
from shared.access.tokens import roles, uncounted
from shared.http.request_context import runtime, transaction
from shared.limiting import request_limits, slow_bodies
from shared.problems import NotFound, Problem, ProblemSchema, Unauthenticated
from shared.settings.settings import ConfigurationError

blueprint = Blueprint("operators", __name__, url_prefix="/v1/operators", description="The operators we can work with.")
polls = Blueprint("polls", __name__, url_prefix="/v1/contracts", description="Reading operators' statements now.")

_MAX_MESSAGE_BYTES = 256 * 1024
_refusals = RefusalLog()
_MESSAGE = {
    "requestBody": {
        "required": True,
        "description": "A message of the operator, in its own words, with the headers that sign it.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class TooLarge(Problem):
    """A message is longer than any that an operator has reason to send."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    slug = "message-too-large"
    title = "The message is too large"


class NotJson(Problem):
    """Operators send JSON and nothing else."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    slug = "unsupported-media-type"
    title = "The message is of another type"


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.response(200, schemas.OperatorSchema(many=True))
def browse() -> list[dict[str, Any]]:
    """What each operator can do, and whether it is configured here."""
    return [_describe(code) for code in lookup.codes()]


# Public: an operator has no token of ours. Its signature on the raw bytes takes the place of a token, and nothing is
# stored or read before it is verified.
@blueprint.route("/<operator>/webhooks", methods=["POST"])
@uncounted
@blueprint.doc(**_MESSAGE)
@blueprint.response(202)
@blueprint.alt_response(401, schema=ProblemSchema)
def receive(operator: str) -> ResponseReturnValue:
    """Takes a signed message of an operator: stored as it came, answered at once, applied by a worker.

    Nothing is counted against who signs wrongly: that costs a digest and nothing else, and shutting the door to an
    address would let anybody behind the same proxy shut out the operator.
    """
    request_limits.check_encoding()
    if (request.content_length or _MAX_MESSAGE_BYTES + 1) > _MAX_MESSAGE_BYTES:
        raise TooLarge(f"A message has a Content-Length, of at most {_MAX_MESSAGE_BYTES} bytes.")
    if request.mimetype and not request.is_json:
        raise NotJson("A message is application/json.")
    try:
        webhook_inbox.check_door(runtime().settings.operators, operator)
        body = slow_bodies.read(slow_bodies.STRANGERS)
        webhook_inbox.receive(runtime(), operator, dict(request.headers), body)
    except (UnknownOperator, ConfigurationError):
        raise NotFound("There is no such operator here.") from None
    except BadSignature as error:
        _refusals.log(operator, error=str(error), sender=request.remote_addr)
        raise Unauthenticated("The message is not signed as it should be.", slug="bad-signature") from None
    return {"status": "accepted"}, 202


@polls.route("/<uuid:contract_id>/polls", methods=["POST"])
@roles("admin", "operations")
@polls.response(200, schemas.PollSchema)
def poll(contract_id: UUID) -> statement_polling.Poll:
    """Reads the operator's statement now, applies what we missed and settles what is unknown.

    Answers 503 where the operator does not give it whole (`operator-unavailable`) or a worker reads it at this moment
    (`statement-being-read`).
    """
    with transaction() as session:
        contracts.find(session, contract_id)
    done = statement_polling.poll(runtime(), contract_id)
    wakeups.wake(runtime(), "operator_bridge.push", str(contract_id))
    return done


def _describe(code: str) -> dict[str, Any]:
    adapter = lookup.adapter(code)
    return {
        "code": code,
        "name": adapter.name or code,
        "configured": lookup.is_configured(code, runtime().settings.operators),
        "takes": [kind for kind in interface.KINDS if kind in adapter.supported_orders],
        "own_till": adapter.own_till,
        "pays_structures": True,
        "has_statement": adapter.has_statement,
        "needs_codes": adapter.needs_codes,
        "supplies_codes": adapter.supplies_codes,
        "activates": adapter.activates,
        "by_status": adapter.by_status,
        "batch_size": adapter.batch_size,
        "rate": adapter.rate,
    }
