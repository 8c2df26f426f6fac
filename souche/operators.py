"""`souche operator`: the contracts with operators, what is on its way to them, and what they say."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import click

from souche.client import Client
from souche.tables import write_table

BRIDGE = "operator_bridge"
ORDER_COLUMNS = ("order_id", "kind", "state", "reason", "attempts", "created_at", "settled_at")
contract_argument = click.argument("contract")


@click.group()
def operator() -> None:
    """See contracts with operators and what they are told; read and compare their statements.

    Speaks with the operator bridge. Takes SOUCHE_TOKEN, or makes a token with TOKEN_PRIVATE_KEY.
    """


@operator.command("list")
def list_operators() -> None:
    """List the operators that there are adapters for."""
    _show(
        ("code", "name", "configured", "own_till", "pays_structures", "has_statement"), _client().get("/v1/operators")
    )


@operator.command()
def contracts() -> None:
    """List the contracts, oldest first."""
    columns = ("code", "operator", "programme", "state", "starts_on", "ends_on", "contract_id")
    _show(columns, list(_pages(_client(), "/v1/contracts")))


@operator.command()
@click.option("--state", help="Only orders in this state, such as unknown or refused.")
@click.option("--kind", help="Only orders of this kind, such as register or declare.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def orders(state: str | None, kind: str | None, limit: int) -> None:
    """List the orders given to operators, oldest first."""
    found = _pages(_client(), "/v1/orders", state=state, kind=kind)
    _show(ORDER_COLUMNS, list(islice(found, limit)))


@operator.command()
@contract_argument
@click.argument("state", type=click.Choice(("live", "draining", "ended", "failed")))
def state(contract: str, state: str) -> None:
    """Take CONTRACT (its code) to another STATE."""
    client = _client()
    changed = client.post(f"/v1/contracts/{_contract_id(client, contract)}/state", json={"state": state})
    click.echo(f"{changed['code']} is {changed['state']}")


@operator.command()
@contract_argument
def poll(contract: str) -> None:
    """Read the operator's statement of CONTRACT (its code) now, and apply what its messages failed to tell."""
    client = _client()
    done = client.post(f"/v1/contracts/{_contract_id(client, contract)}/polls")
    click.echo(f"{done['lines']} lines read; {done['settled']} of {done['unsettled']} unknown orders settled")


@operator.command()
@contract_argument
def compare(contract: str) -> None:
    """Compare the operator's whole statement of CONTRACT (its code) with our register. Exits 1 if they differ."""
    client = _client()
    found = client.post(f"/v1/contracts/{_contract_id(client, contract)}/comparison")
    _show(("kind", "count"), found["differences"])
    click.echo(f"{found['count']} cheques differ; {found['moving']} are on their way and were not compared")
    if found["count"]:
        raise SystemExit(1)


def _client() -> Client:
    return Client(BRIDGE)


def _contract_id(client: Client, code: str) -> str:
    for contract in _pages(client, "/v1/contracts"):
        if code in (contract["code"], contract["contract_id"]):
            return str(contract["contract_id"])
    raise click.ClickException(f"There is no contract {code}: see `souche operator contracts`.")


def _pages(client: Client, path: str, **query: str | None) -> Iterator[dict[str, Any]]:
    after = None
    while True:
        page = client.get(path, **query, after=after, limit=200)
        yield from page["items"]
        after = page["next"]
        if after is None:
            return


def _show(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    write_table(columns, [[_text(row.get(column)) for column in columns] for row in rows], left=len(columns))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
