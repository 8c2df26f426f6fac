"""Checking a cheque over HTTP."""

from typing import Any

from flask import request
from flask_smorest import Blueprint

from services.redeemer.redemptions import checking, eligibility
from services.redeemer.redemptions.lockout import Guesser
from services.redeemer.redemptions.schemas import CheckAnswer, CheckRequest
from shared.access.tokens import caller, roles
from shared.http.request_context import runtime
from shared.limiting.client_address import client_network
from shared.problems import ProblemSchema

blueprint = Blueprint("checks", __name__, url_prefix="/v1/checks", description="What a cheque is good for.")


@blueprint.route("", methods=["POST"])
@roles(own="structure")
@blueprint.arguments(CheckRequest)
@blueprint.response(200, CheckAnswer)
@blueprint.alt_response(429, schema=ProblemSchema, description="Too many unknown codes were tried.")
def check(body: dict[str, Any]) -> dict[str, Any]:
    """Say whether a cheque could be redeemed here, and why not, without any effect on it."""
    code = body.pop("code")
    guesser = Guesser(caller().own, client_network(request.remote_addr))
    return checking.check(runtime(), guesser, code, eligibility.workshop(**body))
