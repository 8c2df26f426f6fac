"""`souche operator`: the contracts with operators, what is on its way to them, and what they say."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import click

from souche.client import Client
from souche.commands.operator import switch
from souche.commands.tables import write_table

BRIDGE = "operator_bridge"
ORDER_COLUMNS = ("order_id", "kind", "state", "reason", "attempts", "created_at", "settled_at")
contract_argument = click.argument("contract")
held_argument = click.argument("held")
OVER = ("ended", "failed")


@click.group()
def operator() -> None:
    """See contracts with operators and what they are told; read and compare their statements.

    Speaks with the operator bridge. Takes SOUCHE_TOKEN, or makes a token with TOKEN_PRIVATE_KEY.
    """


for command in (switch.switch, switch.claims_of, switch.accept):
    operator.add_command(command)


@operator.command("list")
def list_operators() -> None:
    """List the operators that there are adapters for."""
    _show(
        ("code", "name", "configured", "own_till", "pays_structures", "has_statement"), _client().get("/v1/operators")
    )


@operator.command()
def contracts() -> None:
    """List the contracts, oldest first."""
    columns = (
        "code", "operator", "programme", "state", "circuit", "held_reason", "starts_on", "ends_on", "contract_id",
    )  # fmt: skip
    _show(columns, list(_pages(_client(), "/v1/contracts")))


@operator.command()
@click.option("--state", help="Only orders in this state, such as unknown or refused.")
@click.option("--kind", help="Only orders of this kind, such as register or declare.")
@click.option("--stuck", is_flag=True, help="Only orders that are not sent again, as no answer came too often.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def orders(state: str | None, kind: str | None, stuck: bool, limit: int) -> None:
    """List the orders given to operators, oldest first."""
    found = _pages(_client(), "/v1/orders", state=state, kind=kind, stuck="true" if stuck else None)
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
@held_argument
@click.option("--reason", required=True, help="Why; it is shown to all who ask why nothing is sent.")
def hold(held: str, reason: str) -> None:
    """Send nothing to HELD, an operator or one contract (their codes), until its release.

    Cheques are issued and redeemed as ever; what the operator has to be told of them is kept, and what it says heard.
    """
    client = _client()
    for contract in _contracts(client, held):
        changed = client.post(f"/v1/contracts/{contract}/hold", json={"reason": reason})
        click.echo(f"{changed['code']} is held: {changed['held_reason']}")


@operator.command()
@held_argument
def release(held: str) -> None:
    """Send what was kept for HELD, an operator or one contract (their codes)."""
    client = _client()
    for contract in _contracts(client, held):
        changed = client.post(f"/v1/contracts/{contract}/release")
        click.echo(f"{changed['code']} is no longer held")


@operator.command()
@contract_argument
@click.option("--payment-order", required=True, help="The number of the payment order (mandat) that paid for them.")
def activate(contract: str, payment_order: str) -> None:
    """Have all cheques of CONTRACT (its code) that wait for it activated, where the operator needs a payment order."""
    client = _client()
    path = f"/v1/contracts/{_contract_id(client, contract)}/activations"
    done = client.post(path, json={"payment_order": payment_order})
    click.echo(f"{done['ordered']} cheques are being activated by {payment_order}")


@operator.command()
@click.argument("order", required=False)
@click.option("--all-stuck", is_flag=True, help="All orders that got no answer too often, instead of one.")
@click.option("--note", required=True, help="Why it may be sent again; it is kept with the order.")
def retry(order: str | None, all_stuck: bool, note: str) -> None:
    """Send ORDER (its id) again: one without an outcome, or a registration or declaration that was refused.

    An order without an outcome goes out under the reference that the operator knows, so nothing is done twice.
    """
    if bool(order) == all_stuck:
        raise click.UsageError("Name an order, or say --all-stuck.")
    client = _client()
    if all_stuck:
        done = client.post("/v1/orders/retries", json={"note": note})
        click.echo(f"{done['retried']} orders are sent again")
    else:
        again = client.post(f"/v1/orders/{order}/retry", json={"note": note})
        click.echo(f"{again['kind']} is sent again as {again['order_id']}")


@operator.command()
@click.argument("order")
@click.option("--done/--not-done", required=True, help="Whether the operator did it.")
@click.option("--note", required=True, help="How you know; it is kept with the order.")
def settle(order: str, done: bool, note: str) -> None:
    """Say what became of ORDER (its id), whose outcome is unknown, after asking the operator by other means."""
    settled = _client().post(f"/v1/orders/{order}/outcome", json={"done": done, "note": note})
    click.echo(f"{settled['kind']} is {settled['state']}")


@operator.command()
@click.argument("code")
@click.option("--operator", "adapter", required=True, help="With whom: see `souche operator list`.")
@click.option("--programme", required=True, help="The programme's code.")
@click.option("--starts-on", required=True, help="The first day, as 2027-01-31.")
@click.option("--ends-on", help="The last day, if there is one.")
def draft(code: str, adapter: str, programme: str, starts_on: str, ends_on: str | None) -> None:
    """Draft a contract of this CODE: nothing happens under it before it is live, or a switch takes it live."""
    body = {"code": code, "operator": adapter, "programme": programme, "starts_on": starts_on, "ends_on": ends_on}
    made = _client().post("/v1/contracts", json={name: value for name, value in body.items() if value})
    click.echo(f"{made['code']} is {made['state']}: {made['contract_id']}")


@operator.command()
@contract_argument
def adopt(contract: str) -> None:
    """Have CONTRACT (its code) take the cheques that an operator refused or gave up and none has, and what is due."""
    client = _client()
    done = client.post(f"/v1/contracts/{_contract_id(client, contract)}/adoptions")
    click.echo(f"{done['adopted']} cheques are {contract}'s now")


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


def _contracts(client: Client, code: str) -> list[str]:
    """The contract of a code, or all of an operator that are not over."""
    all_contracts = list(_pages(client, "/v1/contracts"))
    found = [each for each in all_contracts if code in (each["code"], each["contract_id"])]
    found = found or [each for each in all_contracts if each["operator"] == code and each["state"] not in OVER]
    if not found:
        raise click.ClickException(f"There is no operator with a contract and no contract {code}.")
    return [str(each["contract_id"]) for each in found]


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
