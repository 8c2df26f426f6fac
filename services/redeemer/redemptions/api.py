"""Redemptions over HTTP: cheques checked and redeemed, redemptions listed and reversed, lock-outs ended."""

from typing import Any
from uuid import UUID

from flask import request
from flask_smorest import Blueprint
from marshmallow import fields, validate

from services.redeemer.fields import ReasonSchema
from services.redeemer.redemptions import eligibility, lockout, redeeming, reversing
from services.redeemer.redemptions.lockout import Guesser
from services.redeemer.redemptions.models import Redemption
from services.redeemer.redemptions.schemas import (
    CheckAnswer,
    CheckRequest,
    PresentationSchema,
    RedemptionRequest,
    RedemptionSchema,
)
from services.redeemer.structures import structures
from services.redeemer.transitions import REDEMPTION
from shared.access.tokens import caller, roles
from shared.audit import trail
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import HEADER, request_digests, required_key
from shared.http.request_context import runtime, transaction
from shared.limiting.client_address import client_network
from shared.limiting.request_limits import KIB, body_limit
from shared.problems import ProblemSchema

blueprint = Blueprint("redemptions", __name__, url_prefix="/v1/redemptions", description="Cheques spent.")
checks = Blueprint("checks", __name__, url_prefix="/v1/checks", description="What a cheque is good for.")
lockouts = Blueprint("lockouts", __name__, url_prefix="/v1/structures", description="Who tried codes in vain.")
BLUEPRINTS = (blueprint, checks, lockouts)

_KEY = {
    "parameters": [{"in": "header", "name": HEADER, "required": True, "schema": {"type": "string", "maxLength": 200}}]
}


class RefusalSchema(ProblemSchema):
    """Which of the cheques presented could not be taken, by their place among the codes, and why."""

    refusals = fields.List(fields.Dict())


class RedemptionQuery(PageQuery):
    state = fields.Str(load_default=None, validate=validate.OneOf(tuple(REDEMPTION)))
    structure_id = fields.UUID(load_default=None)


@blueprint.route("", methods=["POST"])
@roles(own="structure")
@body_limit(32 * KIB)
@blueprint.doc(**_KEY)
@blueprint.arguments(RedemptionRequest())
@blueprint.response(201, PresentationSchema)
@blueprint.alt_response(409, schema=RefusalSchema, description="A cheque cannot be taken: none was.")
@blueprint.alt_response(429, schema=ProblemSchema, description="Too many unknown codes were tried.")
def redeem(body: dict[str, Any]) -> dict[str, Any]:
    """Redeem cheques, all of them or none. Send the same Idempotency-Key again to be told the same answer again."""
    key, typed = required_key(), eligibility.read(body.pop("codes"))
    digest, *former = request_digests()
    presented = redeeming.Request(_guesser(), key, digest, typed, eligibility.workshop(**body), former)
    return redeeming.redeem(runtime(), presented)


@blueprint.route("")
@roles("admin", "finance", "operations", own="structure")
@blueprint.arguments(RedemptionQuery, location="query")
@blueprint.response(200, page_of(RedemptionSchema))
def list_redemptions(query: dict[str, Any]) -> dict[str, Any]:
    """List redemptions, those reversed included; a structure sees its own."""
    with transaction() as session:
        return reversing.page(session, query | {"structure_id": caller().scope or query["structure_id"]})


@blueprint.route("/<uuid:redemption_id>")
@roles("admin", "finance", "operations", own="structure")
@blueprint.response(200, RedemptionSchema)
def show_redemption(redemption_id: UUID) -> Redemption:
    """Show a redemption; to a structure, one of its own."""
    with transaction() as session:
        return _own(reversing.find(session, redemption_id))


@blueprint.route("/<uuid:redemption_id>/reversal", methods=["POST"])
@roles("admin", own="structure")
@blueprint.arguments(ReasonSchema)
@blueprint.response(200, RedemptionSchema)
@blueprint.alt_response(409, schema=ProblemSchema, description="It stands on a statement, or is paid.")
def reverse_redemption(body: dict[str, str], redemption_id: UUID) -> Redemption:
    """Take a redemption back: its cheque can be spent again. Taking it back twice changes nothing more."""
    with transaction() as session:
        _own(reversing.find(session, redemption_id))
        return reversing.reverse(session, redemption_id, body["reason"])


@checks.route("", methods=["POST"])
@roles(own="structure")
@body_limit(32 * KIB)
@checks.arguments(CheckRequest)
@checks.response(200, CheckAnswer)
@checks.alt_response(429, schema=ProblemSchema, description="Too many unknown codes were tried.")
def check(body: dict[str, Any]) -> dict[str, Any]:
    """Say whether a cheque could be redeemed here, and why not, without any effect on it."""
    code = body.pop("code")
    return eligibility.check(runtime(), _guesser(), code, eligibility.workshop(**body))


@lockouts.route("/<uuid:structure_id>/lockout", methods=["DELETE"])
@roles("admin", "operations")
@lockouts.response(204)
def end_lockout(structure_id: UUID) -> None:
    """End a structure's lock-out, once it was spoken to and it was not a thief who tried codes with its token."""
    with transaction() as session:
        structures.find(session, structure_id)
        until = lockout.lift(session, structure_id)
        if until:
            trail.record(session, "structure", [structure_id], before={"locked_out_until": until.isoformat()})


def _own(redemption: Redemption) -> Redemption:
    caller().require(redemption.structure_id)
    return redemption


def _guesser() -> Guesser:
    return Guesser(caller().own, client_network(request.remote_addr))
