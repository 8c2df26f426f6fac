"""`souche token`: makes the token that a person, a till or a service calls with."""

import os
import re
from datetime import timedelta
from uuid import UUID

import click

from shared.access.tokens import SCOPED, Role
from shared.settings.settings import SERVICES, with_files
from souche.keys.signer import Signer

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Duration(click.ParamType[timedelta]):
    """A time to live: a number and a unit."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration: expected like 30m, 12h or 90d", param, ctx)
        return int(found[1]) * UNITS[found[2]]


@click.command()
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--scope", type=click.UUID, help="The id of the prescriber or structure, for tokens of these roles.")
@click.option("--subject", default="cli", show_default=True, help="Who will use it, as in logs and audit trails.")
@click.option(
    "--audience",
    type=click.Choice(SERVICES),
    multiple=True,
    default=SERVICES,
    show_default=True,
    help="A service that is to accept it; may be given more than once.",
)
@click.option("--ttl", type=Duration(), default="12h", show_default=True, help="How long it is good for.")
def token(role: str, scope: UUID | None, subject: str, audience: tuple[str, ...], ttl: timedelta) -> None:
    """Make a token and print it. Signs with TOKEN_PRIVATE_KEY.

    For the first steps of a deployment and for emergencies: programs get theirs from POST /v1/oauth/token.
    """
    if (scope is not None) != (role in SCOPED):
        raise click.UsageError(f"A {role} token {'needs' if role in SCOPED else 'takes no'} --scope.")
    click.echo(Signer.read(with_files(os.environ)).token(role, scope, subject, ttl, audience))
