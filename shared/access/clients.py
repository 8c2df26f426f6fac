"""Programs that get tokens by a secret: registered, with secrets, disabled and enabled again by an admin."""

import hashlib
import hmac
import secrets as random
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.access import revocations
from shared.access.models import Client, Secret
from shared.database.lookup import get_or_404
from shared.problems import Conflict, NotFound
from shared.values import clock

LIVE_SECRETS = 2
_PREFIX = "souche_"  # by which programs that look for secrets in the wrong places know one


def find(session: Session, client_id: UUID) -> Client:
    """A client; raises NotFound."""
    return get_or_404(session, Client, client_id, "There is no such client.")


def register(session: Session, name: str, role: str, scope: UUID | None, created_by: str) -> Client:
    """A new client, without a secret yet."""
    made = Client(name=name, role=role, scope=scope, created_by=created_by, secrets=[])
    session.add(made)
    session.flush()
    session.refresh(made)
    return made


def add_secret(session: Session, client_id: UUID, created_by: str) -> tuple[Secret, str]:
    """A new secret beside the one in use, and its text, which is shown this once.

    Raises NotFound, and Conflict where there are two already.
    """
    client = find(session, client_id)
    session.execute(sa.select(Client.client_id).where(Client.client_id == client_id).with_for_update())
    session.refresh(client)
    if len(client.secrets) >= LIVE_SECRETS:
        raise Conflict("Two secrets are good already: end the one that is no longer used.", slug="two-secrets")
    text = _PREFIX + random.token_urlsafe(32)
    secret = Secret(client_id=client_id, digest=_digest(text), created_by=created_by)
    session.add(secret)
    session.flush()
    session.refresh(secret)
    return secret, text


def end_secret(session: Session, client_id: UUID, secret_id: UUID, ended_by: str, lifetime: timedelta) -> Client:
    """Ends a secret, and what was got by it: whoever has another gets new tokens by that. Raises NotFound."""
    client = find(session, client_id)
    ended = session.execute(sa.delete(Secret).where(Secret.client_id == client_id, Secret.secret_id == secret_id))
    if not ended.rowcount:  # type: ignore[attr-defined]
        raise NotFound("The client has no such secret.")
    revocations.revoke(session, revocations.SUBJECT, client.subject, "a secret was ended", ended_by, lifetime)
    session.expire(client)
    return client


def disable(session: Session, client_id: UUID, reason: str, disabled_by: str, lifetime: timedelta) -> Client:
    """Takes a client's tokens back and gives it no more; raises NotFound."""
    client = find(session, client_id)
    client.disabled_at, client.disabled_reason = clock.now(), reason
    revocations.revoke(session, revocations.SUBJECT, client.subject, reason, disabled_by, lifetime)
    session.flush()
    return client


def enable(session: Session, client_id: UUID) -> Client:
    """Lets a client in again; raises NotFound."""
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
    digest = _digest(secret)
    fits = [hmac.compare_digest(digest, kept.digest) for kept in client.secrets] if client else []
    return client if client and any(fits) and client.disabled_at is None else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
