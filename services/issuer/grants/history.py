"""What people had of programmes that limit it."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import CANCELLED, Cheque
from services.issuer.grants.models import Grant
from services.issuer.programmes.models import Programme
from services.issuer.programmes.person_limits import PastGrant, of
from shared.database import engine

Histories = defaultdict[tuple[UUID, UUID], list[PastGrant]]
"""Past grants by beneficiary and programme."""


def histories(session: Session, programmes: Iterable[Programme], beneficiary_ids: Iterable[UUID]) -> Histories:
    """The past grants of these people from those of these programmes that have a limit, less cancelled cheques."""
    found: Histories = defaultdict(list)
    limited = {programme.id for programme in programmes if of(programme)}
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
