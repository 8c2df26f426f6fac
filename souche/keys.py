"""Keys: the one that signs tokens, and the making of all that a deployment needs."""

import os
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from marshmallow import ValidationError

from shared.access import tokens
from shared.settings import weak_secrets
from shared.settings.settings import SERVICES, ConfigurationError, read_keys, with_files, write_key

SECRET_KEYS = ("CODE_DIGEST_KEY", "CODE_ENCRYPTION_KEYS", "IDENTITY_DIGEST_KEY", "IDENTITY_ENCRYPTION_KEYS")
ONE_DAY = timedelta(days=1)
ONE_YEAR = timedelta(days=366)


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
        given = environ.get("TOKEN_PRIVATE_KEY")
        if not given:
            raise ConfigurationError("TOKEN_PRIVATE_KEY is not set: it signs tokens (`souche keys` makes one).")
        try:
            key_id, key = next(iter(read_keys(given).items()))
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


def _random_key() -> bytes:
    return secrets.token_bytes(32)


def generate_secrets(signer: Signer, make_key: Callable[[], bytes] = _random_key) -> dict[str, str]:
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


@click.group(invoke_without_command=True)
@click.pass_context
def keys(ctx: click.Context) -> None:
    """Make all secret settings of a new deployment and print them, as lines of a .env file.

    TOKEN_PRIVATE_KEY is for those who make tokens; the services do not need it.
    """
    if ctx.invoked_subcommand is None:
        for name, value in generate_secrets(Signer.generate()).items():
            click.echo(f"{name}={value}")


ADD, USE, DROP = STEPS = ("add", "use", "drop")


def rotated(ring: Mapping[str, bytes], step: str) -> dict[str, bytes]:
    """A setting's keys after a step: `add` a key that is accepted, `use` the last one added, `drop` all others.

    Raises ConfigurationError where there is nothing to use or drop.
    """
    if step == ADD:
        return {**ring, _next_id(ring): _random_key()}
    if len(ring) < 2:
        raise ConfigurationError(f"There is one key alone: nothing to {step}. Begin with `add`.")
    if step == USE:
        newest = list(ring)[-1]
        return {newest: ring[newest], **ring}
    return dict(list(ring.items())[:1])


def _next_id(ring: Mapping[str, bytes]) -> str:
    numbers = [int(key_id[1:]) for key_id in ring if key_id[:1] == "k" and key_id[1:].isdigit()]
    return f"k{max(numbers, default=len(ring)) + 1}"


ROTATABLE = (*SECRET_KEYS, *(f"{service.upper()}_SIGNING_KEYS" for service in SERVICES), "TOKEN_PRIVATE_KEY")


@keys.command()
@click.argument("setting", type=click.Choice(ROTATABLE))
@click.argument("step", type=click.Choice(STEPS))
def rotate(setting: str, step: str) -> None:
    """Print SETTING as it is after STEP of its rotation; with SETTING_FILE in the environment, write it there.

    \b
    add   a new key, accepted and not used yet: restart every process that has the setting
    use   the new key from now on, the former is still accepted: restart them again
    drop  the former: after `souche reencrypt` and, for keys that sign, when the last token signed with it has ended

    With TOKEN_PRIVATE_KEY, the TOKEN_PUBLIC_KEYS that belong to it are printed too.
    """
    environ = with_files(os.environ)
    if setting not in environ:
        raise ConfigurationError(f"{setting} is not set: there is nothing to rotate.")
    try:
        ring = rotated(read_keys(environ[setting]), step)
    except ValidationError as error:
        raise ConfigurationError(f"{setting}: {error.args[0]}") from None
    _hand_over(setting, ring)
    if setting == "TOKEN_PRIVATE_KEY":
        _hand_over("TOKEN_PUBLIC_KEYS", {key_id: Signer(key_id, key).public_key for key_id, key in ring.items()})


@keys.command("service-tokens")
def make_service_tokens() -> None:
    """Print new tokens for the services, good for a year; where X_FILE is set, write each there.

    The former ones are good until they end: restart every process, one after the other, and nothing is interrupted.
    """
    for setting, token in service_tokens(Signer.read(with_files(os.environ))).items():
        _write(setting, token, f"{setting}: good for {ONE_YEAR.days} days")


def _hand_over(setting: str, ring: Mapping[str, bytes]) -> None:
    text = ",".join(write_key(key_id, key) for key_id, key in ring.items())
    _write(setting, text, f"{setting}: {len(ring)} keys, the current one is {next(iter(ring))}")


def _write(setting: str, text: str, said: str) -> None:
    """Prints a setting, or where it comes from a file, writes that and says so."""
    path = os.environ.get(f"{setting}_FILE")
    if not path:
        click.echo(f"{setting}={text}")
        return
    fresh = Path(f"{path}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(f"{text}\n", encoding="utf-8")
    fresh.replace(path)
    click.echo(f"{said}, in {path}")
