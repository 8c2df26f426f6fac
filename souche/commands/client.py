"""`souche client`: programs that get short-lived tokens by a secret."""

from uuid import UUID

import click

from shared.access.tokens import SCOPED, Role
from shared.settings.settings import SERVICES
from souche.client import Client

_ROLES = [role.value for role in Role if role is not Role.SERVICE]
_service = click.argument("service", type=click.Choice(SERVICES))
_client = click.argument("client_id", type=click.UUID)
reason_option = click.option("--reason", required=True, help="Why; it is kept in the audit trail.")


@click.group()
def client() -> None:
    """Programs that get short-lived tokens of one service by a secret.

    Takes SOUCHE_TOKEN, or makes a token with TOKEN_PRIVATE_KEY.
    """


@client.command()
@_service
@click.option("--name", required=True, help="Whose program, and which.")
@click.option("--role", type=click.Choice(_ROLES), required=True)
@click.option("--scope", type=click.UUID, help="The id of the prescriber or structure, for these roles.")
def add(service: str, name: str, role: str, scope: UUID | None) -> None:
    """Register a program and print its id and its first secret, which is never shown again."""
    if (scope is not None) != (role in SCOPED):
        raise click.UsageError(f"A {role} {'needs' if role in SCOPED else 'takes no'} --scope.")
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
@reason_option
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
