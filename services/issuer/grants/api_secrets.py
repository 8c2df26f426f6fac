"""TODO."""

from services.issuer.grants.secrets import Secrets
from shared.http.request_context import runtime


def secrets() -> Secrets:
    """What seals codes and identities, from the settings."""
    return Secrets.of(runtime().settings.keys)
