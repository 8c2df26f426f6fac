"""From one operator to the next, as an IT engineer does it: `souche operator switch`, and what it proves afterwards."""

import csv
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.acts import preparing, settling
from demo.acts.calls import Unexpected
from demo.acts.traffic import Traffic
from demo.acts.year import ADMIN, OPERATIONS, Bar, Year
from demo.stack.stack import Stack

STEPS = 7
PATIENCE_SECONDS = 300.0
PAUSE_SECONDS = 0.5
WORKING = ("live", "draining")
UNSPENT_THERE = ("registered", "Activated")
"""What a cheque that can be spent is called in the books of one simulator or another."""


@dataclass(frozen=True)
class Switched:
    """A switch that is done: its contracts, itself as the operator bridge shows it, and what the tills saw of it."""

    old: Mapping[str, Any]
    new: Mapping[str, Any]
    shown: Mapping[str, Any]
    traffic: Traffic
    proof: "Proof"

    @property
    def report(self) -> Mapping[str, Any]:
        """The result of a switch."""
        report: Mapping[str, Any] = self.shown["report"]
        return report

    @property
    def claims(self) -> Mapping[str, Mapping[str, int]]:
        """What is claimed from an operator that died, by kind; nothing from another."""
        [heard] = [step["figures"] for step in self.shown["steps"] if step["step"] == "last_statement"]
        kinds: Mapping[str, Mapping[str, int]] = heard.get("kinds", {})
        return kinds


@dataclass(frozen=True)
class Proof:
    """The register after a switch, compared with the people's cheques and the structures' redemptions."""

    lost_cheques: int
    lost_redemptions: int
    lost_cents: int
    spendable: int
    in_their_books: int | None
    """How many cheques can be spent by the new operator's own books, where there is somebody to ask."""

    @property
    def holds(self) -> bool:
        lost = (self.lost_cheques, self.lost_redemptions, self.lost_cents)
        return not any(lost) and self.in_their_books in (None, self.spendable)


def switch(year: Year, stack: Stack, old: Mapping[str, Any], new: Mapping[str, Any], bar: Bar) -> Mapping[str, Any]:
    """Runs the command to its end and gives the switch as it is then; does meanwhile what a person has to do."""
    bar.begin(STEPS)
    preparing.draft_contract(year, new)
    name, done = f"switch-{new['code']}", 0
    process = stack.start_souche(
        name, "operator", "switch", "--from", old["code"], "--to", new["code"], "--mode", new["mode"],
        "--creditor", year.world.described["creditor"], "--claims", str(claims_folder(stack)),
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None:
        if time.monotonic() > deadline:
            at = _last(year)
            reason = f"at the step {at.get('step')} it waits for {at.get('waiting_for')}"
            raise Unexpected(f"the switch to {new['code']} was not done in {PATIENCE_SECONDS:.0f} s: {reason}")
        tend(year)
        time.sleep(PAUSE_SECONDS)
        before, done = done, sum(1 for step in _last(year).get("steps", ()) if step["finished_at"])
        bar.advance(done - before)
    if process.returncode:
        raise Unexpected(f"`souche operator switch` ended with code {process.returncode}: see {stack.log(name)}")
    bar.advance(STEPS - done)
    return _last(year)


def claims_folder(stack: Stack) -> Path:
    """Where the command writes what is claimed."""
    return stack.directory / "claims"


def tend(year: Year) -> None:
    """Reads the statements that settle orders, and enters the payment orders, without waiting for the hour.

    The first is done by beat as well, only later; the second by whoever pays for the cheques.
    """
    payment_orders = {successor["code"]: successor.get("payment_order") for successor in year.world.successors}
    for contract in year.calls.get("operator_bridge", "/v1/balances", OPERATIONS)["contracts"]:
        if contract["state"] not in WORKING:
            continue
        path, payment_order = f"/v1/contracts/{contract['contract_id']}", payment_orders.get(contract["code"])
        if payment_order and contract["state"] == "live" and _number(contract["links"], "wanted"):
            body = {"payment_order": payment_order}
            year.calls.post("operator_bridge", f"{path}/activations", ADMIN, body)
        if _number(contract["orders"], "unknown"):
            year.calls.post("operator_bridge", f"{path}/polls", OPERATIONS, expected=(200, 503))


def settle(year: Year, bar: Bar) -> None:
    """Waits until every event is read and no order to an operator is on its way, tending to them meanwhile."""
    settling.wait_until_read(year)
    left = settling.unsettled(year)
    bar.begin(left)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left:
        if time.monotonic() > deadline:
            raise Unexpected(f"{left} orders to operators were not settled within {PATIENCE_SECONDS:.0f} s")
        tend(year)
        time.sleep(PAUSE_SECONDS)
        before, left = left, settling.unsettled(year)
        bar.advance(max(0, before - left))
    settling.wait_until_read(year)
    year.counts["cheques spent at our tills"] = len(year.redemptions)


def prove(year: Year, stack: Stack, new: Mapping[str, Any], report: Mapping[str, Any]) -> Proof:
    """Counts the people's cheques and the structures' redemptions again, and checks them against the register."""
    if report["claimed"]:
        _check_claims(claims_folder(stack), report["claimed"])
    [held] = year.calls.get("redeemer", "/v1/balances", OPERATIONS)["programmes"]
    spent = year.counts["cheques spent at our tills"] + year.counts["cheques spent at the operator's till"]
    spent -= year.counts["redemptions reversed"]
    unspent = year.counts["cheques"] - spent - year.counts["cheques expired"]
    owed = [held["redemptions"][state] for state in ("due", "confirmed", "paid")]
    face_value = year.world.programme["face_value_cents"]
    found_cents = held["states"]["spendable"]["cents"] + sum(state["cents"] for state in owed)
    return Proof(
        lost_cheques=unspent - held["states"]["spendable"]["number"],
        lost_redemptions=spent - sum(state["number"] for state in owed),
        lost_cents=(unspent + spent) * face_value - found_cents,
        spendable=held["states"]["spendable"]["number"],
        in_their_books=_in_their_books(year, stack.operators.get(new["operator"])),
    )


def _in_their_books(year: Year, address: str | None) -> int | None:
    """How many cheques a simulated operator would take at this moment."""
    if address is None:
        return None
    state = year.calls.get_from(f"{address}/admin/state")
    found = state.get("cheques") or state.get("vouchers") or {}
    counted = [found[status] for status in UNSPENT_THERE if status in found]
    return sum(int(entry["number"] if isinstance(entry, dict) else entry) for entry in counted)


def _check_claims(folder: Path, claimed: Mapping[str, int]) -> None:
    """The claims as written, line by line, are those of the report."""
    with (folder / "creances.csv").open(encoding="utf-8-sig", newline="") as file:
        amounts = [line["Montant (euros)"] for line in csv.DictReader(file, delimiter=";")]
    cents = sum(int(amount.replace(",", "")) for amount in amounts)
    if (len(amounts), cents) != (claimed["number"], claimed["cents"]):
        raise Unexpected(f"The claims file has {len(amounts)} lines of {cents} cents, the report says {claimed}")


def _last(year: Year) -> dict[str, Any]:
    """The switch that was begun last, as far as it has come."""
    switches = year.calls.pages("operator_bridge", "/v1/switches", OPERATIONS)
    if not switches:
        return {}
    found: dict[str, Any] = year.calls.get("operator_bridge", f"/v1/switches/{switches[-1]['switch_id']}", OPERATIONS)
    return found


def _number(counted: list[dict[str, Any]], state: str) -> int:
    return sum(entry["number"] for entry in counted if entry["state"] == state)
