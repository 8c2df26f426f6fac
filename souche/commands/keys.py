"""`souche keys`: makes, rotates and prints the secret settings of a deployment."""

import os
from collections.abc import Mapping
from pathlib import Path

import click
from marshmallow import ValidationError

from shared.settings.settings import ConfigurationError, read_keys, with_files, write_key
from souche.keys import ONE_YEAR, ROTATABLE, STEPS, Signer, generate_secrets, rotated, service_tokens


@click.group(invoke_without_command=True)
@click.pass_context
def keys(ctx: click.Context) -> None:
    """Make all secret settings of a new deployment and print them, as lines of a .env file.

    TOKEN_PRIVATE_KEY is for making tokens; the services do not need it.
    """
    if ctx.invoked_subcommand is None:
        for name, value in generate_secrets(Signer.generate()).items():
            click.echo(f"{name}={value}")


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


def _write(setting: str, text: str, note: str) -> None:
    """Prints a setting, or replaces the file that it comes from."""
    path = os.environ.get(f"{setting}_FILE")
    if not path:
        click.echo(f"{setting}={text}")
        return
    fresh = Path(f"{path}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(f"{text}\n", encoding="utf-8")
    fresh.replace(path)
    click.echo(f"{note}, in {path}")
