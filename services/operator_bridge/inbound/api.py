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
from services.operator_bridge.interface import BadSignature, UnknownOperator
from services.operator_bridge.workers import wakeups
from shared.access.tokens import roles, uncounted
from shared.http.request_context import runtime
from shared.limiting import request_limits, slow_bodies
from shared.limiting.first_of_window import FirstOfWindow
from shared.observability.logs import logger
from shared.problems import NotFound, Problem, ProblemSchema, Unauthenticated
from shared.settings.settings import ConfigurationError

blueprint = Blueprint("operators", __name__, url_prefix="/v1/operators", description="The operators we can work with.")
polls = Blueprint("polls", __name__, url_prefix="/v1/contracts", description="Reading operators' statements now.")

_MAX_MESSAGE_BYTES = 256 * 1024
MAX_LINES = 5
"""Refusals of an operator that are logged in a minute, so that a flood of them is no flood of lines."""
_refusals = FirstOfWindow(MAX_LINES, 60.0)
_ABILITIES = (
    "own_till", "has_statement", "needs_codes", "supplies_codes", "activates", "by_status", "batch_size", "rate",
)  # fmt: skip
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
        withheld = _refusals.withheld(operator)
        if withheld is not None:
            facts = {"error": str(error), "sender": request.remote_addr}
            logger().warning("bad_signature", operator=operator, not_logged=withheld, **facts)
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
        "pays_structures": True,
        **{name: getattr(adapter, name) for name in _ABILITIES},
    }
