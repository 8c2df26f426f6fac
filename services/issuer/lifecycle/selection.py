"""Cheques as a caller names them: found, locked, and within its scope; their lots are locked first."""

from collections.abc import Collection, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque
from services.issuer.grants.models import Grant, Lot
from shared.database import engine
from shared.problems import NotFound


def lock_lots(session: Session, cheque_ids: Collection[UUID]) -> None:
    """Locks the lots of cheques, before the cheques themselves, against whoever would suspend, resume or close them."""
    of = sa.select(Grant.lot_id).join(Cheque, Cheque.grant_id == Grant.id).where(engine.among(Cheque.id, cheque_ids))
    session.execute(sa.select(Lot.id).where(Lot.id.in_(of)).order_by(Lot.id).with_for_update(read=True))


def lock_own(session: Session, cheque_ids: Sequence[UUID], owner: UUID | None) -> list[Cheque]:
    """These cheques, locked, in the order of their ids; raises NotFound where one is not the owner's (None: anybody's).

    The lock makes what is said of a cheque afterwards follow what was said before.
    """
    lock_lots(session, cheque_ids)
    query = sa.select(Cheque).join(Grant, Grant.id == Cheque.grant_id).where(Cheque.id.in_(cheque_ids))
    if owner is not None:
        query = query.where(Grant.prescriber_id == owner)
    locked = query.order_by(Cheque.id).with_for_update(key_share=True, of=Cheque)
    found = list(session.scalars(locked.execution_options(populate_existing=True)))
    missing = set(cheque_ids) - {cheque.id for cheque in found}
    if missing:
        raise NotFound("Some cheques do not exist, or are not the caller's.", cheque_ids=sorted(map(str, missing)))
    return found
