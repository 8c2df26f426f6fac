"""Tokens revoked before they expire: one, or all of a holder or a scope issued until an instant.

The list is short. Each process reads it anew every few seconds rather than with every request, so a revocation takes
effect everywhere within `FRESH_SECONDS`; while the database does not answer, requests are not answered either.
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
from shared.values import clock

FRESH_SECONDS = 2.0
# One thread reads while the others go on with the list they have; from here on they wait for it.
_STALE_SECONDS = 10.0

TOKEN, SUBJECT, SCOPE = KINDS = ("token", "subject", "scope")

_IN_FORCE = Revocation.until.is_(None) | (Revocation.until > sa.func.now())


def revoke(
    session: Session, kind: str, value: str, reason: str, revoked_by: str, lifetime: timedelta | None = None
) -> Revocation:
    """Revokes one token, or all of a subject or scope issued until now.

    `lifetime` is how long such tokens live at most; the entry is deleted after it.
    """
    now = clock.now()
    session.execute(sa.delete(Revocation).where(Revocation.until < now))
    until = now + lifetime if lifetime else None
    made = Revocation(kind=kind, value=value, before=now, until=until, reason=reason, revoked_by=revoked_by)
    session.add(made)
    session.flush()
    return made


def in_force() -> sa.Select[Any]:
    """The query of what is revoked now."""
    return sa.select(Revocation).where(_IN_FORCE)


def took_back(session: Session, subject: str, scope: UUID | None, issued_at: datetime) -> bool:
    """Whether a token of a holder or a scope issued at this instant is revoked, read from the table itself."""
    return _Revoked(_read(session)).refuse("", subject, scope, issued_at.timestamp())


class _Revoked:
    """The instants (seconds since 1970) until which tokens are revoked, by kind and value."""

    def __init__(self, rows: Mapping[tuple[str, str], float]) -> None:
        self._rows = rows

    def refuse(self, token_id: str, subject: str, scope: UUID | None, issued_at: float) -> bool:
        rows = self._rows
        before = max(rows.get((SUBJECT, subject), 0.0), rows.get((SCOPE, str(scope)), 0.0))
        return issued_at <= before or (TOKEN, token_id) in rows


def _read(session: Session) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    query = sa.select(Revocation.kind, Revocation.value, Revocation.before).where(_IN_FORCE)
    for kind, value, before in session.execute(query):
        found[kind, value] = max(before.timestamp(), found.get((kind, value), 0.0))
    return found


class RevocationList:
    """The list of revocations as one process read it last."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Session]]) -> None:
        self._transaction = transaction
        self._lock = threading.Lock()
        self._revoked, self._read_at = _Revoked({}), float("-inf")

    def refuse(self, caller: Caller) -> bool:
        """Whether the token of this caller was taken back, by the list of a moment ago."""
        age = time.monotonic() - self._read_at
        if age > FRESH_SECONDS and self._lock.acquire(blocking=age > _STALE_SECONDS):
            try:
                self._refresh()
            finally:
                self._lock.release()
        return self._revoked.refuse(caller.token_id, caller.subject, caller.scope, caller.issued_at)

    def _refresh(self) -> None:
        began = time.monotonic()
        if began - self._read_at <= FRESH_SECONDS:
            return  # another thread read it while this one waited
        with self._transaction() as session:
            self._revoked = _Revoked(_read(session))
        self._read_at = began
