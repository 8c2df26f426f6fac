"""The private key that signs tokens, and all secret settings of a deployment: making and rotating them."""

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from marshmallow import ValidationError

from shared.access import tokens
from shared.settings import weak_secrets
from shared.settings.settings import SERVICES, ConfigurationError, read_keys, write_key

ONE_DAY = timedelta(days=1)
ONE_YEAR = timedelta(days=366)
SECRET_KEYS = ("CODE_DIGEST_KEY", "CODE_ENCRYPTION_KEYS", "IDENTITY_DIGEST_KEY", "IDENTITY_ENCRYPTION_KEYS")
ROTATABLE = (*SECRET_KEYS, *(f"{service.upper()}_SIGNING_KEYS" for service in SERVICES), "TOKEN_PRIVATE_KEY")
ADD, USE, DROP = STEPS = ("add", "use", "drop")


@dataclass(frozen=True)
class Signer:
    """Holds the private key that tokens are signed with; the services hold the public one."""

    key_id: str
    private_key: bytes = field(repr=False)

    @classmethod
    def generate(cls, key_id: str = "k1") -> "Signer":
        """A signer with a new Ed25519 key."""
        return cls(key_id, secrets.token_bytes(32))

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Signer":
        """The signer of TOKEN_PRIVATE_KEY; raises ConfigurationError where it is missing or wrong."""
        setting = environ.get("TOKEN_PRIVATE_KEY")
        if not setting:
            raise ConfigurationError("TOKEN_PRIVATE_KEY is not set: it signs tokens (`souche keys` makes one).")
        try:
            key_id, key = next(iter(read_keys(setting).items()))
        except ValidationError as error:
            raise ConfigurationError(f"TOKEN_PRIVATE_KEY: {error.args[0]}") from None
        if fault := weak_secrets.of_ring({key_id: key}, demonstration=bool(environ.get("SOUCHE_DEMONSTRATION"))):
            raise ConfigurationError(f"TOKEN_PRIVATE_KEY: {fault}")
        return cls(key_id, key)

    @property
    def public_key(self) -> bytes:
        """The raw Ed25519 public key."""
        return Ed25519PrivateKey.from_private_bytes(self.private_key).public_key().public_bytes_raw()

    def token(
        self,
        role: str,
        scope: UUID | str | None = None,
        subject: str = "souche",
        lifetime: timedelta = ONE_DAY,
        audience: Collection[str] = SERVICES,
    ) -> str:
        """A token; `prescriber` and `structure` need the id of theirs as scope, the others take none."""
        of, as_role = None if scope is None else UUID(str(scope)), tokens.Role(role)
        return tokens.issue(
            self.key_id, self.private_key, role=as_role, subject=subject, scope=of, lifetime=lifetime, audience=audience
        )

    def service_token(self, service: str, lifetime: timedelta = ONE_YEAR) -> str:
        """The token with which a service calls the other two, and them alone."""
        others = [name for name in SERVICES if name != service]
        return self.token("service", subject=service, lifetime=lifetime, audience=others)


def random_key() -> bytes:
    return secrets.token_bytes(32)


def generate_secrets(signer: Signer, make_key: Callable[[], bytes] = random_key) -> dict[str, str]:
    """Every secret setting of the three services, freshly made, by its name in `.env.example`."""
    return {
        "TOKEN_PUBLIC_KEYS": write_key(signer.key_id, signer.public_key),
        "TOKEN_PRIVATE_KEY": write_key(signer.key_id, signer.private_key),
        **{name: write_key("k1", make_key()) for name in ROTATABLE if name != "TOKEN_PRIVATE_KEY"},
        **service_tokens(signer),
    }


def service_tokens(signer: Signer) -> dict[str, str]:
    """The tokens with which the services call each other, by setting."""
    return {f"{service.upper()}_SERVICE_TOKEN": signer.service_token(service) for service in SERVICES}


def rotated(ring: Mapping[str, bytes], step: str) -> dict[str, bytes]:
    """A setting's keys after a step: `add` a key that is accepted, `use` the last one added, `drop` all others.

    Raises ConfigurationError where there is nothing to use or drop.
    """
    if step == ADD:
        numbers = [int(key_id[1:]) for key_id in ring if key_id[:1] == "k" and key_id[1:].isdigit()]
        return {**ring, f"k{max(numbers, default=len(ring)) + 1}": random_key()}
    if len(ring) < 2:
        raise ConfigurationError(f"There is one key alone: nothing to {step}. Begin with `add`.")
    if step == USE:
        newest = list(ring)[-1]
        return {newest: ring[newest], **ring}
    return dict(list(ring.items())[:1])
