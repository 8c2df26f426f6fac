"""Blocking: cheques that were lost or are in doubt are not to be taken, until they are released again.

A cheque is blocked for a reason of its own or because its lot is suspended; the redeemer is told of one block, whatever
the reasons. A suspension that ends leaves those alone that have a reason of their own.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque, SuspendedCheque
from services.issuer.grants.models import Grant, Lot
from services.issuer.lifecycle import selection
from shared.database import engine
from shared.eventlog import log
from shared.problems import Conflict
from shared.values.ids import new_id

BATCH_SIZE = 1000


def block(session: Session, cheque_ids: Sequence[UUID], reason: str, owner: UUID | None) -> list[Cheque]:
    """Blocks cheques, all or none. Raises NotFound, or Conflict where a cheque has ended."""
    found = selection.lock_own(session, cheque_ids, owner)
    _refuse_ended(found)
    block_locked(session, found, reason)
    return selection.lock_own(session, cheque_ids, owner)


def unblock(session: Session, cheque_ids: Sequence[UUID], reason: str, owner: UUID | None) -> list[Cheque]:
    """Takes a block back, on all or none.

    Raises NotFound, or Conflict where one has ended or its lot is suspended; one that was closed cannot be resumed.
    """
    found = selection.lock_own(session, cheque_ids, owner)
    _refuse_ended(found)
    _refuse_suspended(session, [cheque.id for cheque in found])
    change(session, [cheque.id for cheque in found if cheque.blocked], reason, blocked=False)
    return selection.lock_own(session, cheque_ids, owner)


def block_locked(session: Session, found: Iterable[Cheque], reason: str) -> None:
    """Blocks cheques that are locked, each for a reason of its own, whatever becomes of its lot."""
    cheques = list(found)
    own = sa.delete(SuspendedCheque).where(engine.among(SuspendedCheque.cheque_id, [cheque.id for cheque in cheques]))
    session.execute(own.execution_options(synchronize_session=False))
    change(session, [cheque.id for cheque in cheques if not cheque.blocked], reason, blocked=True)


def change(session: Session, cheque_ids: Sequence[UUID], reason: str, *, blocked: bool) -> None:
    """Blocks or releases cheques that are locked and are not so yet, and publishes it, `BATCH_SIZE` to an event."""
    if not cheque_ids:
        return
    statement = sa.update(Cheque).where(engine.among(Cheque.id, cheque_ids)).values(blocked=blocked)
    session.execute(statement.execution_options(synchronize_session=False))
    kind = "cheques.blocked" if blocked else "cheques.unblocked"
    parts = [cheque_ids[at : at + BATCH_SIZE] for at in range(0, len(cheque_ids), BATCH_SIZE)]
    bodies = [(new_id(), {"cheque_ids": part, "reason": reason}) for part in parts]
    log.append_many(session, kind, bodies)


def _refuse_ended(found: Iterable[Cheque]) -> None:
    ended = [{"cheque_id": str(cheque.id), "reason": cheque.ending} for cheque in found if cheque.ending]
    if ended:
        raise Conflict("Some cheques have ended: none was changed.", slug="cheque-ended", cheques=ended)


def _refuse_suspended(session: Session, cheque_ids: Sequence[UUID]) -> None:
    lots = sa.select(Cheque.id).join(Grant, Grant.id == Cheque.grant_id).join(Lot, Lot.id == Grant.lot_id)
    query = lots.where(engine.among(Cheque.id, cheque_ids), Lot.suspended_at.is_not(None), Lot.closed_at.is_(None))
    suspended = sorted(map(str, session.scalars(query)))
    if suspended:
        raise Conflict("The lot of some cheques is suspended: resume it.", slug="lot-suspended", cheque_ids=suspended)
