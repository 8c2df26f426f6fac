"""Which cheque replaced which."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque, ReplacedCheque


def was_replaced(cheque_id: Any) -> sa.ColumnElement[bool]:
    """Whether a new cheque has taken the place of this one."""
    return sa.exists().where(ReplacedCheque.old_cheque_id == cheque_id, ReplacedCheque.issued_at.is_not(None))


def links(session: Session, grant_id: UUID) -> dict[UUID, dict[str, UUID]]:
    """For each cheque of a grant that replaces another, or was replaced: which one (`replaces`, `replaced_by`)."""
    query = (
        sa.select(ReplacedCheque.old_cheque_id, ReplacedCheque.new_cheque_id)
        .join(Cheque, Cheque.id == ReplacedCheque.old_cheque_id)
        .where(Cheque.grant_id == grant_id, ReplacedCheque.issued_at.is_not(None))
    )
    found: dict[UUID, dict[str, UUID]] = {}
    for old, new in session.execute(query):
        found.setdefault(old, {})["replaced_by"] = new
        found.setdefault(new, {})["replaces"] = old
    return found
