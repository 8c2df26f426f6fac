"""`souche operator`: the contracts with operators, the orders sent to them, their statements, and switching."""

import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from shared.values.money import decimal
from souche.client import Client
from souche.commands.bridge import client, contract_id, contract_ids, show

_POLL_SECONDS = 1.0
_contract = click.argument("contract")
_held = click.argument("held")


@click.group()
def operator() -> None:
    """See contracts with operators and the orders sent to them; read and compare their statements.

    Speaks with the operator bridge. Takes SOUCHE_TOKEN, or makes a token with TOKEN_PRIVATE_KEY.
    """


@operator.command("list")
def list_operators() -> None:
    """List the operators that there are adapters for."""
    show(("code", "name", "configured", "own_till", "pays_structures", "has_statement"), client().get("/v1/operators"))


@operator.command()
def contracts() -> None:
    """List the contracts, oldest first."""
    columns = (
        "code", "operator", "programme", "state", "circuit", "held_reason", "starts_on", "ends_on", "contract_id",
    )  # fmt: skip
    show(columns, list(client().pages("/v1/contracts")))


@operator.command()
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


@operator.command()
@_contract
@click.argument("state", type=click.Choice(("live", "draining", "ended", "failed")))
def state(contract: str, state: str) -> None:
    """Take CONTRACT (its code) to another STATE."""
    changed = _post(contract, "state", state=state)
    click.echo(f"{changed['code']} is {changed['state']}")


@operator.command()
@_held
@click.option("--reason", required=True, help="Why; it is shown to all who ask why nothing is sent.")
def hold(held: str, reason: str) -> None:
    """Send nothing to HELD, an operator or one contract (their codes), until its release.

    Cheques are issued and redeemed as ever. Orders to the operator are kept, and its messages are applied.
    """
    bridge = client()
    for contract in contract_ids(bridge, held):
        changed = bridge.post(f"/v1/contracts/{contract}/hold", json={"reason": reason})
        click.echo(f"{changed['code']} is held: {changed['held_reason']}")


@operator.command()
@_held
def release(held: str) -> None:
    """Send the orders that were kept for HELD, an operator or one contract (their codes)."""
    bridge = client()
    for contract in contract_ids(bridge, held):
        changed = bridge.post(f"/v1/contracts/{contract}/release")
        click.echo(f"{changed['code']} is no longer held")


@operator.command()
@_contract
@click.option("--payment-order", required=True, help="The number of the payment order (mandat) that paid for them.")
def activate(contract: str, payment_order: str) -> None:
    """Have all cheques of CONTRACT (its code) that wait for it activated, where the operator needs a payment order."""
    done = _post(contract, "activations", payment_order=payment_order)
    click.echo(f"{done['ordered']} cheques are being activated by {payment_order}")


@operator.command()
@_contract
def adopt(contract: str) -> None:
    """Have CONTRACT (its code) take the cheques that an operator refused or gave up and none has, and what is due."""
    done = _post(contract, "adoptions")
    click.echo(f"{done['adopted']} cheques are {contract}'s now")


@operator.command()
@_contract
def poll(contract: str) -> None:
    """Read the operator's statement of CONTRACT (its code) now, and apply what its messages missed."""
    done = _post(contract, "polls")
    click.echo(f"{done['lines']} lines read; {done['settled']} of {done['unsettled']} unknown orders settled")


@operator.command()
@_contract
def compare(contract: str) -> None:
    """Compare the operator's whole statement of CONTRACT (its code) with our register. Exits 1 if they differ."""
    found = _post(contract, "comparison")
    show(("kind", "count"), found["differences"])
    click.echo(f"{found['count']} cheques differ; {found['moving']} are on their way and were not compared")
    if found["count"]:
        raise SystemExit(1)


@operator.command()
@click.option("--state", help="Only orders in this state, such as unknown or refused.")
@click.option("--kind", help="Only orders of this kind, such as register or declare.")
@click.option("--stuck", is_flag=True, help="Only orders that are no longer sent, as too many attempts got no answer.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def orders(state: str | None, kind: str | None, stuck: bool, limit: int) -> None:
    """List the orders to operators, oldest first."""
    found = client().pages("/v1/orders", state=state, kind=kind, stuck="true" if stuck else None)
    columns = ("order_id", "kind", "state", "reason", "attempts", "created_at", "settled_at")
    show(columns, list(islice(found, limit)))


@operator.command()
@click.argument("order", required=False)
@click.option("--all-stuck", is_flag=True, help="All orders whose attempts got no answer too often, instead of one.")
@click.option("--note", required=True, help="Why it may be sent again; kept with the order.")
def retry(order: str | None, all_stuck: bool, note: str) -> None:
    """Send ORDER (its id) again: one without an outcome, or a registration or declaration that was refused.

    An order without an outcome goes out under the reference that the operator knows, so nothing is done twice.
    """
    if bool(order) == all_stuck:
        raise click.UsageError("Name an order, or say --all-stuck.")
    bridge = client()
    if all_stuck:
        done = bridge.post("/v1/orders/retries", json={"note": note})
        click.echo(f"{done['retried']} orders are sent again")
    else:
        again = bridge.post(f"/v1/orders/{order}/retry", json={"note": note})
        click.echo(f"{again['kind']} is sent again as {again['order_id']}")


@operator.command()
@click.argument("order")
@click.option("--done/--not-done", required=True, help="Whether the operator did it.")
@click.option("--note", required=True, help="How you know it; kept with the order.")
def settle(order: str, done: bool, note: str) -> None:
    """Record the outcome of ORDER (its id), which is unknown, after asking the operator by other means."""
    settled = client().post(f"/v1/orders/{order}/outcome", json={"done": done, "note": note})
    click.echo(f"{settled['kind']} is {settled['state']}")


@operator.command()
@click.option("--from", "old", required=True, help="The code of the contract to leave.")
@click.option("--to", "new", required=True, help="The code of the contract that takes over.")
@click.option("--mode", type=click.Choice(("handover", "failure")), required=True,
              help="failure: the old operator is dead, and what it owes is claimed.")  # fmt: skip
@click.option("--pay-by", help="The code of the contract that pays what is not paid, if not the new one.")
@click.option("--creditor", help="In whose name the claims are.")
@click.option("--claims", type=click.Path(file_okay=False, path_type=Path), help="A folder to write the claims to.")
@click.option("--wait/--no-wait", default=True, help="Stay and watch until it is done; it goes on in any case.")
def switch(
    old: str, new: str, mode: str, pay_by: str | None, creditor: str | None, claims: Path | None, wait: bool
) -> None:
    """Switch operator, in seven steps that any interruption leaves resumable. The same command again watches it."""
    bridge = client()
    body = {
        "from_contract_id": contract_id(bridge, old), "to_contract_id": contract_id(bridge, new), "mode": mode,
        "payer_contract_id": pay_by and contract_id(bridge, pay_by), "creditor": creditor,
    }  # fmt: skip
    begun = bridge.post("/v1/switches", json={name: value for name, value in body.items() if value})
    click.echo(f"switch {begun['switch_id']} from {old} to {new} ({mode})")
    if not wait:
        return
    done = _watch(bridge, begun["switch_id"])
    _report(done["report"])
    if claims and mode == "failure":
        _write_claims(bridge, begun["switch_id"], claims)
    if done["report"]["differences"]:
        raise SystemExit(1)


@operator.command("claims")
@click.argument("switch_id", metavar="SWITCH")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), default=".", show_default=True)
def claims_of(switch_id: str, folder: Path) -> None:
    """Write the claims of SWITCH (its id), as CSV and PDF in French, to a folder."""
    _write_claims(client(), switch_id, folder)


@operator.command()
@click.argument("switch_id", metavar="SWITCH")
@click.argument("note")
def accept(switch_id: str, note: str) -> None:
    """Have SWITCH (its id) cut over although something differs; NOTE says why."""
    client().post(f"/v1/switches/{switch_id}/acceptance", json={"note": note})
    click.echo("accepted")


def _post(contract: str, action: str, **body: str) -> Any:
    bridge = client()
    return bridge.post(f"/v1/contracts/{contract_id(bridge, contract)}/{action}", json=body or None)


def _watch(bridge: Client, switch_id: str) -> dict[str, Any]:
    """Prints each step as it ends; the switch when it is done."""
    printed: set[str] = set()
    while True:
        found: dict[str, Any] = bridge.get(f"/v1/switches/{switch_id}")
        news = [f"{step['step']}: done" for step in found["steps"] if step["finished_at"]]
        if found["waiting_for"]:
            news.append(f"{found['step']}: waiting for {found['waiting_for']}")
        for line in news:
            if line not in printed:
                click.echo(line)
        printed.update(news)
        if found["finished_at"]:
            return found
        time.sleep(_POLL_SECONDS)


def _report(report: Mapping[str, Any]) -> None:
    click.echo(f"moved: {_amount(report['moved'])}; refused by the new operator: {_amount(report['refused_by_new'])}")
    click.echo(f"declared again: {_amount(report['declared_again'])}")
    if report["claimed"]:
        click.echo(f"claimed: {_amount(report['claimed'])}")
    click.echo(f"left for the old operator to pay: {_amount(report['left_to_pay'])}")
    click.echo(f"{report['differences']} differences, in {report['seconds']} seconds")


def _write_claims(bridge: Client, switch_id: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("claims.csv", "claims.pdf"):
        path = folder / name.replace("claims", "creances")
        path.write_bytes(bridge.download(f"/v1/switches/{switch_id}/{name}"))
        click.echo(f"{path} written")


def _amount(amount: Mapping[str, int]) -> str:
    return f"{amount['number']} ({decimal(amount['cents'])} €)"
