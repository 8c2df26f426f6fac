"""Cheques as a caller names them: found and locked within its scope, their lots first, and the reason it states."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque
from services.issuer.grants.models import Grant, Lot
from services.issuer.people.identities import Identities, normalised
from services.issuer.people.models import Beneficiary
from shared.database import engine
from shared.problems import Invalid, NotFound


def lock_lots(session: Session, cheque_ids: Collection[UUID]) -> None:
    """Locks the lots of cheques, before the cheques themselves, against whoever would suspend, resume or close them."""
    lots = sa.select(Grant.lot_id).join(Cheque, Cheque.grant_id == Grant.id).where(engine.among(Cheque.id, cheque_ids))
    session.execute(sa.select(Lot.id).where(Lot.id.in_(lots)).order_by(Lot.id).with_for_update(read=True))


def lock_own(session: Session, cheque_ids: Sequence[UUID], owner: UUID | None) -> list[Cheque]:
    """Locks these cheques, in the order of their ids; raises NotFound where one is not the owner's (None: anybody's).

    The lock makes the later events about a cheque follow the earlier ones.
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


def check_reason(
    session: Session, keys: Mapping[str, Mapping[str, bytes]], cheque_ids: Collection[UUID], reason: str
) -> None:
    """Raises Invalid where a reason, which other services read, holds the family name of the person of these cheques.

    Call it in the transaction of what the reason is for, once the cheques have turned out to be the caller's.
    """
    identities, text = Identities(keys), f" {normalised(reason)} "
    query = sa.select(Grant.beneficiary_id).join(Cheque, Cheque.grant_id == Grant.id)
    people = sa.select(Beneficiary).where(Beneficiary.id.in_(query.where(engine.among(Cheque.id, cheque_ids))))
    for person in session.scalars(people):
        if f" {normalised(identities.open(person).family_name)} " in text:
            fault = "It names the person: other services read it. Say it without the name."
            raise Invalid("The reason names somebody: see `errors`.", errors={"reason": [fault]})
