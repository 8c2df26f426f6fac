"""Switches over HTTP: beginning and watching them, accepting differences, and the claims on an operator that failed."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from werkzeug.wsgi import FileWrapper

from services.operator_bridge.register.models_switch import Switch
from services.operator_bridge.switching import claims, schemas, switchover
from services.operator_bridge.workers import wakeups
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_by, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, transaction
from shared.problems import ProblemSchema

blueprint = Blueprint("switches", __name__, url_prefix="/v1/switches", description="Switching operator.")


@blueprint.route("", methods=["POST"])
@roles("admin", "operations")
@idempotent()
@blueprint.arguments(schemas.NewSwitchSchema)
@blueprint.response(201, schemas.SwitchSchema)
@blueprint.alt_response(404, schema=ProblemSchema)
def start(body: dict[str, Any]) -> Switch:
    """Begins a switch. The same again answers it as it stands; a failure turns a handover into one."""
    with transaction() as session:
        switch = switchover.start(session, runtime().settings.operators, body, caller().subject)
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.switch", str(switch.switch_id))
    return switch


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(schemas.SwitchSchema))
def browse(query: dict[str, Any]) -> dict[str, Any]:
    """All switches, oldest first."""
    with transaction() as session:
        return page_by(session, Switch, query)


@blueprint.route("/<uuid:switch_id>")
@roles("admin", "finance", "operations")
@blueprint.response(200, schemas.WatchedSwitchSchema)
def show(switch_id: UUID) -> dict[str, Any]:
    """One switch: its steps with their figures, what it waits for, and its report when it is done."""
    with transaction() as session:
        return switchover.watch(session, switch_id)


@blueprint.route("/<uuid:switch_id>/acceptance", methods=["POST"])
@roles("admin", "operations")
@blueprint.arguments(schemas.AcceptanceSchema)
@blueprint.response(200, schemas.SwitchSchema)
@blueprint.alt_response(409, schema=ProblemSchema)
def accept(body: dict[str, str], switch_id: UUID) -> Switch:
    """Lets a switch cut over although something differs, with a person's note of why."""
    with transaction() as session:
        switch = switchover.accept(session, switch_id, body["note"])
        wakeups.wake_after_commit(session, runtime(), "operator_bridge.switch", str(switch_id))
    return switch


@blueprint.route("/<uuid:switch_id>/claims.csv")
@roles("admin", "finance", "operations")
@blueprint.response(200, content_type="text/csv")
@blueprint.alt_response(409, schema=ProblemSchema)
def claims_table(switch_id: UUID) -> Response:
    """What the operator that failed owes, a line per cheque; in French, streamed."""
    with transaction() as session:
        table = claims.table(session, switch_id)
    return _file(FileWrapper(table, 1 << 16), "text/csv; charset=utf-8", "creances.csv")


@blueprint.route("/<uuid:switch_id>/claims.pdf")
@roles("admin", "finance", "operations")
@blueprint.response(200, content_type="application/pdf")
@blueprint.alt_response(409, schema=ProblemSchema)
def claims_document(switch_id: UUID) -> Response:
    """What the operator that failed owes, as a document in French to print and send to its liquidator."""
    with transaction() as session:
        document = claims.letter(claims.summary(session, switch_id))
    return _file(document, "application/pdf", "creances.pdf")


def _file(content: Any, kind: str, name: str) -> Response:
    return Response(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
