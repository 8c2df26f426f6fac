"""The command line as a person meets it: what it makes, what it prints, how it fails."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import jwt
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from demo.stack.embedded import EmbeddedPostgres
from shared.access.tokens import Role, Verifier
from shared.http.metrics import Metrics
from shared.process.runtime import Runtime
from shared.settings.settings import SERVICES, load, read_keys
from souche.cli import COMMANDS, main
from souche.keys import Signer, generate_secrets
from tests.harness import ServiceUnderTest
from tests.serving import served

PLACES = """id,pivot,nom,commune,code_postal,adresse,date_maj,services
one,43493312300029,CCAS,Agen,47000,1 rue du Port,2026-01-31,Aide|Maîtrise
two,00000000000000,Mairie,Layrac,47390,2 rue du Port,2026-01-31,Aide
three,43493312300028,Collège,Agen,47000,3 rue du Port,2026-01-31,Aide
"""


def run(*arguments: str, **environ: str) -> Result:
    """Runs `souche` with these settings and no others."""
    names = (*load_names(), *environ)
    return CliRunner().invoke(main, arguments, env={name: environ.get(name) for name in names})


def load_names() -> list[str]:
    """Settings of ours that the environment of the tests may happen to have."""
    return [
        name for name in os.environ if name.startswith(("TOKEN_", "DATABASE_", "REDIS_", "SOUCHE_", "ISSUER_", "OIDC_"))
    ]


def secrets_of(signer: Signer) -> str:
    return generate_secrets(signer)["TOKEN_PRIVATE_KEY"]


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.output for name in COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 3


def test_an_unknown_command_is_named() -> None:
    result = run("frobnicate")
    assert result.exit_code == 2
    assert "frobnicate" in result.output


def test_a_token_is_what_it_was_asked_to_be() -> None:
    signer, scope = Signer.generate(), uuid4()
    result = run(
        "token", "--role", "structure", "--scope", str(scope), "--subject", "till-1", "--ttl", "30m",
        TOKEN_PRIVATE_KEY=secrets_of(signer),
    )  # fmt: skip
    caller = Verifier({signer.key_id: signer.public_key}, "issuer").caller(result.output.strip())
    claims = jwt.decode(result.output.strip(), options={"verify_signature": False})
    assert (caller.role, caller.scope, caller.subject) == (Role.STRUCTURE, scope, "till-1")
    assert claims["exp"] - claims["iat"] == pytest.approx(1800, abs=1)


@pytest.mark.parametrize(
    ("arguments", "explained"),
    [
        (("--role", "structure"), "needs --scope"),
        (("--role", "admin", "--scope", "018f2c00-0000-7000-8000-000000000000"), "takes no --scope"),
        (("--role", "king"), "'king' is not one of"),
        (("--role", "admin", "--ttl", "forever"), "expected like 30m"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused_and_explained(arguments: tuple[str, ...], explained: str) -> None:
    result = run("token", *arguments, TOKEN_PRIVATE_KEY=secrets_of(Signer.generate()))
    assert result.exit_code == 2
    assert explained in result.output


@pytest.mark.parametrize("settings", [{}, {"TOKEN_PRIVATE_KEY": "nonsense"}])
def test_a_missing_or_wrong_key_is_named_on_one_line(settings: Mapping[str, str]) -> None:
    result = run("token", "--role", "admin", **settings)
    assert result.exit_code == 2
    assert result.output.startswith("Error: TOKEN_PRIVATE_KEY")
    assert len(result.output.splitlines()) == 1


def test_the_keys_made_are_all_the_secrets_that_the_services_want() -> None:
    lines = dict(line.split("=", 1) for line in run("keys").output.splitlines())
    addresses = {f"{service.upper()}_URL": "http://127.0.0.1:1" for service in SERVICES}
    urls = {f"{service.upper()}_DATABASE_URL": "postgresql://x/y" for service in SERVICES}
    for service in SERVICES:
        settings = load(service, lines | addresses | urls | {"REDIS_URL": "redis://127.0.0.1"})
        for peer in set(SERVICES) - {service}:
            verifier = Verifier(settings.token_public_keys, peer)
            assert verifier.caller(settings.service_token).role == Role.SERVICE
    assert len(next(iter(read_keys(lines["TOKEN_PRIVATE_KEY"]).values()))) == 32


def test_services_get_new_tokens_for_a_year_and_the_alert_is_told_when_they_end(
    issuer: ServiceUnderTest, tmp_path: Path
) -> None:
    key, file = secrets_of(issuer.signer), tmp_path / "token"
    file.write_text("the former one", encoding="utf-8")
    result = run("keys", "service-tokens", TOKEN_PRIVATE_KEY=key, ISSUER_SERVICE_TOKEN_FILE=str(file))
    assert result.exit_code == 0, result.output
    assert [line.partition("=")[0] for line in result.output.splitlines()[1:]] == [
        "REDEEMER_SERVICE_TOKEN",
        "OPERATOR_BRIDGE_SERVICE_TOKEN",
    ]
    token = file.read_text(encoding="utf-8").strip()
    assert token not in result.output
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["aud"]) == ("issuer", ["redeemer", "operator_bridge"])
    assert claims["exp"] - claims["iat"] == pytest.approx(366 * 86_400, abs=1)
    settings = load("issuer", dict(issuer.environ) | {"ISSUER_SERVICE_TOKEN": token})
    metrics = generate_metrics(Runtime(settings))
    assert metrics["souche_service_token_ends_seconds"] == claims["exp"]


def generate_metrics(runtime: Runtime) -> dict[str, float]:
    return {sample.name: sample.value for family in Metrics(runtime, ()).collect() for sample in family.samples}


@pytest.mark.parametrize("command", [("serve", "issuer"), ("worker", "redeemer"), ("beat",), ("migrate",)])
def test_a_process_without_its_settings_stops_at_once_and_names_them(command: tuple[str, ...]) -> None:
    result = run(*command)
    assert result.exit_code == 2
    assert "DATABASE_URL" in result.output


def test_a_web_server_does_not_share_a_taken_port(issuer: ServiceUnderTest) -> None:
    port = issuer.environ["ISSUER_URL"].rpartition(":")[2]
    with served(issuer.app, issuer.environ["ISSUER_URL"]):
        result = run("serve", "issuer", "--port", port, **issuer.environ)
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} cannot be listened on" in result.output


def test_migrating_makes_a_schema_and_a_role_and_may_be_repeated(postgres: EmbeddedPostgres) -> None:
    urls = {"DATABASE_URL": postgres.url(), "REDEEMER_DATABASE_URL": postgres.url("souche_redeemer")}
    for _time in range(2):
        result = run("migrate", "redeemer", **urls)
        assert result.exit_code == 0, result.output
    engine = sa.create_engine(postgres.url("souche_redeemer"))
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM cheque")).scalar_one() >= 0
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "exit_code", "text"),
    [("postgresql://127.0.0.1:9/x", 1, "The database does not answer: "), ("nonsense", 2, "Could not parse")],
)
def test_a_database_that_cannot_be_reached_is_told_without_a_traceback(url: str, exit_code: int, text: str) -> None:
    result = run("migrate", "issuer", DATABASE_URL=url, ISSUER_DATABASE_URL=url)
    assert result.exit_code == exit_code
    assert result.output.startswith(f"Error: {text}")


def test_an_import_tells_what_became_of_each_line(issuer: ServiceUnderTest, tmp_path: Path) -> None:
    file = tmp_path / "places.csv"
    file.write_text(PLACES, encoding="utf-8")
    with served(issuer.app, issuer.environ["ISSUER_URL"]):
        result = run("import", "prescribers", str(file), **issuer.environ)
        again = run("import", "prescribers", str(file), **issuer.environ)
    assert result.exit_code == 1
    assert "line 4: refused: pivot: not a SIRET" in result.output
    assert "line 3: pivot: placeholder of zeros" in result.output
    assert "2 added, 0 changed, 0 unchanged, 1 refused" in result.output
    assert "This file was imported before" in again.output


def test_an_import_on_trial_tells_the_same_and_leaves_nothing(issuer: ServiceUnderTest, tmp_path: Path) -> None:
    file = tmp_path / "places.csv"
    file.write_text(PLACES, encoding="utf-8")
    with served(issuer.app, issuer.environ["ISSUER_URL"]):
        trial = run("import", "prescribers", str(file), "--dry-run", **issuer.environ)
        real = run("import", "prescribers", str(file), **issuer.environ)
    assert trial.exit_code == 1
    assert trial.output == f"Dry run: nothing was changed.\n{real.output}"


def test_an_import_of_all_or_nothing_names_every_bad_line(issuer: ServiceUnderTest, tmp_path: Path) -> None:
    file = tmp_path / "places.csv"
    file.write_text(PLACES, encoding="utf-8")
    with served(issuer.app, issuer.environ["ISSUER_URL"]):
        refused = run("import", "prescribers", str(file), "--all-or-nothing", **issuer.environ)
        again = run("import", "prescribers", str(file), **issuer.environ)
    assert refused.exit_code == 1
    assert "line 4: refused: pivot: not a SIRET" in refused.output
    assert "1 line is refused of 3, so nothing went in" in refused.output
    assert "2 added" in again.output


def test_an_import_of_grants_tells_what_is_wrong_with_each_line(issuer: ServiceUnderTest, tmp_path: Path) -> None:
    file = tmp_path / "grants.csv"
    file.write_text("programme;amount_cents;reason\npass;5000;?\npass;x;?\n", encoding="utf-8")
    with served(issuer.app, issuer.environ["ISSUER_URL"]):
        result = run("import", "grants", str(file), "--dry-run", **issuer.environ)
    assert result.exit_code == 1
    assert "line 2: refused: Some fields are not valid" in result.output
    assert "prescriber_id: ['Say which prescriber grants.']" in result.output
    assert "0 accepted, 2 refused" in result.output


def test_a_service_that_is_not_there_is_named_and_not_explained_by_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "places.csv"
    file.write_text(PLACES, encoding="utf-8")
    result = run("import", "prescribers", str(file), ISSUER_URL="http://127.0.0.1:9", SOUCHE_TOKEN="x")
    assert result.exit_code == 1
    assert result.output == "Error: http://127.0.0.1:9 did not answer: ConnectionError\n"


def test_a_refusal_of_the_service_is_told_in_its_own_words(issuer: ServiceUnderTest, tmp_path: Path) -> None:
    file = tmp_path / "places.csv"
    file.write_bytes(b"nothing,useful\n")
    with served(issuer.app, issuer.environ["ISSUER_URL"]):
        result = run("import", "prescribers", str(file), **issuer.environ)
    assert result.exit_code == 1
    assert "column missing: id" in result.output


def test_it_runs_as_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "souche", "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("souche, version")
