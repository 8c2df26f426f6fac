"""`souche reconcile`: operators' statements beside our register, now and not only at night; what a person decides."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from souche.client import Client
from souche.commands import bridge
from souche.commands.bridge import write_table

_Runs = Mapping[str, dict[str, Any]]
"""Runs by the codes of their contracts."""

_POLL_SECONDS = 0.5
_FINISHED = ("done", "failed")
_WORKING = ("live", "draining")
_EXPORTS = {
    "discrepancies": "/v1/discrepancies/export.csv",
    "runs": "/v1/reconciliations/export.csv",
    "balances": "/v1/daily-balances/export.csv",
}


@click.group(invoke_without_command=True)
@click.option("--contract", "codes", multiple=True, help="Only this contract, by its code; may be given several times.")
@click.option(
    "--wait", type=click.FloatRange(0), default=3600.0, show_default=True, help="Seconds to wait for the end."
)
@click.pass_context
def reconcile(context: click.Context, codes: Sequence[str], wait: float) -> None:
    """Compare operators' whole statements with our register, settle what is safe, and print what waits for a person.

    Speaks with the operator bridge, whose worker does it. Takes SOUCHE_TOKEN, or makes a token with TOKEN_PRIVATE_KEY.
    Exits 1 where differences wait for a person, 2 where a statement could not be had in time.
    """
    if context.invoked_subcommand is None:
        client = bridge.client()
        runs = {
            code: client.post("/v1/reconciliations", json={"contract_id": contract_id})
            for code, contract_id in _contracts(client, codes).items()
        }
        _report(_await_end(client, runs, time.monotonic() + wait))


@reconcile.command("list")
@click.option("--state", default="waiting", show_default=True, help="waiting, settling or resolved.")
@click.option("--kind", help="Only of this kind, such as amount_differs.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
def browse(state: str, kind: str | None, limit: int) -> None:
    """List the differences that wait for a person, oldest first, with both sides."""
    found = bridge.client().get("/v1/discrepancies", state=state, kind=kind, limit=limit)["items"]
    columns = ("discrepancy_id", "kind", "reference", "ours", "theirs", "found_at")
    bridge.show(columns, found)


@reconcile.command()
@click.argument("discrepancy_id", type=click.UUID)
@click.option("--note", required=True, help="Why, for whoever reads it later.")
def resolve(discrepancy_id: object, note: str) -> None:
    """Resolve the difference DISCREPANCY_ID as you decided; it is not opened again while both sides stay so."""
    done = bridge.client().post(f"/v1/discrepancies/{discrepancy_id}/resolution", json={"note": note})
    click.echo(f"{done['kind']} of {done['reference']} is {done['state']}")


@reconcile.command()
@click.argument("what", type=click.Choice(tuple(_EXPORTS)))
@click.option("--to", "target", type=click.Path(dir_okay=False, path_type=Path), help="A file; else it is printed.")
def export(what: str, target: Path | None) -> None:
    """Write WHAT as CSV: amounts in cents of EUR, instants in UTC."""
    with bridge.client().stream(_EXPORTS[what]) as parts:
        if target is None:
            for part in parts:
                sys.stdout.buffer.write(part)
            return
        with target.open("wb") as file:
            file.writelines(parts)
    click.echo(f"{target} is written")


def _contracts(client: Client, codes: Sequence[str]) -> dict[str, str]:
    """The ids of these contracts by code, or of all that orders are sent under."""
    found = {contract["code"]: contract for contract in client.pages("/v1/contracts")}
    if missing := set(codes) - found.keys():
        names = ", ".join(sorted(missing))
        raise click.ClickException(f"There is no contract {names}: see `souche operator contracts`.")
    working = [code for code, contract in found.items() if contract["state"] in _WORKING]
    return {code: found[code]["contract_id"] for code in found if code in (codes or working)}


def _await_end(client: Client, runs: _Runs, deadline: float) -> _Runs:
    """The runs when all have ended, or as they stand at the deadline."""
    while True:
        now = {code: client.get(f"/v1/reconciliations/{run['reconciliation_id']}") for code, run in runs.items()}
        if all(run["state"] in _FINISHED for run in now.values()) or time.monotonic() >= deadline:
            return now
        time.sleep(_POLL_SECONDS)


def _report(runs: _Runs) -> None:
    columns = ("contract", "state", "lines", "moving", "differ", "settled", "resolved", "waiting")
    rows = [{**run, "contract": code, "differ": sum(run["differences"].values())} for code, run in runs.items()]
    write_table(columns, [[str(row[column]) for column in columns] for row in rows])
    for code, run in runs.items():
        for text in _remarks(run):
            click.echo(f"{code}: {text}")
    if any(run["state"] != "done" for run in runs.values()):
        raise SystemExit(2)
    if any(run["waiting"] for run in runs.values()):
        click.echo("See `souche reconcile list`, and settle each with `souche reconcile resolve`.")
        raise SystemExit(1)


def _remarks(run: dict[str, Any]) -> list[str]:
    remarks = [f"{number} {kind}" for kind, number in sorted(run["differences"].items())]
    if run["compared"] is False:
        remarks.append("the operator has no statement")
    if run["withheld"]:
        remarks.append("so much differs that nothing was settled: look at the statement first")
    return [*remarks, run["error"]] if run["error"] else remarks
