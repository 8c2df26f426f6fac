"""TODO."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.grants.models import Grant
from services.issuer.people.models import Beneficiary
from shared.database import engine


@dataclass(slots=True)
class Known:
    """A person's row, and how many grants they had before."""

    id: UUID
    previous_grants: int
    new: bool = False

    def count(self) -> int:
        """Counts one grant more, and says how many there were before it."""
        self.previous_grants += 1
        return self.previous_grants - 1


def forget_unused(session: Session, unused: Collection[Known]) -> None:
    """Takes back that these people were remembered, in the same transaction: nothing was granted to them."""
    made = [person.id for person in unused if person.new]
    if made:
        session.execute(sa.delete(Beneficiary).where(engine.among(Beneficiary.id, made)))
    touched = [person.id for person in unused if not person.new]
    if touched:
        last = sa.select(sa.func.max(Grant.created_at)).where(Grant.beneficiary_id == Beneficiary.id).scalar_subquery()
        statement = sa.update(Beneficiary).where(engine.among(Beneficiary.id, touched), last.is_not(None))
        session.execute(statement.values(last_granted_at=last).execution_options(synchronize_session=False))


def _grants_of(session: Session, beneficiary_ids: list[UUID]) -> dict[UUID, int]:
    query = (
        sa.select(Grant.beneficiary_id, sa.func.count())
        .where(Grant.beneficiary_id.in_(beneficiary_ids))
        .group_by(Grant.beneficiary_id)
    )
    return {beneficiary_id: count for beneficiary_id, count in session.execute(query) if beneficiary_id}
