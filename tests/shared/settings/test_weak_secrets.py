"""No process starts with a secret that somebody else knows or can guess."""

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from demo.stack import environment
from shared.settings import settings, weak_secrets
from shared.settings.settings import SERVICES, ConfigurationError, write_key
from souche.cli import main
from souche.keys import Signer, generate_secrets

ROOT = Path(settings.__file__).parents[2]
URLS = {f"{service.upper()}_DATABASE_URL": f"postgresql://souche_{service}@db/souche" for service in SERVICES}
ADDRESSES = {f"{service.upper()}_URL": f"http://{service}:8000" for service in SERVICES}
KEYS = (
    "CODE_DIGEST_KEY",
    "CODE_ENCRYPTION_KEYS",
    "IDENTITY_DIGEST_KEY",
    "IDENTITY_ENCRYPTION_KEYS",
    "ISSUER_SIGNING_KEYS",
)


@pytest.fixture(scope="module")
def complete() -> dict[str, str]:
    """What `souche keys` makes, in a deployment."""
    return {**URLS, **ADDRESSES, "REDIS_URL": "redis://redis/0", **generate_secrets(Signer.generate())}


def refusal(environ: Mapping[str, str], service: str = "issuer") -> str:
    with pytest.raises(ConfigurationError) as refused:
        settings.load(service, environ)
    return str(refused.value)


@pytest.mark.parametrize("service", SERVICES)
def test_what_the_command_makes_is_taken(service: str, complete: Mapping[str, str]) -> None:
    assert settings.load(service, complete).signing_keys


@pytest.mark.parametrize("name", [*KEYS, "TOKEN_PUBLIC_KEYS"])
@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        b"\xff" * 32,
        bytes(range(32)),
        bytes(range(0, 64, 2)),
        b"abcd" * 8,
        b"correct horse battery staple! 12",
    ],
)
def test_a_key_that_nobody_drew_at_random_is_refused(name: str, key: bytes, complete: Mapping[str, str]) -> None:
    message = refusal({**complete, name: write_key("k1", key)})
    assert name in message
    assert "is not random" in message
    former = f"{complete[name]},{write_key('k0', key)}"
    assert name in refusal({**complete, name: former})


def test_keys_drawn_at_random_are_never_taken_for_weak() -> None:
    assert [key for _ in range(20_000) if weak_secrets.of_key(key := secrets.token_bytes(32))] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_keys_of_the_demonstration_are_refused_outside_of_it(service: str) -> None:
    signer = Signer.generate("demo")
    here = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(ADDRESSES, 8001)}
    made = environment.generate(
        signer,
        {name: URLS[f"{name.upper()}_DATABASE_URL"] for name in SERVICES},
        "redis://r",
        {name: here[f"{name.upper()}_URL"] for name in SERVICES},
    )
    assert settings.load(service, made).service == service
    undeclared = {name: value for name, value in made.items() if name != "SOUCHE_DEMONSTRATION"}
    assert "one of the demonstration" in refusal(undeclared, service)
    assert "one of the demonstration" in refusal({**made, **ADDRESSES}, service)


@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_the_demonstration_is_known_by_whatever_name(name: str, complete: Mapping[str, str]) -> None:
    key = write_key("production-2026", weak_secrets.demonstration_key())
    assert "one of the demonstration" in refusal({**complete, name: key})


def test_one_key_for_two_purposes_is_refused(complete: Mapping[str, str]) -> None:
    message = refusal({**complete, "IDENTITY_DIGEST_KEY": complete["CODE_DIGEST_KEY"]})
    assert "IDENTITY_DIGEST_KEY: One of its keys is also in CODE_DIGEST_KEY" in message


@pytest.mark.parametrize(
    "password",
    ["password", "Password1", "change-me", "changeme", "CHANGE_ME!", "postgres", "souche", "secret", "xxxx", "****",
     "<password>", "${PASSWORD}", "short", "souche_issuer", "..."],
)  # fmt: skip
def test_a_password_that_everybody_knows_is_refused(password: str, complete: Mapping[str, str]) -> None:
    escaped = re.sub(r"[^A-Za-z0-9_.-]", lambda found: f"%{ord(found[0]):02x}", password)
    for name, scheme in (("ISSUER_DATABASE_URL", "postgresql"), ("REDIS_URL", "redis"), ("BROKER_URL", "amqp")):
        assert name in refusal({**complete, name: f"{scheme}://souche_issuer:{escaped}@host/x"})


@pytest.mark.parametrize("text", ["changeme", "<secret>", "your-secret", "xxx"])
def test_a_placeholder_for_an_operators_secret_is_refused(text: str, complete: Mapping[str, str]) -> None:
    assert "OPERATOR_X_CLIENT_SECRET" in refusal({**complete, "OPERATOR_X_CLIENT_SECRET": text}, "operator_bridge")
    settings.load("operator_bridge", {**complete, "OPERATOR_X_CLIENT_SECRET": "v3Kq8w"})


@pytest.mark.parametrize(
    "token", ["token", "a.b.c", Signer.generate().token("admin"), Signer.generate().service_token("redeemer")]
)
def test_a_service_does_not_start_with_anothers_token_or_none(token: str, complete: Mapping[str, str]) -> None:
    assert "ISSUER_SERVICE_TOKEN" in refusal({**complete, "ISSUER_SERVICE_TOKEN": token})


def example() -> dict[str, str]:
    """The example as somebody copies it without reading, what is commented out included."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    found = (re.fullmatch(r"(?:# )?([A-Z_]+)=(.+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


@pytest.mark.parametrize("service", SERVICES)
def test_the_texts_of_the_example_are_refused(service: str, complete: Mapping[str, str]) -> None:
    message = refusal({**complete, **example()}, service)
    assert f"{service.upper()}_DATABASE_URL: The password in this address is a placeholder" in message
    assert "BROKER_URL" in message


def test_the_example_holds_no_secret_that_would_be_taken() -> None:
    secret = re.compile(r"KEY|SECRET|TOKEN(?!_SECONDS)|PASSWORD")
    kept = {name: value for name, value in example().items() if secret.search(name) and "SECONDS" not in name}
    # Where secrets are, not what they are.
    assert kept == {"SECRETS": "./secrets", "METRICS_TOKEN_FILE": "./secrets/METRICS_TOKEN"}


def test_the_containers_are_given_no_secret_by_default() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    secret = re.compile(r"^\s+\w*(?:KEY|KEYS|SECRET|TOKEN|PASSWORD|DATABASE_URL):\s*(.+)$", re.MULTILINE)
    values = secret.findall(compose)
    assert len(values) > 10
    assert [value for value in values if not re.fullmatch(r"\$\{\w+:(\?.*|-)\}", value)] == []


def test_commands_refuse_what_services_refuse() -> None:
    weak = {"DATABASE_URL": "postgresql://souche:password@postgres/souche", **URLS}
    migrated = CliRunner().invoke(main, ["migrate"], env=weak)
    assert (migrated.exit_code, "placeholder" in migrated.output) == (2, True)
    signed = CliRunner().invoke(
        main, ["token", "--role", "admin"], env={"TOKEN_PRIVATE_KEY": write_key("k", bytes(32))}
    )
    assert (signed.exit_code, "not random" in signed.output) == (2, True)
