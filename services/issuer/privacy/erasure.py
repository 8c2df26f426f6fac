"""Erasing people: their identities are deleted, their grants and cheques stay.

A grant keeps its figures, days and money, and loses its person. Free text may name the person, so it is replaced too:
reasons, exceptions, and the prescriber's reference, which becomes a keyed digest so that a repeated request is still
recognised. A reason from a rule stays. Cheques are cash: they can be spent as before.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.people.identities import Identities
from services.issuer.people.models import Beneficiary
from services.issuer.privacy import stored_answers
from services.issuer.privacy.models import REQUEST, Erasure
from shared.database import engine
from shared.database.paging import page_by
from shared.problems import Conflict, NotFound
from shared.values.ids import new_id

ERASED = "Erased: the person was forgotten."

Link = tuple[UUID, UUID]
"""A person and a programme of which they had grants."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many identities are gone, the grants without their person, and the cancellations without a reason."""

    people: int
    grant_ids: Sequence[UUID]
    cancellation_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """An erasure, and what of the person's cheques may still be spent, in number and in cents."""

    erasure: Erasure
    spendable_number: int
    spendable_cents: int


_OF_LINKS = sa.text("""
    SELECT granted.id, granted.prescriber_id, granted.reference
    FROM unnest(CAST(:people AS uuid[]), CAST(:programmes AS uuid[])) AS link (beneficiary_id, programme_id)
    JOIN cheque_grant AS granted USING (beneficiary_id, programme_id)
    ORDER BY granted.id FOR NO KEY UPDATE OF granted
""")
_DETACH = sa.text("""
    UPDATE cheque_grant SET
        beneficiary_id = NULL,
        reference = input.stand_in,
        reason = CASE WHEN points IS NULL THEN :erased ELSE reason END,
        exception_reason = CASE WHEN exception_reason IS NOT NULL THEN :erased END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:stand_ins AS text[])) AS input (id, stand_in)
    WHERE cheque_grant.id = input.id
""")
# A cancellation may be of several people's cheques: its reason goes with the last of them.
_ERASE_REASONS = sa.text("""
    UPDATE cancellation SET reason = :erased
    WHERE id IN (
        SELECT line.cancellation_id FROM cancellation_cheque AS line JOIN cheque ON cheque.id = line.cheque_id
        WHERE cheque.grant_id = ANY(CAST(:ids AS uuid[]))
    ) AND NOT EXISTS (
        SELECT FROM cancellation_cheque AS line
        JOIN cheque ON cheque.id = line.cheque_id
        JOIN cheque_grant ON cheque_grant.id = cheque.grant_id
        WHERE line.cancellation_id = cancellation.id AND cheque_grant.beneficiary_id IS NOT NULL
    )
    RETURNING id
""")
_LINKS = sa.text("SELECT DISTINCT prescriber_id, programme_id FROM cheque_grant WHERE beneficiary_id = :person")
_SPENDABLE = sa.text("""
    SELECT count(*) AS number, coalesce(sum(value_cents), 0) AS cents
    FROM cheque WHERE grant_id = ANY(CAST(:ids AS uuid[])) AND ending IS NULL
""")
_DROP = sa.text("""
    DELETE FROM beneficiary
    WHERE id = ANY(CAST(:people AS uuid[]))
      AND NOT EXISTS (SELECT FROM cheque_grant WHERE cheque_grant.beneficiary_id = beneficiary.id)
    RETURNING id
""")


def erase(
    session: Session, keys: Mapping[str, Mapping[str, bytes]], person_id: UUID, by: str, owner: UUID | None
) -> ErasureResult:
    """Erases a person on request, completely; `keys` are the service's secret keys.

    Raises NotFound where the owner granted them nothing, Conflict where others did too: then it is for the département.
    """
    forgotten = forget(session, Identities(keys), lock_own(session, person_id, owner))
    stored_answers.empty_of(session, keys, [*forgotten.grant_ids, *forgotten.cancellation_ids])
    erasure = note(session, new_id(), REQUEST, by, forgotten)
    left = session.execute(_SPENDABLE, {"ids": list(forgotten.grant_ids)}).one()
    return ErasureResult(erasure, left.number, int(left.cents))


def lock_own(session: Session, person_id: UUID, owner: UUID | None) -> set[Link]:
    """Locks a person whom nobody but the owner granted anything (None: whoever did), and returns their links.

    Raises NotFound where the owner granted them nothing, Conflict where others did too.
    """
    lock(session, [person_id])
    grants = session.execute(_LINKS, {"person": person_id}).all()
    if not any(owner in (None, row.prescriber_id) for row in grants):
        raise NotFound("There is no such person within your scope.")
    if any(owner not in (None, row.prescriber_id) for row in grants):
        raise Conflict(
            "Others granted to this person too. Only the département can do this: pass the request on.",
            slug="person-of-others",
        )
    return {(person_id, row.programme_id) for row in grants}


def lock(session: Session, people: Collection[UUID], *, skip_locked: bool = False) -> list[UUID]:
    """Locks people until the transaction ends, so that nothing is granted to them; returns those that exist."""
    query = sa.select(Beneficiary.id).where(engine.among(Beneficiary.id, people)).order_by(Beneficiary.digest)
    return list(session.scalars(query.with_for_update(skip_locked=skip_locked)))


def forget(session: Session, identities: Identities, links: Collection[Link]) -> Forgotten:
    """Takes locked people off their grants of these programmes, by set, and drops those who have none left."""
    people, programmes = [person for person, _ in links], [programme for _, programme in links]
    rows = session.execute(_OF_LINKS, {"people": people, "programmes": programmes}).all()
    stand_ins = [identities.stand_ins(row.prescriber_id, row.reference)[0] if row.reference else None for row in rows]
    ids = [row.id for row in rows]
    session.execute(_DETACH, {"ids": ids, "stand_ins": stand_ins, "erased": ERASED})
    cancellations = session.scalars(_ERASE_REASONS, {"ids": ids, "erased": ERASED}).all()
    dropped = session.scalars(_DROP, {"people": people}).all()
    session.expire_all()
    return Forgotten(len(dropped), ids, cancellations)


def note(session: Session, erasure_id: UUID, ground: str, by: str, forgotten: Forgotten) -> Erasure:
    """Records that people were erased; the numbers of one erasure are added up."""
    row = {"people": forgotten.people, "grants": len(forgotten.grant_ids)}
    insert = pg.insert(Erasure).values(id=erasure_id, ground=ground, asked_by=by, **row)
    added = {"people": Erasure.people + insert.excluded.people, "grants": Erasure.grants + insert.excluded.grants}
    upsert = insert.on_conflict_do_update(index_elements=["id"], set_=added).returning(Erasure)
    return session.scalars(upsert.execution_options(populate_existing=True)).one()


def find_page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of all erasures."""
    return page_by(session, Erasure, query)
