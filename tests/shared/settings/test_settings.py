"""A process with a setting that is missing or wrong says which, and does not start."""

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.settings import settings as config
from shared.settings.settings import SERVICES, ConfigurationError
from souche.keys import Signer

KEY = config.write_key("k1", secrets.token_bytes(32))


def fresh() -> str:
    """A key of its own for each setting."""
    return config.write_key("k1", secrets.token_bytes(32))


@pytest.fixture
def complete() -> dict[str, str]:
    own = {
        **{f"{name.upper()}_DATABASE_URL": f"postgresql://souche_{name}@db/souche" for name in SERVICES},
        **{f"{name.upper()}_SERVICE_TOKEN": Signer.generate().service_token(name) for name in SERVICES},
        **{f"{name.upper()}_SIGNING_KEYS": fresh() for name in SERVICES},
        **{f"{name.upper()}_URL": f"http://{name}:8000/" for name in SERVICES},
    }
    names = ("TOKEN_PUBLIC_KEYS", "CODE_DIGEST_KEY", "CODE_ENCRYPTION_KEYS")
    identity = ("IDENTITY_DIGEST_KEY", "IDENTITY_ENCRYPTION_KEYS")
    return own | {"REDIS_URL": "redis://redis/0"} | {name: fresh() for name in (*names, *identity)}


@pytest.mark.parametrize("service", SERVICES)
def test_a_complete_configuration_is_read(service: str, complete: Mapping[str, str]) -> None:
    settings = config.load(service, complete)
    assert settings.database_url.endswith(f"souche_{service}@db/souche")
    assert settings.broker_url == settings.redis_url
    assert settings.peers["redeemer"] == "http://redeemer:8000"


@pytest.mark.parametrize("service", SERVICES)
def test_each_missing_setting_is_named(service: str, complete: Mapping[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        config.load(service, {})
    named = set(re.findall(r"^  ([A-Z_]+):", str(refusal.value), re.MULTILINE))
    assert f"{service.upper()}_DATABASE_URL" in named
    assert ("IDENTITY_ENCRYPTION_KEYS" in named) == (service == "issuer")
    config.load(service, {name: complete[name] for name in named})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CODE_DIGEST_KEY", "secret", "32 bytes"),
        ("CODE_DIGEST_KEY", "k1:c2hvcnQ", "32 bytes"),
        ("ISSUER_DATABASE_URL", "mysql://db", "postgresql://"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("LOG_LEVEL", "loud", "Must be one of"),
        ("DATABASE_POOL_SIZE", "many", "Not a valid integer"),
        ("SWEEP_SECONDS", "0", "greater than or equal to"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_expected(
    name: str, value: str, expected: str, complete: Mapping[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match=name) as refusal:
        config.load("issuer", dict(complete) | {name: value})
    assert expected in str(refusal.value)


def test_a_secret_can_stand_in_a_file(tmp_path: Path, complete: Mapping[str, str]) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    environ = {name: value for name, value in complete.items() if name != "CODE_DIGEST_KEY"}
    settings = config.load("redeemer", environ | {"CODE_DIGEST_KEY_FILE": str(file)})
    assert settings.keys["CODE_DIGEST_KEY"] == config.read_keys(KEY)
    with pytest.raises(ConfigurationError, match="CODE_DIGEST_KEY_FILE"):
        config.load("redeemer", environ | {"CODE_DIGEST_KEY_FILE": str(tmp_path / "absent")})


def test_settings_do_not_show_their_secrets(complete: Mapping[str, str]) -> None:
    settings = config.load("issuer", dict(complete) | {"OPERATOR_X_SECRET": "hidden"})
    assert settings.operators == {"OPERATOR_X_SECRET": "hidden"}
    assert "hidden" not in repr(settings)
    assert "souche_issuer@" not in repr(settings)


def test_the_example_names_every_setting_and_nothing_else(complete: Mapping[str, str]) -> None:
    root = Path(config.__file__).parents[2]
    example = (root / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", example, re.MULTILINE))
    optional = {
        "BROKER_URL",
        "DATABASE_POOL_SIZE",
        "GUESSES_PER_STRUCTURE",
        "GUESSES_PER_ADDRESS",
        "GUESSES_IN_ALL",
        "LOCKOUT_SECONDS",
        "REQUESTS_PER_CALLER",
        "REQUESTS_PER_ADDRESS",
        "ANSWER_RETENTION_DAYS",
        "APPLIED_EVENT_RETENTION_DAYS",
        "TRUSTED_PROXIES",
        "ACCESS_TOKEN_SECONDS",
        "OIDC_ISSUER",
        "OIDC_CLIENT_IDS",
        "OIDC_ACR",
        "OIDC_AMR",
        "SWEEP_SECONDS",
        "LOG_LEVEL",
        "AUTHORITY_NAME",
        "MESSAGE_RETENTION_DAYS",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_TRACES_SAMPLER_ARG",
    }
    commands = {"DATABASE_URL", "TOKEN_PRIVATE_KEY", "SOUCHE_TOKEN", "POSTGRES_PASSWORD"}
    files = [root / "docker-compose.yml", *(root / "deploy" / "compose").glob("*.yml")]
    read = {name for file in files for name in re.findall(r"\$\{([A-Z_]+)", file.read_text(encoding="utf-8"))}
    containers = {name for name in read if not name.endswith("_FILE")} | {
        "METRICS_TOKEN_FILE",
        "COMPOSE_FILE",
        "COMPOSE_PROFILES",
    }
    assert (
        named - {name for name in named if re.match(r"OPERATOR_(?!BRIDGE_)", name)}
        == set(complete) | optional | commands | containers
    )
