"""Configuration: one frozen object per process, read once from the environment.

Every setting is described in `.env.example`. A secret may also come from a file: for `X`, set `X_FILE` to its path.
"""

import base64
import binascii
import dataclasses
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

# The secret keys of each service: none has one that it does not need.
_KEYS = {
    "issuer": ("CODE_DIGEST_KEY", "CODE_ENCRYPTION_KEYS", "IDENTITY_DIGEST_KEY", "IDENTITY_ENCRYPTION_KEYS"),
    "redeemer": ("CODE_DIGEST_KEY",),
    "operator_bridge": (),
}
# Which of them digest what must not be guessed.
_DIGESTING = ("IDENTITY_DIGEST_KEY", "CODE_DIGEST_KEY")

# Settings that only the command line reads.
_OF_THE_COMMAND_LINE = ("DATABASE_URL", "TOKEN_PRIVATE_KEY", "SOUCHE_TOKEN")
# Of the operators' settings, those whose values nobody else may know.
_SECRET_NAMES = ("SECRET", "SECRETS", "PASSWORD", "TOKEN", "KEY", "KEYS")
_HERE = ("127.0.0.1", "localhost", "::1")


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message names each and says what is expected."""


@dataclass(frozen=True)
class Settings:
    """The settings of one service's processes; `repr` shows no secret."""

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
    message_retention_days: int
    """Days after which an operator's message, as it came, is deleted once it is applied."""
    answer_retention_days: int
    """Days for which a repeated request gets the answer that was kept under its Idempotency-Key."""
    applied_event_retention_days: int
    """Days for which each event of another service that was applied is remembered by its id."""
    authority_name: str
    """Who owes what statements say, as its papers name it."""
    traces_endpoint: str
    """Where traces are sent (OTLP over HTTP), without the path of its signal; empty: nothing is traced."""
    traces_headers: Mapping[str, str] = field(repr=False)
    traces_ratio: float

    @property
    def request_keys(self) -> tuple[bytes, ...]:
        """The keys of digests of requests, the current one first; a service without any receives nothing secret."""
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


def _headers(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(name.strip() and sign for name, sign, _ in pairs):
        raise ValidationError("Expected `name=value[,name=value…]`.")
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}


def _several(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


def _keys(**options: Any) -> fields.Function:
    return fields.Function(deserialize=read_keys, required=True, **options)


def _address(*beginnings: str, **options: Any) -> fields.Str:
    def check(value: str) -> None:
        if not value.startswith(beginnings):
            raise ValidationError(f"Expected an address that begins with {' or '.join(beginnings)}.")

    return fields.Str(validate=check, **({"required": True} | options))


class _Environment(Schema):
    """The settings of every service, which the environment names in capitals."""

    class Meta:
        unknown = EXCLUDE

    redis_url = _address("redis://", "rediss://", "unix://")
    broker_url = fields.Str(load_default="")
    token_public_keys = _keys()
    access_token_seconds = fields.Int(load_default=600, validate=validate.Range(60, 3600))
    oidc_issuer = _address("https://", "http://127.0.0.1:", "http://localhost:", required=False, load_default="")
    oidc_client_ids = fields.Function(deserialize=_several, load_default=())
    oidc_acr = fields.Function(deserialize=_several, load_default=())
    oidc_amr = fields.Function(deserialize=_several, load_default=())
    trusted_proxies = fields.Int(load_default=0, validate=validate.Range(0, 5))
    souche_demonstration = fields.Bool(load_default=False)
    pool_size = fields.Int(data_key="DATABASE_POOL_SIZE", load_default=8, validate=validate.Range(1, 200))
    guesses_per_structure = fields.Int(load_default=20, validate=validate.Range(2))
    guesses_per_address = fields.Int(load_default=60, validate=validate.Range(2))
    guesses_in_all = fields.Int(load_default=1000, validate=validate.Range(2))
    lockout_seconds = fields.Float(load_default=60.0, validate=validate.Range(1, 86_400))
    requests_per_caller = fields.Int(load_default=3000, validate=validate.Range(0))
    requests_per_address = fields.Int(load_default=1200, validate=validate.Range(0))
    message_retention_days = fields.Int(load_default=400, validate=validate.Range(30))
    answer_retention_days = fields.Int(load_default=400, validate=validate.Range(400))
    applied_event_retention_days = fields.Int(load_default=400, validate=validate.Range(60))
    authority_name = fields.Str(load_default="Le Département", validate=validate.Length(1, 200))
    sweep_seconds = fields.Float(load_default=5.0, validate=validate.Range(0.1, 3600))
    log_level = fields.Str(
        load_default="INFO", validate=validate.OneOf(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
    )
    traces_endpoint = _address(
        "http://", "https://", data_key="OTEL_EXPORTER_OTLP_ENDPOINT", required=False, load_default=""
    )
    traces_headers = fields.Function(
        data_key="OTEL_EXPORTER_OTLP_HEADERS", deserialize=_headers, load_default=dict[str, str]
    )
    traces_ratio = fields.Float(data_key="OTEL_TRACES_SAMPLER_ARG", load_default=1.0, validate=validate.Range(0, 1))

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.data_key = field_obj.data_key or field_name.upper()


def _environment(service: str) -> Schema:
    own = service.upper()
    return _Environment.from_dict(
        {
            "database_url": _address("postgresql://", "postgresql+psycopg://", data_key=f"{own}_DATABASE_URL"),
            "service_token": fields.Str(data_key=f"{own}_SERVICE_TOKEN", required=True),
            "signing_keys": _keys(data_key=f"{own}_SIGNING_KEYS"),
            **{f"{name}_url": _address("http://", "https://") for name in SERVICES},
            **{name: _keys() for name in _KEYS[service]},
        }
    )()


def load(service: str, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of one service; raises ConfigurationError naming every setting that is missing or wrong."""
    if service not in SERVICES:
        raise ConfigurationError(f"There is no service {service!r}: expected one of {', '.join(SERVICES)}.")
    environ = with_files(os.environ if environ is None else environ)
    try:
        read: dict[str, Any] = _environment(service).load(environ)
    except ValidationError as error:
        raise ConfigurationError(_explain(error.messages_dict)) from None
    _refuse_weak(service, environ, read)
    settings = {field.name: read[field.name] for field in dataclasses.fields(Settings) if field.name in read}
    settings |= {name: read[name].rstrip("/") for name in ("oidc_issuer", "traces_endpoint")}
    settings["broker_url"] = read["broker_url"] or read["redis_url"]
    return Settings(
        **settings,
        service=service,
        peers={name: read[f"{name}_url"].rstrip("/") for name in SERVICES},
        keys={name: read[name] for name in _KEYS[service]},
        operators={name: value for name, value in environ.items() if _is_operators(name)},
    )


def _is_operators(name: str) -> bool:
    """OPERATOR_<CODE>_…; the service `operator_bridge` has settings that begin alike."""
    return name.startswith("OPERATOR_") and not name.startswith("OPERATOR_BRIDGE_")


def with_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without empty settings, each `X_FILE` of ours read into `X`; raises ConfigurationError."""
    present = {name: value for name, value in environ.items() if value}
    for name, path in list(present.items()):
        if name.endswith("_FILE") and _is_ours(name.removesuffix("_FILE")):
            try:
                present.setdefault(name.removesuffix("_FILE"), Path(path).read_text(encoding="utf-8").strip())
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{name}: {path} cannot be read: {error}") from None
    return present


def _is_ours(name: str) -> bool:
    """Other programs have settings that end in _FILE too, SSL_CERT_FILE for one."""
    names = {field.data_key for service in SERVICES for field in _environment(service).fields.values()}
    return name in names.union(_OF_THE_COMMAND_LINE) or _is_operators(name)


def _refuse_weak(service: str, environ: Mapping[str, str], read: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where a secret is one that others know or can guess."""
    prefix = service.upper()
    own = {name: read[name] for name in _KEYS[service]} | {f"{prefix}_SIGNING_KEYS": read["signing_keys"]}
    rings = own | {"TOKEN_PUBLIC_KEYS": read["token_public_keys"]}
    texts = {name: value for name, value in environ.items() if _is_operators(name) and name.endswith(_SECRET_NAMES)}
    addresses = {f"{prefix}_DATABASE_URL": "database_url", "REDIS_URL": "redis_url", "BROKER_URL": "broker_url"}
    faults = {
        **{name: weak_secrets.of_ring(ring, demonstration=_is_demonstration(read)) for name, ring in rings.items()},
        **weak_secrets.repeated(own),
        **{name: weak_secrets.of_operators(text) for name, text in texts.items()},
        **{name: weak_secrets.of_address(read[member]) for name, member in addresses.items()},
        f"{prefix}_SERVICE_TOKEN": _fault_of_service_token(service, read["service_token"]),
    }
    if read["oidc_issuer"] and not read["oidc_client_ids"]:
        faults["OIDC_CLIENT_IDS"] = "Expected the names by which the provider of OIDC_ISSUER knows us."
    found = {name: [fault] for name, fault in faults.items() if fault}
    if found:
        raise ConfigurationError(_explain(found))


def _fault_of_service_token(service: str, token: str) -> str | None:
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return "Expected a token: `souche keys` makes one."
    if (claims.get("role"), claims.get("sub")) != ("service", service):
        return f"Expected a token of role `service` whose subject is {service}."
    return None if isinstance(claims.get("exp"), int | float) else "Expected a token that ends some day."


def _is_demonstration(read: Mapping[str, Any]) -> bool:
    """The demonstration says so, and nothing of it is to be reached from another machine."""
    hosts = [urlsplit(read[f"{service}_url"]).hostname for service in SERVICES]
    return bool(read["souche_demonstration"]) and all(host in _HERE for host in hosts)


def _explain(messages: Mapping[str, Any]) -> str:
    lines = [f"  {name}: {' '.join(map(str, texts))}" for name, texts in sorted(messages.items())]
    return "The configuration is incomplete or wrong (see .env.example):\n" + "\n".join(lines)
