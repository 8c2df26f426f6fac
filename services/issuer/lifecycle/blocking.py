"""Blocking cheques that were lost or are in doubt, and suspending the cheques of a lot; both can be taken back.

A cheque is blocked for a reason of its own or because its lot is suspended; the redeemer learns of one block, whatever
the reasons. The end of a suspension releases no cheque that has a reason of its own.
"""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque, SuspendedCheque
from services.issuer.grants.lots import find
from services.issuer.grants.models import Grant, Lot
from services.issuer.lifecycle import selection
from services.issuer.notices import outbox
from shared.database import engine
from shared.eventlog import log
from shared.problems import Conflict
from shared.values import clock
from shared.values.ids import new_id

BATCH_SIZE = 1000
_IN_LOTS = sa.select(Cheque.id).join(Grant, Grant.id == Cheque.grant_id).join(Lot, Lot.id == Grant.lot_id)
_REMEMBER = sa.text("""
    INSERT INTO suspended_cheque (cheque_id, lot_id)
    SELECT * FROM unnest(CAST(:cheque_ids AS uuid[]), CAST(:lot_ids AS uuid[])) ON CONFLICT DO NOTHING
""")


def block(session: Session, cheque_ids: Sequence[UUID], reason: str, owner: UUID | None) -> list[Cheque]:
    """Blocks cheques, all or none. Raises NotFound, or Conflict where a cheque has ended."""
    block_locked(session, _lock_open(session, cheque_ids, owner), reason)
    return selection.lock_own(session, cheque_ids, owner)


def unblock(session: Session, cheque_ids: Sequence[UUID], reason: str, owner: UUID | None) -> list[Cheque]:
    """Takes a block back, on all or none.

    Raises NotFound, or Conflict where a cheque has ended or its lot is suspended; a closed lot cannot be resumed.
    """
    found = _lock_open(session, cheque_ids, owner)
    query = _IN_LOTS.where(engine.among(Cheque.id, cheque_ids), Lot.suspended_at.is_not(None), Lot.closed_at.is_(None))
    suspended = sorted(map(str, session.scalars(query)))
    if suspended:
        raise Conflict("The lot of some cheques is suspended: resume it.", slug="lot-suspended", cheque_ids=suspended)
    _change(session, [cheque.id for cheque in found if cheque.blocked], reason, blocked=False)
    return selection.lock_own(session, cheque_ids, owner)


def block_locked(session: Session, cheques: Collection[Cheque], reason: str) -> None:
    """Blocks cheques that are locked for a reason of their own, whatever becomes of their lots."""
    own = sa.delete(SuspendedCheque).where(engine.among(SuspendedCheque.cheque_id, [cheque.id for cheque in cheques]))
    session.execute(own.execution_options(synchronize_session=False))
    _change(session, [cheque.id for cheque in cheques if not cheque.blocked], reason, blocked=True)


def of_closed_lots(session: Session, cheque_ids: Collection[UUID]) -> dict[UUID, str]:
    """The cheques among these whose lot was closed, and `lot-closed` for each."""
    query = _IN_LOTS.where(engine.among(Cheque.id, cheque_ids), Lot.closed_at.is_not(None))
    return dict.fromkeys(session.scalars(query), "lot-closed")


def adopt(session: Session, cheque_ids: Collection[UUID]) -> None:
    """Blocks the new cheques among these whose lot, which is locked, is suspended."""
    query = _IN_LOTS.where(engine.among(Cheque.id, cheque_ids), Lot.suspended_at.is_not(None))
    _suspend(session, query, "Suspended with its lot.")


def suspend(session: Session, code: str, reason: str, by: str) -> Lot:
    """Blocks whatever of a lot can still be spent; once is enough. Raises NotFound, Conflict."""
    lot = _lock_open_lot(session, code)
    if lot.suspended_at is None:
        lot.suspended_at, lot.suspended_by, lot.suspension_reason = clock.now(), by, reason
        number = _suspend(session, _IN_LOTS.where(Lot.id == lot.id), reason)
        _notify(session, "lot.suspended", lot, reason, by, number)
    return lot


def resume(session: Session, code: str, reason: str, by: str) -> Lot:
    """Releases what the suspension blocked, and nothing that has a reason of its own. Raises NotFound, Conflict."""
    lot = _lock_open_lot(session, code)
    if lot.suspended_at is not None:
        lot.suspended_at = lot.suspended_by = lot.suspension_reason = None
        number = _release(session, lot.id, reason)
        _notify(session, "lot.resumed", lot, reason, by, number)
    return lot


def _lock_open(session: Session, cheque_ids: Sequence[UUID], owner: UUID | None) -> list[Cheque]:
    found = selection.lock_own(session, cheque_ids, owner)
    ended = [{"cheque_id": str(cheque.id), "reason": cheque.ending} for cheque in found if cheque.ending]
    if ended:
        raise Conflict("Some cheques have ended: none was changed.", slug="cheque-ended", cheques=ended)
    return found


def _lock_open_lot(session: Session, code: str) -> Lot:
    lot = find(session, code, lock=True)
    if lot.closed_at is not None:
        raise Conflict("The statement of this lot was agreed.", slug="lot-closed")
    return lot


def _lock(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(Cheque.id).with_for_update(key_share=True, of=Cheque)


def _suspend(session: Session, cheques: sa.Select[Any], reason: str) -> int:
    """Blocks the cheques that are neither over nor blocked, and stores that it is for their lot."""
    free = cheques.where(Cheque.ending.is_(None), Cheque.blocked.is_(False)).add_columns(Grant.lot_id)
    locked = session.execute(_lock(free)).all()
    if locked:
        session.execute(_REMEMBER, engine.arrays(("cheque_ids", "lot_ids"), locked))
        _change(session, [row.id for row in locked], reason, blocked=True)
    return len(locked)


def _release(session: Session, lot_id: UUID, reason: str) -> int:
    suspended = sa.select(Cheque.id).join(SuspendedCheque, SuspendedCheque.cheque_id == Cheque.id)
    locked = session.scalars(_lock(suspended.where(SuspendedCheque.lot_id == lot_id))).all()
    # Read again: while the locks were waited for, a cheque may have been blocked for a reason of its own.
    delete = sa.delete(SuspendedCheque).where(engine.among(SuspendedCheque.cheque_id, locked))
    deleted = delete.returning(SuspendedCheque.cheque_id).execution_options(synchronize_session=False)
    freed = session.scalars(deleted).all()
    _change(session, sorted(freed), reason, blocked=False)
    return len(freed)


def _change(session: Session, cheque_ids: Sequence[UUID], reason: str, *, blocked: bool) -> None:
    """Blocks or releases cheques that are locked and in the other state, and publishes it, `BATCH_SIZE` to an event."""
    if not cheque_ids:
        return
    statement = sa.update(Cheque).where(engine.among(Cheque.id, cheque_ids)).values(blocked=blocked)
    session.execute(statement.execution_options(synchronize_session=False))
    kind = "cheques.blocked" if blocked else "cheques.unblocked"
    batches = [cheque_ids[start : start + BATCH_SIZE] for start in range(0, len(cheque_ids), BATCH_SIZE)]
    bodies = [(new_id(), {"cheque_ids": batch, "reason": reason}) for batch in batches]
    log.append_many(session, kind, bodies)


def _notify(session: Session, kind: str, lot: Lot, reason: str, by: str, number: int) -> None:
    body = {"lot": lot.code, "reason": reason, "by": by, "cheques": number}
    outbox.post(session, kind, f"{lot.id}/{clock.now().isoformat()}", body, subject_id=lot.id)
