"""Roles of people who log in by the OpenID Connect provider, given and taken by an admin."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.access import revocations
from shared.access.models import Membership
from shared.database.lookup import get_or_404
from shared.database.paging import page_by
from shared.problems import Conflict


def add(session: Session, membership: Membership) -> Membership:
    """Adds a role of a person; raises Conflict where they have it already."""
    same = sa.select(Membership).where(
        Membership.provider == membership.provider, Membership.subject == membership.subject,
        Membership.role == membership.role, Membership.scope.is_not_distinct_from(membership.scope),
    )  # fmt: skip
    if session.scalar(same):
        raise Conflict("The person has this role already.", slug="already-member")
    session.add(membership)
    session.flush()
    return membership


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of everybody's roles."""
    return page_by(session, Membership, query)


def end(session: Session, membership_id: UUID, ended_by: str, lifetime: timedelta) -> Membership:
    """Deletes a role of a person and revokes their tokens; raises NotFound."""
    membership = get_or_404(session, Membership, membership_id, "There is no such membership.")
    session.delete(membership)
    subject = f"{membership.provider}|{membership.subject}"
    revocations.revoke(session, revocations.SUBJECT, subject, "a role was taken", ended_by, lifetime)
    return membership
