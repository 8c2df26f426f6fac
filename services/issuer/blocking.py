"""Blocking: cheques that were lost or are in doubt are not to be taken, until they are released again."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer import cheques
from services.issuer.models import Cheque
from shared import events
from shared.ids import new_id
from shared.problems import Conflict


def block(session: Session, cheque_ids: Sequence[UUID], reason: str, owner: UUID | None) -> list[Cheque]:
    """Blocks cheques, all or none. Raises NotFound, or Conflict where a cheque has ended."""
    return _set(session, cheque_ids, reason, owner, blocked=True)


def unblock(session: Session, cheque_ids: Sequence[UUID], reason: str, owner: UUID | None) -> list[Cheque]:
    """Takes a block back, on all or none. Raises NotFound, or Conflict where a cheque has ended."""
    return _set(session, cheque_ids, reason, owner, blocked=False)


def _set(
    session: Session, cheque_ids: Sequence[UUID], reason: str, owner: UUID | None, *, blocked: bool
) -> list[Cheque]:
    found = cheques.own(session, cheque_ids, owner)
    ended = [{"cheque_id": str(cheque.id), "reason": cheque.ending} for cheque in found if cheque.ending]
    if ended:
        raise Conflict("Some cheques have ended: none was changed.", slug="cheque-ended", cheques=ended)
    changed = [cheque.id for cheque in found if cheque.blocked is not blocked]
    if changed:
        session.execute(sa.update(Cheque).where(Cheque.id.in_(changed)).values(blocked=blocked))
        kind = "cheques.blocked" if blocked else "cheques.unblocked"
        events.append(session, kind, new_id(), {"cheque_ids": changed, "reason": reason})
    return cheques.own(session, cheque_ids, owner)
