"""The command line `souche`: each command is loaded when it is called."""

import getpass
import os
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

import click
from sqlalchemy.exc import ArgumentError, OperationalError

from shared.audit import trail
from shared.settings.settings import ConfigurationError

COMMANDS: Mapping[str, str] = {
    "beat": "souche.commands.worker:beat",
    "client": "souche.commands.access:client",
    "demo": "souche.commands.demo:demo",
    "import": "souche.commands.import_file:import_file",
    "keys": "souche.commands.keys:keys",
    "migrate": "souche.commands.migrate:migrate",
    "operator": "souche.commands.operator:operator",
    "permissions": "souche.commands.permissions:permissions",
    "recall": "souche.commands.recall:recall",
    "reconcile": "souche.commands.reconcile:reconcile",
    "reencrypt": "souche.commands.reencrypt:reencrypt",
    "revoke": "souche.commands.access:revoke",
    "serve": "souche.commands.serve:serve",
    "token": "souche.commands.access:token",
    "verify": "souche.commands.verify:verify",
    "worker": "souche.commands.worker:worker",
}

# Celery reads this when it is imported. SIGTERM, what containers are stopped with, then gives what a worker could not
# finish in time back to the queue.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")


class Misconfigured(click.ClickException):
    """A setting is missing or wrong; nothing was done."""

    exit_code = 2


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = resolve_name(COMMANDS[cmd_name])
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        act = trail.Act("system", f"cli:{_user()}", f"souche {name}")
        trail.begin(lambda: act)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ConfigurationError, ArgumentError) as error:
            raise Misconfigured(str(error)) from None
        except OperationalError as error:
            raise click.ClickException(f"The database does not answer: {error.orig}") from None
        finally:
            trail.end()


def _user() -> str:
    """Who runs this command; in a container, often a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="souche")
def main() -> None:
    """Souche keeps the stub of every digital-skills cheque, whoever the operator is.

    Settings come from the environment: see .env.example.
    """
