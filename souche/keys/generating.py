"""All secret settings of a new deployment."""

import secrets
from collections.abc import Callable

from shared.settings.settings import SERVICES, write_key
from souche.keys.signer import Signer

SECRET_KEYS = ("CODE_DIGEST_KEY", "CODE_ENCRYPTION_KEYS", "IDENTITY_DIGEST_KEY", "IDENTITY_ENCRYPTION_KEYS")


def random_key() -> bytes:
    return secrets.token_bytes(32)


def generate_secrets(signer: Signer, make_key: Callable[[], bytes] = random_key) -> dict[str, str]:
    """Every secret setting of the three services, freshly made, by its name in `.env.example`."""
    names = (*SECRET_KEYS, *(f"{service.upper()}_SIGNING_KEYS" for service in SERVICES))
    return {
        "TOKEN_PUBLIC_KEYS": write_key(signer.key_id, signer.public_key),
        "TOKEN_PRIVATE_KEY": write_key(signer.key_id, signer.private_key),
        **{name: write_key("k1", make_key()) for name in names},
        **service_tokens(signer),
    }


def service_tokens(signer: Signer) -> dict[str, str]:
    """The tokens with which the services call each other, by setting."""
    return {f"{service.upper()}_SERVICE_TOKEN": signer.service_token(service) for service in SERVICES}
