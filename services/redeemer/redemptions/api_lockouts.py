"""Lock-outs for trying codes in vain, over HTTP."""

from uuid import UUID

from flask_smorest import Blueprint

from services.redeemer.redemptions import lockout
from services.redeemer.structures import structures
from shared.access.tokens import roles
from shared.audit import trail
from shared.http.request_context import transaction

blueprint = Blueprint("lockouts", __name__, url_prefix="/v1/structures", description="Who tried codes in vain.")


@blueprint.route("/<uuid:structure_id>/lockout", methods=["DELETE"])
@roles("admin", "operations")
@blueprint.response(204)
def end_lockout(structure_id: UUID) -> None:
    """End a structure's lock-out, once it was spoken to and it was not a thief who tried codes with its token."""
    with transaction() as session:
        structures.find(session, structure_id)
        until = lockout.lift(session, structure_id)
        if until:
            trail.record(session, "structure", [structure_id], before={"locked_out_until": until.isoformat()})
