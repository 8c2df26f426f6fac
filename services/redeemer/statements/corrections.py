"""Correcting a redemption that stands on a statement: the difference is a line of the structure's next statement."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.redeemer.redemptions import reversing
from services.redeemer.statements.models import Correction
from shared.database import paging
from shared.problems import Conflict, Invalid


def correct(session: Session, redemption_id: UUID, owed_cents: int, reason: str, made_by: str) -> Correction:
    """The correction that sets what is owed for a redemption, 0 where nothing is; a later one replaces it.

    Raises NotFound, Conflict where it stands on no statement yet (it can be taken back), Invalid where that is more
    than its cheque is worth.
    """
    redemption = reversing.find(session, redemption_id, lock=True)
    if redemption.statement_id is None:
        raise Conflict("The redemption stands on no statement: take it back.", slug="redemption-not-on-statement")
    if owed_cents > redemption.amount_cents:
        most = [f"It must be at most {redemption.amount_cents}, what the cheque is worth."]
        raise Invalid("That is more than the cheque is worth.", errors={"owed_cents": most})
    made = Correction(redemption_id=redemption_id, owed_cents=owed_cents, reason=reason, made_by=made_by)
    session.add(made)
    session.flush()
    return made


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """One page of corrections, in the order of their ids."""
    return paging.page_by(session, Correction, query)
