"""Cancelling at the issuer's request: what is not spent and not over is cancelled, the rest is refused with why."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.redeemer import transitions
from services.redeemer.transitions import CHEQUE
from shared.eventlog import log
from shared.eventlog.event_kinds import CancellationRequested
from shared.values import clock

_REASONS = {"redeemed": "already-redeemed"}


def cancel(session: Session, requests: Sequence[CancellationRequested]) -> None:
    """Answers `cancellation.requested` events, by their bodies, in their order, each with what was done."""
    states = transitions.lock(session, {cheque_id for request in requests for cheque_id in request.cheque_ids})
    cancellable = CHEQUE.before("cancelled")
    cancelled: list[tuple[object, Mapping[str, Any]]] = []
    refused: list[tuple[object, Mapping[str, Any]]] = []
    for request in requests:
        key, ids = request.cancellation_id, set(request.cheque_ids)
        good = sorted(one for one in ids if states.get(one) in cancellable)
        bad = [{"cheque_id": one, "reason": _reason(states.get(one))} for one in sorted(ids.difference(good))]
        states |= dict.fromkeys(good, "cancelled")
        if good:
            cancelled.append((key, {"cancellation_id": key, "cheque_ids": good, "cancelled_at": clock.now()}))
        if bad:
            refused.append((key, {"cancellation_id": key, "cheques": bad}))
    transitions.end(session, [one for _, body in cancelled for one in body["cheque_ids"]], "cancelled")
    log.append_many(session, "cheques.cancelled", cancelled)
    log.append_many(session, "cancellation.refused", refused)


def _reason(state: str | None) -> str:
    return "unknown-cheque" if state is None else _REASONS.get(state, state)
