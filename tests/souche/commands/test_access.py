"""Letting programs in, taking tokens back and rotating keys from the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shared.settings.settings import read_keys, write_key
from souche.cli import main
from souche.keys import ROTATABLE, Signer, generate_secrets
from tests.harness import ServiceUnderTest
from tests.issuer.office import Office
from tests.serving import served
from tests.shared.access.calling import call, eventually_refused


@pytest.fixture
def addresses(service_addresses: dict[str, str], environ: dict[str, str]) -> dict[str, str]:
    named = {f"{service.upper()}_URL": address for service, address in service_addresses.items()}
    return named | {"TOKEN_PRIVATE_KEY": environ["TOKEN_PRIVATE_KEY"], "SOUCHE_TOKEN": ""}


def run(environ: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environ)


def lines(result: Result) -> dict[str, str]:
    assert result.exit_code == 0, result.output
    return dict(line.split("=", 1) for line in result.output.splitlines())


def test_a_program_is_let_in_given_another_secret_and_let_in_no_more(
    issuer: ServiceUnderTest, addresses: dict[str, str]
) -> None:
    prescriber = str(Office(issuer).prescriber)
    with served(issuer.app, issuer.settings.peers["issuer"]):
        made = lines(
            run(addresses, "client", "add", "issuer", "--name", "CCAS", "--role", "prescriber", "--scope", prescriber)
        )
        second = lines(run(addresses, "client", "secret", "issuer", made["client_id"]))
        assert run(addresses, "client", "end", "issuer", made["client_id"], made["secret_id"]).exit_code == 0
        assert second["secret_id"] in run(addresses, "client", "list", "issuer").output
        form = {"grant_type": "client_credentials", **second}
        assert issuer.client.post("/v1/oauth/token", data=form).status_code == 200
        disabled = run(addresses, "client", "disable", "issuer", made["client_id"], "--reason", "Poste volé")
        assert disabled.exit_code == 0, disabled.output
        assert issuer.client.post("/v1/oauth/token", data=form).status_code == 401
        assert run(addresses, "client", "enable", "issuer", made["client_id"]).exit_code == 0
        assert issuer.client.post("/v1/oauth/token", data=form).status_code == 200


def test_a_revocation_names_the_service_that_did_not_hear_it(
    issuer: ServiceUnderTest, addresses: dict[str, str]
) -> None:
    token = issuer.token("finance", subject="somebody on leave")
    with served(issuer.app, issuer.settings.peers["issuer"]):
        result = run(addresses, "revoke", "subject", "somebody on leave", "--reason", "Départ")
    assert result.exit_code == 1
    assert "issuer: taken back" in result.output
    assert "redeemer: NOT taken back" in result.output
    eventually_refused(issuer, token)
    assert call(issuer, issuer.token("finance", subject="somebody else")).status_code == 200


@pytest.mark.parametrize("setting", ROTATABLE)
def test_a_key_is_rotated_in_three_steps(setting: str) -> None:
    environ = generate_secrets(Signer.generate())
    first = read_keys(environ[setting])
    added = read_keys(lines(run(environ, "keys", "rotate", setting, "add"))[setting])
    assert list(added) == ["k1", "k2"]
    used = lines(run(environ | {setting: written(added)}, "keys", "rotate", setting, "use"))
    assert list(read_keys(used[setting])) == ["k2", "k1"]
    dropped = read_keys(lines(run(environ | used, "keys", "rotate", setting, "drop"))[setting])
    assert dropped == {"k2": added["k2"]}
    assert first.items() <= added.items()


def written(ring: dict[str, bytes]) -> str:
    return ",".join(write_key(key_id, key) for key_id, key in ring.items())


def test_the_public_key_goes_with_the_private_one() -> None:
    environ = generate_secrets(Signer.generate())
    added = lines(run(environ, "keys", "rotate", "TOKEN_PRIVATE_KEY", "add"))
    private, public = read_keys(added["TOKEN_PRIVATE_KEY"]), read_keys(added["TOKEN_PUBLIC_KEYS"])
    assert {key_id: Signer(key_id, key).public_key for key_id, key in private.items()} == public


@pytest.mark.parametrize("step", ["use", "drop"])
def test_there_is_nothing_to_use_or_drop_before_a_key_was_added(step: str) -> None:
    refused = run(generate_secrets(Signer.generate()), "keys", "rotate", "CODE_DIGEST_KEY", step)
    assert (refused.exit_code, "Begin with `add`" in refused.output) == (2, True)


def test_a_setting_in_a_file_is_rotated_there_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "digest"
    file.write_text(generate_secrets(Signer.generate())["CODE_DIGEST_KEY"])
    result = run({"CODE_DIGEST_KEY_FILE": str(file), "CODE_DIGEST_KEY": ""}, "keys", "rotate", "CODE_DIGEST_KEY", "add")
    assert result.exit_code == 0, result.output
    ring = read_keys(file.read_text().strip())
    assert (len(ring), file.stat().st_mode & 0o777) == (2, 0o600)
    assert not any(write_key("", key) in result.output for key in ring.values())


def test_what_is_left_under_an_earlier_key_is_counted_and_moved(issuer: ServiceUnderTest) -> None:
    office = Office(issuer)
    office.programme()
    office.envelope(100_000)
    office.grant(beneficiary={"family_name": "Dupont", "given_name": "Anne", "birth_date": "1961-03-09"})
    environ = dict(issuer.environ)
    names = ("CODE_ENCRYPTION_KEYS", "IDENTITY_ENCRYPTION_KEYS", "CODE_DIGEST_KEY", "IDENTITY_DIGEST_KEY")
    for step in ("add", "use"):
        for name in names:
            environ |= lines(run(environ, "keys", "rotate", name, step))
    left = run(environ, "reencrypt", "--check")
    assert (left.exit_code, "codes under an earlier key: 5" in left.output) == (1, True)
    moved = run(environ, "reencrypt")
    assert "codes encrypted again: 5" in moved.output
    assert "cheques whose new digest was published: 5" in moved.output
    assert "people with a new digest: 1" in moved.output
    assert run(environ, "reencrypt", "--check").exit_code == 0
    (event,) = office.events("cheques.redigested")
    assert len(event["cheques"]) == 5
