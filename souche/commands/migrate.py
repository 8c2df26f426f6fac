"""`souche migrate`: brings the schemas of the services to what the code expects."""

import os
from collections.abc import Mapping

import click

from shared.database.migrations import runner as migrations
from shared.settings import weak_secrets
from shared.settings.settings import SERVICES, ConfigurationError, with_files


@click.command()
@click.argument("services", nargs=-1, type=click.Choice(SERVICES))
def migrate(services: tuple[str, ...]) -> None:
    """Migrate SERVICES (all three by default), each in its own schema with its own role.

    DATABASE_URL is the address of the database for its owner, who may create roles and schemas;
    ISSUER_DATABASE_URL and its like are the services' own.
    """
    environ = with_files(os.environ)
    for service in services or SERVICES:
        migrations.upgrade(
            service, _needed(environ, "DATABASE_URL"), _needed(environ, f"{service.upper()}_DATABASE_URL")
        )
        click.echo(f"{service}: at revision {migrations.head(service)}")


def _needed(environ: Mapping[str, str], name: str) -> str:
    if name not in environ:
        raise ConfigurationError(f"{name} is not set: expected postgresql://user:password@host/database.")
    if fault := weak_secrets.of_address(environ[name]):
        raise ConfigurationError(f"{name}: {fault}")
    return environ[name]
