"""`souche operator switch`: from one contract to another, with a dead operator or with one that hands over."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from shared.values.money import decimal
from souche.client import Client
from souche.commands.operator.bridge import client, contract_id

_POLL_SECONDS = 1.0


@click.command()
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


@click.command("claims")
@click.argument("switch_id", metavar="SWITCH")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), default=".", show_default=True)
def claims_of(switch_id: str, folder: Path) -> None:
    """Write the claims of SWITCH (its id), as CSV and PDF in French, to a folder."""
    _write_claims(client(), switch_id, folder)


@click.command("accept")
@click.argument("switch_id", metavar="SWITCH")
@click.argument("note")
def accept(switch_id: str, note: str) -> None:
    """Have SWITCH (its id) cut over although something differs; NOTE says why."""
    client().post(f"/v1/switches/{switch_id}/acceptance", json={"note": note})
    click.echo("accepted")


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
