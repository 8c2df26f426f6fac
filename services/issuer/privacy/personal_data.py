"""A person's own data: found by name and day of birth, never listed, and shown whole to them.

The département, which answers for the data, sees all data of a person. A prescriber sees the people of its grants, its
own grants to them, and the number of other grants. Every access is recorded.
"""

from collections import defaultdict
from dataclasses import asdict
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.people.identities import Identities, Identity
from services.issuer.people.models import Beneficiary
from services.issuer.privacy import erasure
from shared.problems import Conflict, NotFound
from shared.values import clock

_HAS_GRANT = sa.text("""
    SELECT EXISTS (
        SELECT FROM cheque_grant
        WHERE beneficiary_id = :person AND (CAST(:owner AS uuid) IS NULL OR prescriber_id = :owner)
    )
""")
_GRANTS = sa.text("""
    SELECT granted.id AS grant_id, programme.code AS programme, programme.name AS programme_name,
           granted.prescriber_id, prescriber.name AS prescriber, granted.granted_on, granted.valid_until,
           granted.presentable_until, granted.amount_cents, granted.target_public, granted.points, granted.rule_version,
           granted.reason, granted.exception_reason, granted.reference, granted.previous_grants, lot.code AS lot,
           granted.created_at, granted.points IS NULL OR EXISTS (
               SELECT FROM assessment_rule AS rule, jsonb_array_elements(rule.assessment -> 'conditions') AS condition
               WHERE rule.programme_id = granted.programme_id
                 AND rule.version = coalesce(granted.rule_version, 1) AND condition ->> 'reason' = granted.reason
           ) AS somebody_wrote_reason,
           CAST(contact.day AS date) AS last_contact_on,
           CAST(contact.day + make_interval(months => programme.retention_months) AS date) AS kept_until
    FROM cheque_grant AS granted
    JOIN programme ON programme.id = granted.programme_id
    JOIN prescriber ON prescriber.id = granted.prescriber_id
    LEFT JOIN lot ON lot.id = granted.lot_id
    CROSS JOIN LATERAL (
        SELECT greatest(max(CAST(other.created_at AT TIME ZONE 'Europe/Paris' AS date)), max(spent.day)) AS day
        FROM cheque_grant AS other
        LEFT JOIN LATERAL (
            SELECT max(greatest(redeemed_on, reversed_on)) AS day
            FROM redemption JOIN cheque ON cheque.id = redemption.cheque_id WHERE cheque.grant_id = other.id
        ) AS spent ON true
        WHERE other.beneficiary_id = granted.beneficiary_id AND other.programme_id = granted.programme_id
    ) AS contact
    WHERE granted.beneficiary_id = :person AND (CAST(:owner AS uuid) IS NULL OR granted.prescriber_id = :owner)
    ORDER BY granted.granted_on, granted.id
""")
_CHEQUES = sa.text("""
    SELECT cheque.grant_id, cheque.id AS cheque_id, cheque.value_cents, cheque.state, redemption.redeemed_on,
           redemption.structure_id, training_structure.name AS structure
    FROM cheque
    LEFT JOIN redemption ON redemption.cheque_id = cheque.id AND cheque.ending = 'redeemed'
         AND redemption.redeemed_on IS NOT NULL AND redemption.reversed_on IS NULL
    LEFT JOIN training_structure ON training_structure.id = redemption.structure_id
    WHERE cheque.grant_id = ANY(CAST(:grants AS uuid[]))
    ORDER BY cheque.id
""")
_REQUESTS = sa.text("""
    SELECT cancellation.id AS cancellation_id, cancellation.reason, replacement.cause, cancellation.requested_at,
           array_agg(line.cheque_id ORDER BY line.cheque_id) AS cheque_ids
    FROM cancellation_cheque AS line
    JOIN cheque ON cheque.id = line.cheque_id
    JOIN cancellation ON cancellation.id = line.cancellation_id
    LEFT JOIN replacement ON replacement.cancellation_id = cancellation.id
    WHERE cheque.grant_id = ANY(CAST(:grants AS uuid[]))
    GROUP BY cancellation.id, replacement.cause ORDER BY cancellation.id
""")
_NOTICES = sa.text("""
    SELECT kind, subject_id AS grant_id, posted_at FROM notice
    WHERE subject_id = ANY(CAST(:grants AS uuid[])) ORDER BY id
""")
_ALL_GRANTS = sa.text("SELECT count(*) FROM cheque_grant WHERE beneficiary_id = :person")


def find(session: Session, identities: Identities, identity: Identity, owner: UUID | None) -> UUID:
    """The row of a person; raises NotFound where there is none, or none whom the owner granted something."""
    return _within_scope(session, identities.by_digest(session, identity), owner)


def held(session: Session, identities: Identities, person_id: UUID, owner: UUID | None) -> dict[str, Any]:
    """All data of a person, within the owner's scope (None: all of it); raises NotFound."""
    params = {"person": _within_scope(session, person_id, owner), "owner": owner}
    grants = session.execute(_GRANTS, params).mappings().all()
    of_grants = {"grants": [grant["grant_id"] for grant in grants]}
    cheques = defaultdict(list)
    for cheque in session.execute(_CHEQUES, of_grants).mappings():
        cheques[cheque["grant_id"]].append(cheque)
    return {
        "person_id": person_id,
        "told_at": clock.now(),
        "identity": asdict(identities.open(session.get_one(Beneficiary, person_id))),
        "last_contact_on": max(grant["last_contact_on"] for grant in grants),
        "grants": [{**grant, "cheques": cheques[grant["grant_id"]]} for grant in grants],
        "requests": session.execute(_REQUESTS, of_grants).mappings().all(),
        "notices": session.execute(_NOTICES, of_grants).mappings().all(),
        "grants_of_others": session.scalars(_ALL_GRANTS, params).one() - len(grants),
    }


def correct(session: Session, identities: Identities, person_id: UUID, identity: Identity, owner: UUID | None) -> None:
    """Corrects who a person is, on a row that is the same one.

    Raises NotFound; Conflict where others granted to them too, or where somebody else has this identity.
    """
    erasure.lock_own(session, person_id, owner)
    if identities.by_digest(session, identity) not in (None, person_id):
        raise Conflict("Somebody else is known by these names and this day of birth.", slug="person-known")
    person = session.get_one(Beneficiary, person_id, populate_existing=True)
    identities.rename(person, identity)
    session.flush()


def _within_scope(session: Session, person_id: UUID | None, owner: UUID | None) -> UUID:
    if person_id is None or not session.scalar(_HAS_GRANT, {"person": person_id, "owner": owner}):
        raise NotFound("There is no such person within your scope.")
    return person_id
