"""Lots: grants that belong together, suspended, resumed and closed as a whole.

The order of locks is the lot, then its cheques. Who grants in a lot, or changes cheques of it, locks it until the
commit: so who suspends or closes it misses none of their cheques, and later grants see that it is suspended or closed.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.grants.models import Lot
from services.issuer.programmes.models import Programme
from shared.database import paging
from shared.problems import Conflict, NotFound


def create(session: Session, code: str, name: str, programme: Programme) -> Lot:
    """Adds a lot to a programme; raises Conflict where there is one of this code."""
    insert = pg.insert(Lot).values(code=code, name=name, programme_id=programme.id).on_conflict_do_nothing()
    if session.execute(insert.returning(Lot.id)).one_or_none() is None:
        raise Conflict(f"There is a lot {code} already.", slug="lot-exists")
    return find(session, code)


def find(session: Session, code: str, *, lock: bool = False) -> Lot:
    """A lot by its code, with `lock` against others who change it or grant in it; raises NotFound."""
    query = sa.select(Lot).where(Lot.code == code)
    if lock:
        query = query.with_for_update(key_share=True, of=Lot)
    found = session.scalar(query.execution_options(populate_existing=True))
    if found is None:
        raise NotFound("There is no lot of this code.")
    return found


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the lots, of all or of the `programme` of a query."""
    lots = sa.select(Lot)
    if query["programme"]:
        lots = lots.join(Programme).where(Programme.code == query["programme"])
    return paging.page(session, lots, Lot.id, query["after"], query["limit"])


def lock_shared(session: Session, codes: Collection[str]) -> dict[str, Lot]:
    """Lots by their codes, locked until the commit against those who would suspend or close them."""
    if not codes:
        return {}
    query = sa.select(Lot).where(Lot.code.in_(codes)).order_by(Lot.id).with_for_update(read=True, of=Lot)
    return {lot.code: lot for lot in session.scalars(query.execution_options(populate_existing=True))}


def admit(lot: Lot | None, code: str | None, programme: Programme) -> UUID | None:
    """The id of the lot that a grant of this programme names; raises the Problem for which it cannot be in it."""
    if code is None:
        return None
    if lot is None or lot.programme_id != programme.id:
        raise Conflict(f"The programme has no lot {code}.", slug="unknown-lot")
    if lot.closed_at is not None:
        raise Conflict(f"The statement of lot {code} was agreed: nothing is granted in it any more.", slug="lot-closed")
    if lot.suspended_at is not None:
        raise Conflict(f"Lot {code} is suspended: nothing is granted in it until it is resumed.", slug="lot-suspended")
    return lot.id
