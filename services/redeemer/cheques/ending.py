"""Locking cheques, and ending them: expired in time, or cancelled at the issuer's request."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.transitions import CHEQUE
from shared.eventlog import log
from shared.eventlog.event_kinds import CancellationRequested
from shared.values import clock

_REASONS = {"redeemed": "already-redeemed"}

_LOCK = sa.text("SELECT id, state FROM cheque WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")
_END = sa.text("UPDATE cheque SET ending = :ending WHERE id = ANY(:ids) AND state = ANY(:before) RETURNING id")


def lock(session: Session, cheque_ids: Collection[UUID]) -> dict[UUID, str]:
    """Locks cheques and returns their states; one that is not here is missing.

    Whoever changes cheques locks them first, in the order of their ids: so none waits for another in a circle.
    """
    return {row.id: row.state for row in session.execute(_LOCK, {"ids": list(cheque_ids)})}


def end(session: Session, cheque_ids: Sequence[UUID], ending: str) -> list[UUID]:
    """Ends locked cheques, and returns those whose state allowed it."""
    changes = {"ids": list(cheque_ids), "ending": ending, "before": CHEQUE.before(ending)}
    return sorted(session.scalars(_END, changes))


def cancel(session: Session, requests: Sequence[CancellationRequested]) -> None:
    """Cancels cheques that are neither spent nor over, request by request, and publishes the rest as refused."""
    states = lock(session, {cheque_id for request in requests for cheque_id in request.cheque_ids})
    cancellable = CHEQUE.before("cancelled")
    cancelled: list[tuple[object, Mapping[str, Any]]] = []
    refused: list[tuple[object, Mapping[str, Any]]] = []
    for request in requests:
        key, ids = request.cancellation_id, set(request.cheque_ids)
        good = sorted(cheque_id for cheque_id in ids if states.get(cheque_id) in cancellable)
        others = {cheque_id: states.get(cheque_id, "unknown-cheque") for cheque_id in sorted(ids.difference(good))}
        bad = [{"cheque_id": cheque_id, "reason": _REASONS.get(state, state)} for cheque_id, state in others.items()]
        states |= dict.fromkeys(good, "cancelled")
        if good:
            cancelled.append((key, {"cancellation_id": key, "cheque_ids": good, "cancelled_at": clock.now()}))
        if bad:
            refused.append((key, {"cancellation_id": key, "cheques": bad}))
    end(session, [cheque_id for _, body in cancelled for cheque_id in body["cheque_ids"]], "cancelled")
    log.append_many(session, "cheques.cancelled", cancelled)
    log.append_many(session, "cancellation.refused", refused)
