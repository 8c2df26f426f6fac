"""Logins in the audit trail: who was let in and as what, and who was refused.

A program, which requests a token every ten minutes, leaves an entry for the first of a day from each address; a person
leaves one for each login and role. Refusals leave a few entries an hour, each with the number of those left out since
the one before, so nobody fills the trail by sending nonsense. What a refused caller sent is never recorded; the log has
a line for every refusal.
"""

from datetime import datetime, timedelta

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
MAX_AN_HOUR = 10
"""The refusals of a kind that a process records within an hour."""
_APART = timedelta(minutes=5)  # the provider's clock and the database's


def record(session: Session, identity: Identity, logged_in_at: datetime | None, address: str | None) -> None:
    """Records that somebody is let in, unless there is an entry of this login, or of the program's today.

    `logged_in_at` is when the provider let a person in; None for a program.
    """
    how = {"by": "provider", "logged_in_at": logged_in_at.isoformat()} if logged_in_at else {"by": "secret"}
    midnight = datetime.combine(clock.today(), datetime.min.time(), clock.PARIS)
    same = (
        ENTRY.c.object_id == identity.subject,
        ENTRY.c.object_kind == KIND,
        ENTRY.c.occurred_at >= (logged_in_at - _APART if logged_in_at else midnight),
        ENTRY.c.role == identity.role.value,
        ENTRY.c.scope.is_not_distinct_from(identity.scope),
        ENTRY.c.address.is_not_distinct_from(address),
        ENTRY.c.after == sa.cast(how, JSONB),
        ENTRY.c.outcome == trail.DONE,
    )
    if not session.scalar(sa.select(sa.exists().where(*same))):
        with trail.acting(Act(identity.role.value, identity.subject, ACTION, identity.scope, address)):
            trail.record(session, KIND, [identity.subject], after=how)


class LoginRefusals:
    """The refusals that one process recorded within the hour, and the number of the others."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._first = FirstOfWindow(MAX_AN_HOUR, 3600.0)

    def record(self, error: str, subject: str | None, address: str | None, *, locked_out: bool) -> None:
        """Records a refusal, or counts it; `subject` is a proven name or an identifier, never what was merely sent."""
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
