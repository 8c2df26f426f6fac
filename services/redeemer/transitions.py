"""Every legal transition of a cheque and of a redemption, in one place.

Three facts make a cheque's state, each published by another party: `active` (the programme's rule lets it be spent:
from the start, or since an operator registered it), `blocked` (by the issuer) and `ending` (decided here: redeemed,
cancelled, expired). The database computes `state` from them, so news of different parties may come in any order.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.values.transitions import Transitions

STATE = """CASE WHEN ending IS NOT NULL THEN ending WHEN blocked THEN 'blocked'
                WHEN active THEN 'spendable' ELSE 'pending' END"""

# A cheque can be lost before an operator registered it, so `pending` can be blocked, and is what it was afterwards.
# A redemption that is reversed gives a blocked cheque where the issuer blocked it in the meantime.
CHEQUE = Transitions(
    pending="spendable blocked cancelled expired",
    spendable="redeemed blocked cancelled expired",
    redeemed="spendable blocked",
    blocked="spendable pending cancelled",
    cancelled="",
    expired="",
)

# `paid` ends it: money that has moved is a fact, whatever was said before. News that come late go nowhere.
REDEMPTION = Transitions(
    due="confirmed refused paid stranded",
    confirmed="refused paid stranded",
    refused="confirmed paid due",
    stranded="confirmed refused paid due",
    paid="",
)

_LOCK = sa.text("SELECT id, state FROM cheque WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")
_END = sa.text("UPDATE cheque SET ending = :ending WHERE id = ANY(:ids) AND state = ANY(:before) RETURNING id")


def lock(session: Session, cheque_ids: Collection[UUID]) -> dict[UUID, str]:
    """The state of each of these cheques, which are locked; one that is not here is missing.

    Whoever changes cheques locks them first, in the order of their ids: so none waits for another in a circle.
    """
    return {row.id: row.state for row in session.execute(_LOCK, {"ids": list(cheque_ids)})}


def end(session: Session, cheque_ids: Sequence[UUID], ending: str) -> list[UUID]:
    """The cheques, of these that are locked, that were allowed to come to this end and now have."""
    changes = {"ids": list(cheque_ids), "ending": ending, "before": CHEQUE.before(ending)}
    return sorted(session.scalars(_END, changes))
