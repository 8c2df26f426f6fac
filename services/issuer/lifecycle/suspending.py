"""Suspending and resuming the cheques of a lot."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque, SuspendedCheque
from services.issuer.grants.lots import find
from services.issuer.grants.models import Grant, Lot
from services.issuer.lifecycle import blocking
from services.issuer.notices import outbox
from shared.database import engine
from shared.problems import Conflict
from shared.values import clock

_REMEMBER = sa.text("""
    INSERT INTO suspended_cheque (cheque_id, lot_id)
    SELECT * FROM unnest(CAST(:cheque_ids AS uuid[]), CAST(:lot_ids AS uuid[])) ON CONFLICT DO NOTHING
""")


def closed_of(session: Session, cheque_ids: Collection[UUID]) -> dict[UUID, str]:
    """Those of these cheques whose lot was closed, each with `lot-closed`."""
    query = _cheques_of_lots().where(engine.among(Cheque.id, cheque_ids), Lot.closed_at.is_not(None))
    return dict.fromkeys(session.scalars(query), "lot-closed")


def adopt(session: Session, cheque_ids: Collection[UUID]) -> None:
    """Blocks those of these new cheques whose lot, which is locked, is suspended."""
    query = _cheques_of_lots().where(engine.among(Cheque.id, cheque_ids), Lot.suspended_at.is_not(None))
    _suspend(session, query, "Suspended with its lot.")


def suspend(session: Session, code: str, reason: str, by: str) -> Lot:
    """Blocks whatever of a lot can still be spent; once is enough. Raises NotFound, Conflict."""
    lot = _open(session, code)
    if lot.suspended_at is None:
        lot.suspended_at, lot.suspended_by, lot.suspension_reason = clock.now(), by, reason
        number = _suspend(session, _cheques_of_lots().where(Lot.id == lot.id), reason)
        _notify(session, "lot.suspended", lot, reason, by, number)
    return lot


def resume(session: Session, code: str, reason: str, by: str) -> Lot:
    """Releases what the suspension blocked, and nothing that has a reason of its own. Raises NotFound, Conflict."""
    lot = _open(session, code)
    if lot.suspended_at is not None:
        lot.suspended_at = lot.suspended_by = lot.suspension_reason = None
        number = _release(session, lot.id, reason)
        _notify(session, "lot.resumed", lot, reason, by, number)
    return lot


def _open(session: Session, code: str) -> Lot:
    lot = find(session, code, lock=True)
    if lot.closed_at is not None:
        raise Conflict("The statement of this lot was agreed.", slug="lot-closed")
    return lot


def _cheques_of_lots() -> sa.Select[Any]:
    return sa.select(Cheque.id).join(Grant, Grant.id == Cheque.grant_id).join(Lot, Lot.id == Grant.lot_id)


def _lock(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(Cheque.id).with_for_update(key_share=True, of=Cheque)


def _suspend(session: Session, which: sa.Select[Any], reason: str) -> int:
    """Blocks those cheques that are neither over nor blocked, and remembers that it is for their lot."""
    free = which.where(Cheque.ending.is_(None), Cheque.blocked.is_(False)).add_columns(Grant.lot_id)
    locked = session.execute(_lock(free)).all()
    if locked:
        ids = [row.id for row in locked]
        session.execute(_REMEMBER, {"cheque_ids": ids, "lot_ids": [row.lot_id for row in locked]})
        blocking.change(session, ids, reason, blocked=True)
    return len(locked)


def _release(session: Session, lot_id: UUID, reason: str) -> int:
    suspended = sa.select(Cheque.id).join(SuspendedCheque, SuspendedCheque.cheque_id == Cheque.id)
    locked = session.scalars(_lock(suspended.where(SuspendedCheque.lot_id == lot_id))).all()
    # Read again: while the locks were waited for, a cheque may have been blocked for a reason of its own.
    taken = sa.delete(SuspendedCheque).where(engine.among(SuspendedCheque.cheque_id, locked))
    freed: Sequence[UUID] = session.scalars(
        taken.returning(SuspendedCheque.cheque_id).execution_options(synchronize_session=False)
    ).all()
    blocking.change(session, sorted(freed), reason, blocked=False)
    return len(freed)


def _notify(session: Session, kind: str, lot: Lot, reason: str, by: str, number: int) -> None:
    at = clock.now()
    body = {"lot": lot.code, "reason": reason, "by": by, "cheques": number}
    outbox.post(session, kind, f"{lot.id}/{at.isoformat()}", body, subject_id=lot.id)
