"""Programs that get tokens by a secret: registered, disabled and enabled by an admin."""

import hashlib
import hmac
import secrets as random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.access import revocations
from shared.access.models import Client, Secret
from shared.database.lookup import get_or_404
from shared.database.paging import page_by
from shared.problems import Conflict, NotFound
from shared.values import clock

MAX_SECRETS = 2
_NO_CLIENT = "There is no such client."
_PREFIX = "souche_"  # by which scanners for leaked secrets recognise one


def find(session: Session, client_id: UUID) -> Client:
    """A client; raises NotFound."""
    return get_or_404(session, Client, client_id, _NO_CLIENT)


def register(session: Session, name: str, role: str, scope: UUID | None, created_by: str) -> Client:
    """Adds a client, without a secret yet."""
    client = Client(name=name, role=role, scope=scope, created_by=created_by, secrets=[])
    session.add(client)
    session.flush()
    return client


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the clients, disabled ones included."""
    return page_by(session, Client, query)


def add_secret(session: Session, client_id: UUID, created_by: str) -> tuple[Secret, str]:
    """Adds a secret and returns its text too, to show this once; raises NotFound, and Conflict where there are two."""
    client = get_or_404(session, Client, client_id, _NO_CLIENT, lock=True)
    if len(client.secrets) >= MAX_SECRETS:
        raise Conflict("Two secrets are good already: end the one that is no longer used.", slug="two-secrets")
    text = _PREFIX + random.token_urlsafe(32)
    secret = Secret(client_id=client_id, digest=_digest(text), created_by=created_by)
    session.add(secret)
    session.flush()
    return secret, text


def end_secret(session: Session, client_id: UUID, secret_id: UUID, ended_by: str, lifetime: timedelta) -> Client:
    """Deletes a secret and revokes the client's tokens; another secret gets new ones. Raises NotFound."""
    client = find(session, client_id)
    ended = session.execute(sa.delete(Secret).where(Secret.client_id == client_id, Secret.secret_id == secret_id))
    if not ended.rowcount:  # type: ignore[attr-defined]
        raise NotFound("The client has no such secret.")
    revocations.revoke(session, revocations.SUBJECT, client.subject, "a secret was ended", ended_by, lifetime)
    session.refresh(client)
    return client


def disable(session: Session, client_id: UUID, reason: str, disabled_by: str, lifetime: timedelta) -> Client:
    """Revokes a client's tokens and issues it no more; raises NotFound."""
    client = find(session, client_id)
    client.disabled_at, client.disabled_reason = clock.now(), reason
    revocations.revoke(session, revocations.SUBJECT, client.subject, reason, disabled_by, lifetime)
    session.flush()
    return client


def enable(session: Session, client_id: UUID) -> Client:
    """Accepts a client's secrets again; raises NotFound."""
    client = find(session, client_id)
    client.disabled_at = client.disabled_reason = None
    session.flush()
    return client


def identifier(text: str) -> str | None:
    """The client's id in canonical form; None where the text is no UUID."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def authenticate(session: Session, client_id: str, secret: str) -> Client | None:
    """The client of an id and a secret; None where they do not fit, whichever of them is wrong."""
    canonical = identifier(client_id)
    client = session.get(Client, UUID(canonical)) if canonical else None
    if client is None or client.disabled_at is not None:
        return None
    digest = _digest(secret)
    fits = [hmac.compare_digest(digest, kept.digest) for kept in client.secrets]
    return client if any(fits) else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
