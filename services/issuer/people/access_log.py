"""The record of who read the data of a person: which row, never the name."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.orm import Session

from services.issuer.people.identities import Identities, Identity
from shared.audit import trail
from shared.observability.logs import logger


def record(session: Session, action: str, person_id: UUID | None, by: str) -> None:
    """Audits, in the session's transaction, that the caller looked for a person, or read or erased their data."""
    trail.record(session, "beneficiary", [person_id], after={"shown" if action != "erased" else "did": action})
    logger().info("person_data", action=action, person_id=str(person_id) if person_id else None, caller=by)


def record_assessed(session: Session, identities: Identities, people: Iterable[Identity]) -> None:
    """Audits the stored people whose remaining entitlement was disclosed."""
    if found := identities.rows_of(session, people):
        trail.record(session, "beneficiary", found, after={"shown": "assessed"})
        logger().info("people_assessed", people=len(found))
