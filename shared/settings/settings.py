"""Configuration: one frozen object per process, read once from the environment.

Every setting is described in `.env.example`. A secret may also be given as a file: for `X`, set `X_FILE` to its path.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jwt
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from shared.settings import weak_secrets

SERVICES = ("issuer", "redeemer", "operator_bridge")

# Which secret keys a service holds: none has one that it does not need.
_KEYS = {
    "issuer": ("CODE_DIGEST_KEY", "CODE_ENCRYPTION_KEYS", "IDENTITY_DIGEST_KEY", "IDENTITY_ENCRYPTION_KEYS"),
    "redeemer": ("CODE_DIGEST_KEY",),
    "operator_bridge": (),
}

# Settings that only the command line reads.
_OF_THE_COMMAND_LINE = ("DATABASE_URL", "TOKEN_PRIVATE_KEY", "SOUCHE_TOKEN")

# Of the operators' settings, those whose values nobody else may know.
_SECRET_NAMES = ("SECRET", "SECRETS", "PASSWORD", "TOKEN", "KEY", "KEYS")

_HERE = ("127.0.0.1", "localhost", "::1")


# Which of them digest what must not be guessed.
_DIGESTING = ("IDENTITY_DIGEST_KEY", "CODE_DIGEST_KEY")


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message names each and says what is expected."""


@dataclass(frozen=True)
class Settings:
    """What one service's processes are told at start; `repr` shows no secret."""

    service: str
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    peers: Mapping[str, str]
    """Base address of each service, by its name."""
    service_token: str = field(repr=False)
    token_public_keys: Mapping[str, bytes]
    """Raw Ed25519 public keys by key id: all are accepted, so that keys can be rotated."""
    keys: Mapping[str, Mapping[str, bytes]] = field(repr=False)
    """Secret keys of 32 bytes by setting and key id; the first of each is the current one."""
    signing_keys: Mapping[str, bytes] = field(repr=False)
    """Raw Ed25519 private keys by key id: the first signs the short-lived tokens of this service, all are accepted."""
    access_token_seconds: int
    oidc_issuer: str
    """The address of the OpenID Connect provider; empty: nobody logs in by one."""
    oidc_client_ids: tuple[str, ...]
    """The names by which the provider knows us: a token of it is for one of them, or is none of ours."""
    oidc_acr: tuple[str, ...]
    """How strong a login has to be: one of these levels (`acr`); empty: that is the provider's business."""
    oidc_amr: tuple[str, ...]
    """By what a person has to have logged in, one of these methods (`amr`) at least; empty: likewise."""
    trusted_proxies: int
    """How many proxies of our own stand before the service, and say who called them."""
    operators: Mapping[str, str] = field(repr=False)
    """Every setting that begins with OPERATOR_, for the adapters of the operator bridge."""
    pool_size: int
    guesses_per_structure: int
    guesses_per_address: int
    guesses_in_all: int
    lockout_seconds: float
    requests_per_caller: int
    """Of each token holder, a minute; 0: as many as it likes."""
    requests_per_address: int
    """Of each address, a minute, without a good token; 0: as many as come."""
    sweep_seconds: float
    log_level: str
    message_retention_days: int = 400
    """Days after which an operator's message, as it came, is deleted once it is applied."""
    answer_retention_days: int = 400
    """Days for which a repeated request gets the answer that was kept under its Idempotency-Key."""
    applied_event_retention_days: int = 400
    """Days for which each event of another service that was applied is remembered by its id."""
    authority_name: str = "Le Département"
    """Who owes what statements say, as its papers name it."""
    traces_endpoint: str = ""
    """Where traces are sent (OTLP over HTTP), without the path of its signal; empty: nothing is traced."""
    traces_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    traces_ratio: float = 1.0

    @property
    def request_keys(self) -> tuple[bytes, ...]:
        """The keys of digests of requests, the current one first; a service that has none is told nothing secret."""
        return next((tuple(ring.values()) for name, ring in self.keys.items() if name in _DIGESTING), (b"",))


def read_keys(text: str) -> dict[str, bytes]:
    """Reads `id:base64,id:base64` into 32-byte keys by id, in their order."""
    keys = {}
    for part in text.split(","):
        key_id, _, encoded = part.strip().partition(":")
        try:
            key = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        except (binascii.Error, ValueError):
            key = b""
        if not key_id or len(key) != 32:
            raise ValidationError("Expected `id:key[,id:key…]`, each key being 32 bytes in URL-safe base64.")
        keys[key_id] = key
    return keys


def write_key(key_id: str, key: bytes) -> str:
    """The text form of a key that `read_keys` reads."""
    return f"{key_id}:{base64.urlsafe_b64encode(key).decode().rstrip('=')}"


class _Keys(fields.Field[dict[str, bytes]]):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, bytes]:
        return read_keys(value)


class _Headers(fields.Field[dict[str, str]]):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, str]:
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(name.strip() and sign for name, sign, _ in pairs):
            raise ValidationError("Expected `name=value[,name=value…]`.")
        return {name.strip().lower(): unquote(text.strip()) for name, _, text in pairs}


def load(service: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings of one service.

    Raises ConfigurationError naming every setting that is missing or wrong.
    """
    if service not in SERVICES:
        raise ConfigurationError(f"There is no service {service!r}: expected one of {', '.join(SERVICES)}.")
    environ = with_files(os.environ if environ is None else environ)
    try:
        read: dict[str, Any] = Schema.from_dict(_expected(service))(unknown=EXCLUDE).load(environ)
    except ValidationError as error:
        raise ConfigurationError(_explain(error.messages_dict)) from None
    _refuse_weak(service, environ, read)
    own = service.upper()
    return Settings(
        service=service,
        database_url=read[f"{own}_DATABASE_URL"],
        redis_url=read["REDIS_URL"],
        broker_url=read["BROKER_URL"] or read["REDIS_URL"],
        peers={name: read[f"{name.upper()}_URL"].rstrip("/") for name in SERVICES},
        service_token=read[f"{own}_SERVICE_TOKEN"],
        token_public_keys=read["TOKEN_PUBLIC_KEYS"],
        keys={name: read[name] for name in _KEYS[service]},
        signing_keys=read[f"{own}_SIGNING_KEYS"],
        access_token_seconds=read["ACCESS_TOKEN_SECONDS"],
        oidc_issuer=read["OIDC_ISSUER"].rstrip("/"),
        oidc_client_ids=_several(read["OIDC_CLIENT_IDS"]),
        oidc_acr=_several(read["OIDC_ACR"]),
        oidc_amr=_several(read["OIDC_AMR"]),
        trusted_proxies=read["TRUSTED_PROXIES"],
        operators={name: value for name, value in environ.items() if _is_operators(name)},
        pool_size=read["DATABASE_POOL_SIZE"],
        guesses_per_structure=read["GUESSES_PER_STRUCTURE"],
        guesses_per_address=read["GUESSES_PER_ADDRESS"],
        guesses_in_all=read["GUESSES_IN_ALL"],
        lockout_seconds=read["LOCKOUT_SECONDS"],
        requests_per_caller=read["REQUESTS_PER_CALLER"],
        requests_per_address=read["REQUESTS_PER_ADDRESS"],
        sweep_seconds=read["SWEEP_SECONDS"],
        log_level=read["LOG_LEVEL"],
        message_retention_days=read["MESSAGE_RETENTION_DAYS"],
        answer_retention_days=read["ANSWER_RETENTION_DAYS"],
        applied_event_retention_days=read["APPLIED_EVENT_RETENTION_DAYS"],
        authority_name=read["AUTHORITY_NAME"],
        traces_endpoint=read["OTEL_EXPORTER_OTLP_ENDPOINT"].rstrip("/"),
        traces_headers=read["OTEL_EXPORTER_OTLP_HEADERS"],
        traces_ratio=read["OTEL_TRACES_SAMPLER_ARG"],
    )


def _several(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


def _is_operators(name: str) -> bool:
    """OPERATOR_<CODE>_…; the service `operator_bridge` has settings that begin alike."""
    return name.startswith("OPERATOR_") and not name.startswith("OPERATOR_BRIDGE_")


def with_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without empty settings, each `X_FILE` read into `X` where X is a setting of ours.

    Raises ConfigurationError where such a file cannot be read.
    """
    given = {name: value for name, value in environ.items() if value}
    for name, path in list(given.items()):
        if name.endswith("_FILE") and _is_ours(name.removesuffix("_FILE")):
            try:
                given.setdefault(name.removesuffix("_FILE"), Path(path).read_text(encoding="utf-8").strip())
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{name}: {path} cannot be read: {error}") from None
    return given


def _is_ours(name: str) -> bool:
    """Other programs have settings that end in _FILE too, SSL_CERT_FILE for one."""
    known = {setting for service in SERVICES for setting in _expected(service)}
    return name in known | set(_OF_THE_COMMAND_LINE) or _is_operators(name)


def _expected(service: str) -> dict[str, fields.Field[Any]]:
    own = service.upper()
    return {
        f"{own}_DATABASE_URL": _address("postgresql://", "postgresql+psycopg://"),
        f"{own}_SERVICE_TOKEN": fields.Str(required=True),
        "REDIS_URL": _address("redis://", "rediss://", "unix://"),
        "BROKER_URL": fields.Str(load_default=""),
        **{f"{name.upper()}_URL": _address("http://", "https://") for name in SERVICES},
        **{name: _Keys(required=True) for name in ("TOKEN_PUBLIC_KEYS", *_KEYS[service])},
        f"{own}_SIGNING_KEYS": _Keys(required=True),
        "ACCESS_TOKEN_SECONDS": fields.Int(load_default=600, validate=validate.Range(60, 3600)),
        "OIDC_ISSUER": _address("https://", "http://127.0.0.1:", "http://localhost:", required=False),
        "OIDC_CLIENT_IDS": fields.Str(load_default=""),
        "OIDC_ACR": fields.Str(load_default=""),
        "OIDC_AMR": fields.Str(load_default=""),
        "TRUSTED_PROXIES": fields.Int(load_default=0, validate=validate.Range(0, 5)),
        "SOUCHE_DEMONSTRATION": fields.Bool(load_default=False),
        "DATABASE_POOL_SIZE": fields.Int(load_default=8, validate=validate.Range(1, 200)),
        "GUESSES_PER_STRUCTURE": fields.Int(load_default=20, validate=validate.Range(2)),
        "GUESSES_PER_ADDRESS": fields.Int(load_default=60, validate=validate.Range(2)),
        "GUESSES_IN_ALL": fields.Int(load_default=1000, validate=validate.Range(2)),
        "LOCKOUT_SECONDS": fields.Float(load_default=60.0, validate=validate.Range(1, 86_400)),
        "REQUESTS_PER_CALLER": fields.Int(load_default=3000, validate=validate.Range(0)),
        "REQUESTS_PER_ADDRESS": fields.Int(load_default=1200, validate=validate.Range(0)),
        "MESSAGE_RETENTION_DAYS": fields.Int(load_default=400, validate=validate.Range(30)),
        "ANSWER_RETENTION_DAYS": fields.Int(load_default=400, validate=validate.Range(400)),
        "APPLIED_EVENT_RETENTION_DAYS": fields.Int(load_default=400, validate=validate.Range(60)),
        "AUTHORITY_NAME": fields.Str(load_default="Le Département", validate=validate.Length(1, 200)),
        "SWEEP_SECONDS": fields.Float(load_default=5.0, validate=validate.Range(0.1, 3600)),
        "LOG_LEVEL": fields.Str(
            load_default="INFO", validate=validate.OneOf(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
        ),
        "OTEL_EXPORTER_OTLP_ENDPOINT": _address("http://", "https://", required=False),
        "OTEL_EXPORTER_OTLP_HEADERS": _Headers(load_default=dict),
        "OTEL_TRACES_SAMPLER_ARG": fields.Float(load_default=1.0, validate=validate.Range(0, 1)),
    }


def _address(*beginnings: str, required: bool = True) -> fields.Str:
    def check(value: str) -> None:
        if not value.startswith(beginnings):
            raise ValidationError(f"Expected an address that begins with {' or '.join(beginnings)}.")

    return fields.Str(required=True, validate=check) if required else fields.Str(load_default="", validate=check)


def _refuse_weak(service: str, environ: Mapping[str, str], read: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where a secret is one that others know or can guess."""
    own = {name: read[name] for name in (*_KEYS[service], f"{service.upper()}_SIGNING_KEYS")}
    rings = {**own, "TOKEN_PUBLIC_KEYS": read["TOKEN_PUBLIC_KEYS"]}
    texts = {name: value for name, value in environ.items() if _is_operators(name) and name.endswith(_SECRET_NAMES)}
    addresses = [f"{service.upper()}_DATABASE_URL", "REDIS_URL", "BROKER_URL"]
    faults = {
        **{name: weak_secrets.of_ring(ring, demonstration=_is_demonstration(read)) for name, ring in rings.items()},
        **weak_secrets.repeated(own),
        **{name: weak_secrets.of_operators(text) for name, text in texts.items()},
        **{name: weak_secrets.of_address(read[name]) for name in addresses},
        **_of_service_token(service, read),
    }
    if read["OIDC_ISSUER"] and not read["OIDC_CLIENT_IDS"]:
        faults["OIDC_CLIENT_IDS"] = "Expected the names by which the provider of OIDC_ISSUER knows us."
    found = {name: [fault] for name, fault in faults.items() if fault}
    if found:
        raise ConfigurationError(_explain(found))


def _of_service_token(service: str, read: Mapping[str, Any]) -> dict[str, str | None]:
    name = f"{service.upper()}_SERVICE_TOKEN"
    try:
        claims = jwt.decode(read[name], options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return {name: "Expected a token: `souche keys` makes one."}
    if (claims.get("role"), claims.get("sub")) != ("service", service):
        return {name: f"Expected a token of role `service` whose subject is {service}."}
    if not isinstance(claims.get("exp"), int | float):
        return {name: "Expected a token that ends some day."}
    return {}


def _is_demonstration(read: Mapping[str, Any]) -> bool:
    """The demonstration says so, and nothing of it is to be reached from another machine."""
    addresses = [read[f"{service.upper()}_URL"] for service in SERVICES]
    return bool(read["SOUCHE_DEMONSTRATION"]) and all(urlsplit(address).hostname in _HERE for address in addresses)


def _explain(messages: Mapping[str, Any]) -> str:
    lines = [f"  {name}: {' '.join(map(str, texts))}" for name, texts in sorted(messages.items())]
    return "The configuration is incomplete or wrong (see .env.example):\n" + "\n".join(lines)
