"""The people to whom something is granted: their rows, locked, and how many grants they had before."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.grants.models import Grant
from services.issuer.people.identities import Identities, Identity
from services.issuer.people.models import Beneficiary
from shared.database import engine


@dataclass(slots=True)
class BeneficiaryRecord:
    """A person's row and how many grants they had before; `new` where this transaction added it."""

    id: UUID
    previous_grants: int
    new: bool = False

    def count(self) -> int:
        """How many grants there were before the next one, which is counted."""
        self.previous_grants += 1
        return self.previous_grants - 1


def find_or_add(
    session: Session, identities: Identities, people: Iterable[Identity | None]
) -> dict[Identity | None, BeneficiaryRecord]:
    """The rows of these people, made where they are new, and locked, so that their grants are counted in turn."""
    digests = {identity: identities.digest(identity) for identity in people if identity}
    if not digests:
        return {}
    distinct = {digest: identity for identity, digest in digests.items()}
    identities.renew_digests(session, distinct.values())
    # In one order, so that no two transactions wait for each other crosswise.
    rows = [identities.new_row(distinct[digest], digest) for digest in sorted(distinct)]
    insert = pg.insert(Beneficiary)
    upsert = insert.on_conflict_do_update(index_elements=["digest"], set_={"last_granted_at": sa.func.now()})
    found = session.execute(upsert.returning(Beneficiary.digest, Beneficiary.id), rows).all()
    earlier = _grants_of(session, [row.id for row in found])
    made = {row["id"] for row in rows}
    known = {row.digest: BeneficiaryRecord(row.id, earlier.get(row.id, 0), new=row.id in made) for row in found}
    return {identity: known[digest] for identity, digest in digests.items()}


def forget_unused(session: Session, unused: Collection[BeneficiaryRecord]) -> None:
    """Undoes `find_or_add` of people to whom nothing was granted, in the same transaction."""
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
