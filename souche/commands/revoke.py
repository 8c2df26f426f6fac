"""`souche revoke`: takes tokens back."""

import click

from shared.access.revocations import KINDS
from shared.settings.settings import SERVICES
from souche.client import Client
from souche.commands.client import reason_option


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("value")
@reason_option
@click.option("--service", type=click.Choice(SERVICES), multiple=True, default=SERVICES, show_default=True)
def revoke(kind: str, value: str, reason: str, service: tuple[str, ...]) -> None:
    """Take tokens back: one by its id (jti), or all tokens of a subject or scope that were issued until now.

    Each service is called in turn; a service that does not answer is named, and the command ends with 1.
    """
    failed = False
    for name in service:
        try:
            Client(name).post("/v1/revocations", json={"kind": kind, "value": value, "reason": reason})
            click.echo(f"{name}: taken back")
        except click.ClickException as error:
            failed = True
            click.echo(f"{name}: NOT taken back: {error.message}", err=True)
    if failed:
        raise click.exceptions.Exit(1)
