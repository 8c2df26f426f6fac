"""Keys: the one that signs tokens, and the making of all that a deployment needs."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from marshmallow import ValidationError

from shared import auth
from shared.config import SERVICES, ConfigurationError, read_keys, write_key

SECRET_KEYS = ("CODE_DIGEST_KEY", "CODE_ENCRYPTION_KEYS", "IDENTITY_DIGEST_KEY", "IDENTITY_ENCRYPTION_KEYS")
ONE_DAY = timedelta(days=1)
TEN_YEARS = timedelta(days=3652)


@dataclass(frozen=True)
class Signer:
    """Holds the private key that tokens are signed with; the services hold the public one."""

    key_id: str
    private_key: bytes = field(repr=False)

    @classmethod
    def generate(cls, key_id: str = "k1") -> "Signer":
        """A signer with a new Ed25519 key."""
        return cls(key_id, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Signer":
        """The signer of TOKEN_PRIVATE_KEY; raises ConfigurationError where it is missing or wrong."""
        given = environ.get("TOKEN_PRIVATE_KEY")
        if not given:
            raise ConfigurationError("TOKEN_PRIVATE_KEY is not set: it signs tokens (`souche keys` makes one).")
        try:
            key_id, key = next(iter(read_keys(given).items()))
        except ValidationError as error:
            raise ConfigurationError(f"TOKEN_PRIVATE_KEY: {error.args[0]}") from None
        return cls(key_id, key)

    @property
    def public_key(self) -> bytes:
        """The raw Ed25519 public key."""
        return Ed25519PrivateKey.from_private_bytes(self.private_key).public_key().public_bytes_raw()

    def token(
        self, role: str, scope: UUID | str | None = None, subject: str = "souche", lifetime: timedelta = ONE_DAY
    ) -> str:
        """A token; `prescriber` and `structure` need the id of theirs as scope, the others take none."""
        of = None if scope is None else UUID(str(scope))
        return auth.issue(
            self.key_id, self.private_key, role=auth.Role(role), subject=subject, scope=of, lifetime=lifetime
        )


def generate_secrets(signer: Signer) -> dict[str, str]:
    """Every secret setting of the three services, freshly made, by its name in `.env.example`."""
    return {
        "TOKEN_PUBLIC_KEYS": write_key(signer.key_id, signer.public_key),
        "TOKEN_PRIVATE_KEY": write_key(signer.key_id, signer.private_key),
        **{name: write_key("k1", secrets.token_bytes(32)) for name in SECRET_KEYS},
        **{
            f"{service.upper()}_SERVICE_TOKEN": signer.token("service", subject=service, lifetime=TEN_YEARS)
            for service in SERVICES
        },
    }


@click.command()
def keys() -> None:
    """Make all secret settings of a new deployment and print them, as lines of a .env file.

    TOKEN_PRIVATE_KEY is for those who make tokens; the services do not need it.
    """
    for name, value in generate_secrets(Signer.generate()).items():
        click.echo(f"{name}={value}")
