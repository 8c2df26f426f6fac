"""Logins in the audit trail: who was let in and as what, and who was refused.

Tokens live ten minutes, so a program asks for one all day long: it leaves an entry for the first of a day from each
address. A person leaves one for each login and role. Refusals leave a few entries an hour, each of which counts those
that were not written since the one before: nobody fills the trail by sending nonsense. What a refused caller sent is
never written down; the log has a line for every refusal.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.access.login import Identity
from shared.audit import trail
from shared.audit.trail import ENTRY, Act
from shared.limiting.first_of_window import FirstOfWindow
from shared.observability.logs import logger
from shared.process.runtime import Runtime
from shared.values import clock

ACTION = KIND = "login"
AN_HOUR = 10
"""The most refusals of a kind that a process records within an hour."""
_HOUR_SECONDS = 3600.0
_APART = timedelta(minutes=5)  # the provider's clock and the database's


def record(session: Session, identity: Identity, said_at: datetime | None, address: str | None) -> None:
    """Records that somebody is let in, unless this login, or today's of this program, stands there already.

    `said_at` is when the provider let a person in; None for a program.
    """
    how = {"by": "provider", "logged_in_at": said_at.isoformat()} if said_at else {"by": "secret"}
    midnight = datetime.combine(clock.today(), datetime.min.time(), clock.PARIS)
    since = said_at - _APART if said_at else midnight
    role, subject = identity.role.value, identity.subject
    if not session.scalar(_stands(role, identity.scope, subject, address, how, since)):
        with trail.acting(Act(role, subject, ACTION, identity.scope, address)):
            trail.record(session, KIND, [subject], after=how)


def _stands(
    role: str, scope: UUID | None, subject: str, address: str | None, how: dict[str, Any], since: datetime
) -> sa.Select[tuple[bool]]:
    same = (
        ENTRY.c.object_id == subject,
        ENTRY.c.object_kind == KIND,
        ENTRY.c.occurred_at >= since,
        ENTRY.c.role == role,
        ENTRY.c.scope.is_not_distinct_from(scope),
        ENTRY.c.address.is_not_distinct_from(address),
        ENTRY.c.after == sa.cast(how, JSONB),
        ENTRY.c.outcome == trail.DONE,
    )
    return sa.select(sa.exists().where(*same))


class LoginRefusals:
    """What one process has written down of refusals within the hour, and what it has not."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._first = FirstOfWindow(AN_HOUR, _HOUR_SECONDS)

    def record(self, error: str, subject: str | None, address: str | None, *, locked_out: bool) -> None:
        """Records a refusal, or counts it; `subject` is whom it is about, where that is proven or an identifier."""
        kind = "locked_out" if locked_out else error
        withheld = self._first.withheld(kind)
        if withheld is None:
            return
        facts = {"error": error, "locked_out": locked_out, "not_written_since": withheld}
        try:
            with trail.acting(Act("nobody", "-", ACTION, None, address)), self._runtime.transaction() as session:
                trail.record(session, KIND, [subject], after=facts, outcome=trail.REFUSED)
        except SQLAlchemyError as failure:
            logger().error("refusal_not_recorded", error=type(failure).__name__)
