"""Contracts over HTTP: drafting, going live, planned stops, activating and adopting cheques."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint

from services.operator_bridge.contracts import activation, adoption, lifecycle, linking, schemas
from services.operator_bridge.contracts import hold as holding
from services.operator_bridge.orders import schemas as orders_schemas
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models import Contract
from services.operator_bridge.workers import wakeups
from shared.access.tokens import roles
from shared.audit import trail
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, transaction
from shared.problems import ProblemSchema

blueprint = Blueprint("contracts", __name__, url_prefix="/v1/contracts", description="Contracts with operators.")

# For so long a request links cheques itself; a worker goes on with what is left.
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
        return lifecycle.browse(session, query["after"], query["limit"])


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

    Those of a large programme are registered by a worker, portion by portion.
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
        return holding.hold(session, contract_id, body["reason"])


@blueprint.route("/<uuid:contract_id>/release", methods=["POST"])
@roles("admin", "operations")
@blueprint.response(200, schemas.ContractSchema)
def release(contract_id: UUID) -> Contract:
    """Ends a planned stop: what was held is sent."""
    with transaction() as session:
        contract = holding.release(session, contract_id)
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.push", str(contract_id))
    return contract


@blueprint.route("/<uuid:contract_id>/activations", methods=["POST"])
@roles("admin", "finance", "operations")
@idempotent()
@blueprint.arguments(schemas.ActivationSchema)
@blueprint.response(201, schemas.ActivatedSchema)
def activate(body: dict[str, Any], contract_id: UUID) -> dict[str, int]:
    """Has cheques activated by the number of the payment order that paid for them, where the operator needs it."""
    with transaction() as session:
        ordered = activation.activate(session, contract_id, body["payment_order"], body["cheque_ids"])
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.push", str(contract_id))
    return {"ordered": ordered}


@blueprint.route("/<uuid:contract_id>/adoptions", methods=["POST"])
@roles("admin", "operations")
@idempotent()
@blueprint.response(201, orders_schemas.AdoptedSchema)
def adopt(contract_id: UUID) -> dict[str, int]:
    """Has the contract take the cheques that an operator refused or gave up and no other has, and what is due."""
    with transaction() as session:
        adopted = adoption.adopt(session, contract_id)
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.push", str(contract_id))
    return {"adopted": adopted}


def _link(contract_id: UUID) -> None:
    """Links a programme for a while, as a worker would: in transactions that are no part of the request."""
    with trail.acting(trail.system("operator_bridge.link")):
        finished = linking.link(runtime(), contract_id, _LINK_SECONDS)
    if not finished:
        wakeups.wake(runtime(), "operator_bridge.link", str(contract_id))
