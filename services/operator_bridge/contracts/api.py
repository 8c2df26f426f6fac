"""Contracts over HTTP: drafting, going live, planned stops, activating and adopting cheques.

And what the bridge remembers of the redeemer's log, for a redeemer that was restored.
"""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint

from services.operator_bridge.contracts import lifecycle, linking, recovery, schemas
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models import Contract
from services.operator_bridge.workers import wakeups
from shared.access.tokens import roles
from shared.audit import trail
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, transaction, wait_for_others
from shared.limiting.request_limits import MIB, body_limit
from shared.problems import ProblemSchema
from shared.process.recovery import Query, RedemptionsRemembered

blueprint = Blueprint("contracts", __name__, url_prefix="/v1/contracts", description="Contracts with operators.")
recollections = Blueprint(
    "recollections",
    __name__,
    url_prefix="/v1/recollections",
    description="What is remembered here of another service, for one that was restored from a backup.",
)

# The time for which a request links cheques itself; a worker does the rest.
_LINK_SECONDS = 5.0


@blueprint.route("", methods=["POST"])
@roles("admin", "operations")
@idempotent()
@blueprint.arguments(schemas.NewContractSchema)
@blueprint.response(201, schemas.ContractSchema)
def create(body: dict[str, Any]) -> Contract:
    """Drafts a contract with an operator for a programme."""
    with transaction() as session:
        return lifecycle.create(session, body)


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(schemas.ContractSchema))
def browse(query: dict[str, Any]) -> dict[str, Any]:
    """All contracts, oldest first."""
    with transaction() as session:
        return lifecycle.browse(session, query)


@blueprint.route("/<uuid:contract_id>")
@roles("admin", "finance", "operations")
@blueprint.response(200, schemas.ContractSchema)
def show(contract_id: UUID) -> Contract:
    """One contract."""
    with transaction() as session:
        return contracts.find(session, contract_id)


@blueprint.route("/<uuid:contract_id>/state", methods=["POST"])
@roles("admin", "operations")
@blueprint.arguments(schemas.StateSchema)
@blueprint.response(200, schemas.ContractSchema)
@blueprint.alt_response(409, schema=ProblemSchema)
def change(body: dict[str, str], contract_id: UUID) -> Contract:
    """Takes a contract from draft to live, draining, ended or failed; going live registers its programme's cheques.

    Those of a large programme are registered by a worker, batch by batch.
    """
    with transaction() as session:
        contract = lifecycle.change(session, runtime().settings.operators, contract_id, body["state"])
    if contract.linking_after is not None:
        _link(contract_id)
    wakeups.wake(runtime(), "operator_bridge.push", str(contract_id))
    return contract


@blueprint.route("/<uuid:contract_id>/hold", methods=["POST"])
@roles("admin", "operations")
@blueprint.arguments(schemas.HoldSchema)
@blueprint.response(200, schemas.ContractSchema)
@blueprint.alt_response(409, schema=ProblemSchema)
def hold(body: dict[str, str], contract_id: UUID) -> Contract:
    """Stops sending to the operator until release; what it has to be told is kept, its messages are still heard."""
    with transaction() as session:
        return lifecycle.hold(session, contract_id, body["reason"])


@blueprint.route("/<uuid:contract_id>/release", methods=["POST"])
@roles("admin", "operations")
@blueprint.response(200, schemas.ContractSchema)
def release(contract_id: UUID) -> Contract:
    """Ends a planned stop: what was held is sent."""
    with transaction() as session:
        contract = lifecycle.release(session, contract_id)
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.push", str(contract_id))
    return contract


@blueprint.route("/<uuid:contract_id>/activations", methods=["POST"])
@roles("admin", "finance", "operations")
@body_limit(8 * MIB)
@idempotent()
@blueprint.arguments(schemas.ActivationSchema)
@blueprint.response(201, schemas.ActivatedSchema)
def activate(body: dict[str, Any], contract_id: UUID) -> dict[str, int]:
    """Activates cheques by the number of the payment order that paid for them, where the operator needs it."""
    with transaction() as session:
        ordered = linking.activate(session, contract_id, body["payment_order"], body["cheque_ids"])
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.push", str(contract_id))
    return {"ordered": ordered}


@blueprint.route("/<uuid:contract_id>/adoptions", methods=["POST"])
@roles("admin", "operations")
@idempotent()
@blueprint.response(201, schemas.AdoptedSchema)
def adopt(contract_id: UUID) -> dict[str, int]:
    """Adopts the cheques that an operator refused or gave up and no other has, with what is due on them."""
    wait_for_others()
    adopted = linking.adopt(runtime(), contract_id)
    with transaction() as session:
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.push", str(contract_id))
    return {"adopted": adopted}


@recollections.route("/redemptions")
@roles(service="redeemer")
@recollections.arguments(Query, location="query")
@recollections.response(200, RedemptionsRemembered)
def remember_redemptions(query: dict[str, UUID]) -> dict[str, Any]:
    """The redemptions that the redeemer published, by page; an empty page is the end."""
    with transaction() as session:
        return {"items": recovery.remembered_redemptions(session, query["after"])}


def _link(contract_id: UUID) -> None:
    """Links a programme for a while, as a worker would: in transactions that are no part of the request."""
    with trail.acting(trail.system("operator_bridge.link")):
        finished = linking.link(runtime(), contract_id, _LINK_SECONDS)
    if not finished:
        wakeups.wake(runtime(), "operator_bridge.link", str(contract_id))
