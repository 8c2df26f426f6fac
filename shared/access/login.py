"""Login: which token a client gets by its secret, or a person by their roles and what the OpenID provider signed.

The audit trail has an entry for the first token of a program in a day from each address, for each login and role of a
person, and for a few refusals an hour, with the number of those left out: nobody fills it by sending nonsense. What a
refused caller sent is never recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.access import clients, revocations
from shared.access.models import Membership
from shared.access.oidc_provider import Person
from shared.access.tokens import Role
from shared.audit import trail
from shared.audit.trail import ENTRY, Act
from shared.database.lookup import get_or_404
from shared.database.paging import page_by
from shared.limiting.first_of_window import FirstOfWindow
from shared.observability.logs import logger
from shared.places.importer import PlaceColumns
from shared.problems import Conflict, Invalid, Problem
from shared.process.runtime import Runtime
from shared.values import clock

MAX_REFUSALS = 10  # of a kind that a process records within an hour
_ACTION = _KIND = "login"
_APART = timedelta(minutes=5)  # the provider's clock and the database's
_NO_ESTABLISHMENT = "00000000000000"  # what the national schema writes where there is no SIRET


class Denied(Problem, slug="token-denied", title="No token is given"):
    """No token is issued; `error` is one of RFC 6749, section 5.2."""

    def __init__(self, error: str, detail: str, **members: Any) -> None:
        super().__init__(detail, error=error, error_description=detail, **members)


class WrongClient(Denied, status=HTTPStatus.UNAUTHORIZED):
    """The client's id and secret do not fit, or it is disabled."""

    def __init__(self) -> None:
        super().__init__("invalid_client", "There is no such client, or it has another secret.")


@dataclass(frozen=True)
class Register:
    """The places of a service, one of which may be the scope of a person's or a client's token."""

    role: Role
    places: type[PlaceColumns]


def require_place(session: Session, register: Register | None, role: str, scope: UUID | None) -> None:
    """Raises Invalid where a scope is no place of this service's own register, which knows no other's places."""
    if scope is None:
        return
    if register is None or register.role != role:
        raise Invalid(f"This service has no {role}s.", errors={"role": ["Register it where they are known."]})
    if session.get(register.places, scope) is None:
        raise Invalid(f"There is no such {role}.", errors={"scope": [f"Expected the id of a {role}."]})


@dataclass(frozen=True)
class Identity:
    """The role, scope and subject that a token will carry."""

    subject: str
    role: Role
    scope: UUID | None
    name: str = ""

    @property
    def requested_scope(self) -> str:
        """The scope by which it is requested: `admin`, or `structure:<id>`."""
        return f"{self.role}:{self.scope}" if self.scope else str(self.role)


def by_secret(session: Session, client_id: str, secret: str, wanted: str) -> Identity:
    """The identity of a client; raises WrongClient or Denied."""
    client = clients.authenticate(session, client_id, secret)
    if client is None:
        raise WrongClient
    found = Identity(client.subject, Role(client.role), client.scope, client.name)
    return _choose([found], wanted)


def by_person(session: Session, person: Person, register: Register | None, wanted: str) -> Identity:
    """The identity of a person by membership or establishment; raises Denied, with `choices` if there are several."""
    found = _choose([*_memberships(session, person), *_places(session, person, register)], wanted)
    if revocations.is_revoked(session, found.subject, found.scope, person.logged_in_at):
        raise Denied("invalid_grant", "This login was revoked: log in again.")
    return found


def _choose(found: Sequence[Identity], wanted: str) -> Identity:
    chosen = [identity for identity in found if identity.requested_scope == wanted] if wanted else list(found)
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        raise Denied("invalid_grant", "This service does not know you: ask the département for access.")
    choices = [{"scope": identity.requested_scope, "name": identity.name} for identity in found]
    raise Denied("invalid_scope", "Name one of these `choices` as `scope`.", choices=choices)


def _memberships(session: Session, person: Person) -> list[Identity]:
    mine = (Membership.provider == person.provider) & (Membership.subject == person.subject)
    rows = session.scalars(sa.select(Membership).where(mine).order_by(Membership.membership_id))
    return [Identity(str(person), Role(row.role), row.scope) for row in rows]


def _places(session: Session, person: Person, register: Register | None) -> list[Identity]:
    if register is None or not person.siret or person.siret == _NO_ESTABLISHMENT:
        return []
    places = register.places
    found = session.execute(sa.select(places.id, places.name).where(places.siret == person.siret).order_by(places.id))
    return [Identity(str(person), register.role, row.id, row.name) for row in found]


def add_membership(session: Session, membership: Membership) -> Membership:
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


def memberships(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of everybody's roles."""
    return page_by(session, Membership, query)


def end_membership(session: Session, membership_id: UUID, ended_by: str, lifetime: timedelta) -> Membership:
    """Deletes a role of a person and revokes their tokens; raises NotFound."""
    membership = get_or_404(session, Membership, membership_id, "There is no such membership.")
    session.delete(membership)
    subject = f"{membership.provider}|{membership.subject}"
    revocations.revoke(session, revocations.SUBJECT, subject, "a role was taken", ended_by, lifetime)
    return membership


def record(session: Session, identity: Identity, logged_in_at: datetime | None, address: str | None) -> None:
    """Records that somebody is let in, unless there is an entry of this login, or of the program's today.

    `logged_in_at` is when the provider let a person in; None for a program.
    """
    how = {"by": "provider", "logged_in_at": logged_in_at.isoformat()} if logged_in_at else {"by": "secret"}
    midnight = datetime.combine(clock.today(), datetime.min.time(), clock.PARIS)
    same = (
        ENTRY.c.object_id == identity.subject,
        ENTRY.c.object_kind == _KIND,
        ENTRY.c.occurred_at >= (logged_in_at - _APART if logged_in_at else midnight),
        ENTRY.c.role == identity.role.value,
        ENTRY.c.scope.is_not_distinct_from(identity.scope),
        ENTRY.c.address.is_not_distinct_from(address),
        ENTRY.c.after == sa.cast(how, JSONB),
        ENTRY.c.outcome == trail.DONE,
    )
    if not session.scalar(sa.select(sa.exists().where(*same))):
        with trail.acting(Act(identity.role.value, identity.subject, _ACTION, identity.scope, address)):
            trail.record(session, _KIND, [identity.subject], after=how)


class Refusals:
    """The refusals that one process recorded within the hour, and the number of the others."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._first = FirstOfWindow(MAX_REFUSALS, 3600.0)

    def record(self, error: str, subject: str | None, address: str | None, *, locked_out: bool) -> None:
        """Records a refusal, or counts it; `subject` is a proven name or an identifier, never what was merely sent."""
        kind = "locked_out" if locked_out else error
        withheld = self._first.withheld(kind)
        if withheld is None:
            return
        facts = {"error": error, "locked_out": locked_out, "not_written_since": withheld}
        try:
            with trail.acting(Act("nobody", "-", _ACTION, None, address)), self._runtime.transaction() as session:
                trail.record(session, _KIND, [subject], after=facts, outcome=trail.REFUSED)
        except SQLAlchemyError as failure:
            logger().error("refusal_not_recorded", error=type(failure).__name__)
