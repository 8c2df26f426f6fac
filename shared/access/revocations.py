"""Tokens revoked before they expire: one, or all of a holder or a scope issued until an instant.

Each process reads the short list every few seconds rather than with every request, so a revocation takes effect within
`FRESH_SECONDS`; while the database does not answer, requests are not answered either.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.access.models import Revocation
from shared.access.tokens import Caller
from shared.database import paging
from shared.values import clock

FRESH_SECONDS = 2.0
# One thread reads while the others go on with the list they have; from here on they wait for it.
_STALE_SECONDS = 10.0

TOKEN, SUBJECT, SCOPE = KINDS = ("token", "subject", "scope")

_IN_FORCE = Revocation.until.is_(None) | (Revocation.until > sa.func.now())


def revoke(
    session: Session, kind: str, value: str, reason: str, revoked_by: str, lifetime: timedelta | None = None
) -> Revocation:
    """Revokes one token, or all of a subject or scope issued until now; `lifetime` later the entry is deleted."""
    now = clock.now()
    session.execute(sa.delete(Revocation).where(Revocation.until < now))
    until = now + lifetime if lifetime else None
    revocation = Revocation(kind=kind, value=value, before=now, until=until, reason=reason, revoked_by=revoked_by)
    session.add(revocation)
    session.flush()
    return revocation


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of what is revoked now."""
    in_force = sa.select(Revocation).where(_IN_FORCE)
    return paging.page(session, in_force, Revocation.revocation_id, query["after"], query["limit"])


def is_revoked(session: Session, subject: str, scope: UUID | None, issued_at: datetime) -> bool:
    """Whether a token of a holder or a scope issued at this instant is revoked, read from the table itself."""
    return _covers(_read(session), "", subject, scope, issued_at.timestamp())


def _read(session: Session) -> dict[tuple[str, str], float]:
    """The instants (seconds since 1970) until which tokens are revoked, by kind and value."""
    query = sa.select(Revocation.kind, Revocation.value, sa.func.max(Revocation.before)).where(_IN_FORCE)
    rows = session.execute(query.group_by(Revocation.kind, Revocation.value))
    return {(kind, value): before.timestamp() for kind, value, before in rows}


def _covers(
    revoked: Mapping[tuple[str, str], float], token_id: str, subject: str, scope: UUID | None, issued_at: float
) -> bool:
    before = max(revoked.get((SUBJECT, subject), 0.0), revoked.get((SCOPE, str(scope)), 0.0))
    return issued_at <= before or (TOKEN, token_id) in revoked


class RevocationList:
    """The list of revocations as one process read it last."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Session]]) -> None:
        self._transaction = transaction
        self._lock = threading.Lock()
        self._revoked, self._read_at = dict[tuple[str, str], float](), float("-inf")

    def is_revoked(self, caller: Caller) -> bool:
        """Whether the token of this caller is revoked, by the list of a moment ago."""
        age = time.monotonic() - self._read_at
        if age > FRESH_SECONDS and self._lock.acquire(blocking=age > _STALE_SECONDS):
            try:
                began = time.monotonic()
                if began - self._read_at > FRESH_SECONDS:  # no other thread read it while this one waited
                    with self._transaction() as session:
                        self._revoked = _read(session)
                    self._read_at = began
            finally:
                self._lock.release()
        return _covers(self._revoked, caller.token_id, caller.subject, caller.scope, caller.issued_at)
