"""Reversing a redemption, until it is on a statement or paid: its cheque can be spent again."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.cheques import ending, expiring
from services.redeemer.cheques.models import Cheque
from services.redeemer.redemptions.models import Redemption
from shared.database import paging
from shared.database.lookup import get_or_404
from shared.eventlog import log
from shared.problems import Conflict
from shared.values import clock


def find(session: Session, redemption_id: UUID, *, lock: bool = False) -> Redemption:
    """A redemption by its id, locked with `lock`; raises NotFound."""
    return get_or_404(session, Redemption, redemption_id, "There is no redemption of this id.", lock=lock)


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """One page of redemptions, of a state or a structure where the query names one."""
    return paging.page_by(session, Redemption, query)


def reverse(session: Session, redemption_id: UUID, reason: str) -> Redemption:
    """Reverses a redemption; one that is reversed already stays as it is.

    Raises NotFound, or Conflict where it stands on a statement or is paid.
    """
    redemption = find(session, redemption_id, lock=True)
    if redemption.reversed_at is None:
        _refuse_settled(redemption)
        redemption.reversed_at, redemption.reversal_reason = clock.now(), reason
        ending.lock(session, [redemption.cheque_id])
        free = {"ending": None, "redeemed_at": None}
        session.execute(sa.update(Cheque).where(Cheque.id == redemption.cheque_id).values(free))
        expiring.read_again(session, [redemption.cheque_id])
        log.append(session, "redemption.reversed", redemption.id, _payload(redemption))
    return redemption


def _refuse_settled(redemption: Redemption) -> None:
    if redemption.state == "paid":
        raise Conflict("The redemption has been paid.", slug="redemption-paid")
    if redemption.statement_id is not None:
        problem = "The redemption stands on a statement: it can only be corrected on the next one."
        raise Conflict(problem, slug="redemption-on-statement")


def _payload(redemption: Redemption) -> dict[str, Any]:
    names = ("cheque_id", "structure_id", "amount_cents", "reversed_at")
    members = {name: getattr(redemption, name) for name in names}
    return {"redemption_id": redemption.id, "reason": redemption.reversal_reason, **members}
