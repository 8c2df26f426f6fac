"""Login: which token a client gets by its secret, or a person by what the OpenID Connect provider signed."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.access import clients, revocations
from shared.access.models import Membership
from shared.access.oidc_provider import Person
from shared.access.tokens import Role
from shared.places.importer import PlaceColumns
from shared.problems import Invalid, Problem

_NO_ESTABLISHMENT = "00000000000000"  # what the national schema writes where there is no SIRET


class Denied(Problem):
    """No token is given; `error` is one of RFC 6749, section 5.2."""

    slug = "token-denied"
    title = "No token is given"

    def __init__(self, error: str, detail: str, **members: Any) -> None:
        super().__init__(detail, error=error, error_description=detail, **members)


class WrongClient(Denied):
    """The client's id and secret do not fit, or it is disabled."""

    status = HTTPStatus.UNAUTHORIZED

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
    """The identity of a person: by their membership, or by the register of the establishment they work for.

    Raises Denied, with the `choices` where there are several.
    """
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
