"""`souche operator`: operators, contracts and their statements."""

import click

from souche.commands.operator.bridge import client, contract_id, contract_ids, show

contract_argument = click.argument("contract")
held_argument = click.argument("held")


@click.command("list")
def list_operators() -> None:
    """List the operators that there are adapters for."""
    show(("code", "name", "configured", "own_till", "pays_structures", "has_statement"), client().get("/v1/operators"))


@click.command()
def contracts() -> None:
    """List the contracts, oldest first."""
    columns = (
        "code", "operator", "programme", "state", "circuit", "held_reason", "starts_on", "ends_on", "contract_id",
    )  # fmt: skip
    show(columns, list(client().pages("/v1/contracts")))


@click.command()
@click.argument("code")
@click.option("--operator", "adapter", required=True, help="The operator's code: see `souche operator list`.")
@click.option("--programme", required=True, help="The programme's code.")
@click.option("--starts-on", required=True, help="The first day, as 2027-01-31.")
@click.option("--ends-on", help="The last day, if there is one.")
def draft(code: str, adapter: str, programme: str, starts_on: str, ends_on: str | None) -> None:
    """Draft a contract of this CODE: nothing happens under it before it is live, or a switch takes it live."""
    body = {"code": code, "operator": adapter, "programme": programme, "starts_on": starts_on, "ends_on": ends_on}
    made = client().post("/v1/contracts", json={name: value for name, value in body.items() if value})
    click.echo(f"{made['code']} is {made['state']}: {made['contract_id']}")


@click.command()
@contract_argument
@click.argument("state", type=click.Choice(("live", "draining", "ended", "failed")))
def state(contract: str, state: str) -> None:
    """Take CONTRACT (its code) to another STATE."""
    bridge = client()
    changed = bridge.post(f"/v1/contracts/{contract_id(bridge, contract)}/state", json={"state": state})
    click.echo(f"{changed['code']} is {changed['state']}")


@click.command()
@held_argument
@click.option("--reason", required=True, help="Why; it is shown to all who ask why nothing is sent.")
def hold(held: str, reason: str) -> None:
    """Send nothing to HELD, an operator or one contract (their codes), until its release.

    Cheques are issued and redeemed as ever. Orders to the operator are kept, and its messages are applied.
    """
    bridge = client()
    for contract in contract_ids(bridge, held):
        changed = bridge.post(f"/v1/contracts/{contract}/hold", json={"reason": reason})
        click.echo(f"{changed['code']} is held: {changed['held_reason']}")


@click.command()
@held_argument
def release(held: str) -> None:
    """Send the orders that were kept for HELD, an operator or one contract (their codes)."""
    bridge = client()
    for contract in contract_ids(bridge, held):
        changed = bridge.post(f"/v1/contracts/{contract}/release")
        click.echo(f"{changed['code']} is no longer held")


@click.command()
@contract_argument
@click.option("--payment-order", required=True, help="The number of the payment order (mandat) that paid for them.")
def activate(contract: str, payment_order: str) -> None:
    """Have all cheques of CONTRACT (its code) that wait for it activated, where the operator needs a payment order."""
    bridge = client()
    path = f"/v1/contracts/{contract_id(bridge, contract)}/activations"
    done = bridge.post(path, json={"payment_order": payment_order})
    click.echo(f"{done['ordered']} cheques are being activated by {payment_order}")


@click.command()
@contract_argument
def adopt(contract: str) -> None:
    """Have CONTRACT (its code) take the cheques that an operator refused or gave up and none has, and what is due."""
    bridge = client()
    done = bridge.post(f"/v1/contracts/{contract_id(bridge, contract)}/adoptions")
    click.echo(f"{done['adopted']} cheques are {contract}'s now")


@click.command()
@contract_argument
def poll(contract: str) -> None:
    """Read the operator's statement of CONTRACT (its code) now, and apply what its messages missed."""
    bridge = client()
    done = bridge.post(f"/v1/contracts/{contract_id(bridge, contract)}/polls")
    click.echo(f"{done['lines']} lines read; {done['settled']} of {done['unsettled']} unknown orders settled")


@click.command()
@contract_argument
def compare(contract: str) -> None:
    """Compare the operator's whole statement of CONTRACT (its code) with our register. Exits 1 if they differ."""
    bridge = client()
    found = bridge.post(f"/v1/contracts/{contract_id(bridge, contract)}/comparison")
    show(("kind", "count"), found["differences"])
    click.echo(f"{found['count']} cheques differ; {found['moving']} are on their way and were not compared")
    if found["count"]:
        raise SystemExit(1)
