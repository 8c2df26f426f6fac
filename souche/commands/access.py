"""`souche token`, `souche client`, `souche revoke`: who may call the services, by which tokens, and until when."""

import os
import re
from datetime import timedelta
from uuid import UUID

import click

from shared.access.revocations import KINDS
from shared.access.tokens import SCOPED, Role
from shared.settings.settings import SERVICES, with_files
from souche.client import Client
from souche.keys import Signer

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def duration(value: str) -> timedelta:
    """A time to live, from a number and a unit."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a duration: expected like 30m, 12h or 90d")
    return int(found[1]) * _UNITS[found[2]]


_service = click.argument("service", type=click.Choice(SERVICES))
_client = click.argument("client_id", type=click.UUID)
_reason = click.option("--reason", required=True, help="Why; it is kept in the audit trail.")


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
@click.option("--ttl", type=duration, default="12h", show_default=True, help="How long it is good for.")
def token(role: str, scope: UUID | None, subject: str, audience: tuple[str, ...], ttl: timedelta) -> None:
    """Make a token and print it. Signs with TOKEN_PRIVATE_KEY.

    For the first steps of a deployment and for emergencies: programs get theirs from POST /v1/oauth/token.
    """
    _check_scope(f"{role} token", role, scope)
    click.echo(Signer.read(with_files(os.environ)).token(role, scope, subject, ttl, audience))


@click.group()
def client() -> None:
    """Programs that get short-lived tokens of one service by a secret.

    Takes SOUCHE_TOKEN, or makes a token with TOKEN_PRIVATE_KEY.
    """


@client.command()
@_service
@click.option("--name", required=True, help="Whose program, and which.")
@click.option("--role", type=click.Choice([role.value for role in Role if role is not Role.SERVICE]), required=True)
@click.option("--scope", type=click.UUID, help="The id of the prescriber or structure, for these roles.")
def add(service: str, name: str, role: str, scope: UUID | None) -> None:
    """Register a program and print its id and its first secret, which is never shown again."""
    _check_scope(role, role, scope)
    calls = Client(service)
    body = {"name": name, "role": role, "scope": str(scope) if scope else None}
    made = calls.post("/v1/oauth/clients", json=body)
    _show_secret(calls, made["client_id"])


@client.command()
@_service
@_client
def secret(service: str, client_id: UUID) -> None:
    """Make a second secret and print it: the program takes it up, then `end` the first."""
    _show_secret(Client(service), str(client_id))


@client.command()
@_service
@_client
@click.argument("secret_id", type=click.UUID)
def end(service: str, client_id: UUID, secret_id: UUID) -> None:
    """End a secret, and the tokens that were got by it."""
    Client(service).delete(f"/v1/oauth/clients/{client_id}/secrets/{secret_id}")
    click.echo("The secret is good no more.")


@client.command()
@_service
@_client
@_reason
def disable(service: str, client_id: UUID, reason: str) -> None:
    """Let a program in no more; its tokens end within seconds."""
    Client(service).post(f"/v1/oauth/clients/{client_id}/suspension", json={"reason": reason})
    click.echo("The program is let in no more.")


@client.command()
@_service
@_client
def enable(service: str, client_id: UUID) -> None:
    """Let a program in again."""
    Client(service).delete(f"/v1/oauth/clients/{client_id}/suspension")
    click.echo("The program is let in again.")


@client.command(name="list")
@_service
def list_(service: str) -> None:
    """Show the programs, and the ids of the secrets that are good."""
    for program in Client(service).get("/v1/oauth/clients", limit=500)["items"]:
        role = f"{program['role']}:{program['scope']}" if program["scope"] else program["role"]
        state = f"disabled: {program['disabled_reason']}" if program["disabled_at"] else "let in"
        secrets = " ".join(secret["secret_id"] for secret in program["secrets"]) or "none"
        click.echo(f"{program['client_id']}  {program['name']}  {role}  {state}  secrets: {secrets}")


def _show_secret(calls: Client, client_id: str) -> None:
    made = calls.post(f"/v1/oauth/clients/{client_id}/secrets")
    click.echo(f"client_id={client_id}\nclient_secret={made['client_secret']}\nsecret_id={made['secret_id']}")


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("value")
@_reason
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


def _check_scope(holder: str, role: str, scope: UUID | None) -> None:
    if (scope is not None) != (role in SCOPED):
        raise click.UsageError(f"A {holder} {'needs' if role in SCOPED else 'takes no'} --scope.")
