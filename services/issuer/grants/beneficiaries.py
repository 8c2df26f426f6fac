"""The people to whom something is granted: their rows, locked, and what they had before."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.cheques.models import CANCELLED, Cheque
from services.issuer.grants.models import Grant
from services.issuer.people.identities import Identities, Identity
from services.issuer.people.models import Beneficiary
from services.issuer.programmes import person_limits
from services.issuer.programmes.models import Programme
from services.issuer.programmes.person_limits import PastGrant
from shared.database import engine

Histories = defaultdict[tuple[UUID, UUID], list[PastGrant]]
"""Past grants by beneficiary and programme."""


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
    numbers = (
        sa.select(Grant.beneficiary_id, sa.func.count().label("number"))
        .where(engine.among(Grant.beneficiary_id, [row.id for row in found]))
        .group_by(Grant.beneficiary_id)
    )
    earlier = {row.beneficiary_id: row.number for row in session.execute(numbers)}
    made = {row["id"] for row in rows}
    records = {row.digest: BeneficiaryRecord(row.id, earlier.get(row.id, 0), new=row.id in made) for row in found}
    return {identity: records[digest] for identity, digest in digests.items()}


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


def histories(session: Session, programmes: Iterable[Programme], beneficiary_ids: Iterable[UUID]) -> Histories:
    """The past grants of these people from those of these programmes that have a limit, less cancelled cheques."""
    found: Histories = defaultdict(list)
    limited = {programme.id for programme in programmes if person_limits.of(programme)}
    people = set(beneficiary_ids)
    if not limited or not people:
        return found
    kept = sa.func.sum(Cheque.value_cents)
    query = (
        sa.select(Grant.beneficiary_id, Grant.programme_id, Grant.granted_on, kept)
        .join(Cheque, Cheque.grant_id == Grant.id)
        .where(engine.among(Grant.beneficiary_id, people), engine.among(Grant.programme_id, limited))
        .where(Cheque.ending.is_distinct_from(CANCELLED))
        .group_by(Grant.id)
    )
    for beneficiary_id, programme_id, granted_on, cents in session.execute(query):
        if beneficiary_id:
            found[beneficiary_id, programme_id].append(PastGrant(granted_on, int(cents)))
    return found
