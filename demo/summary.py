"""The results of the year: counts, euros per funder and per state, lag, speed, and where to go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.acts.calls import Identity
from demo.acts.granting import BOOKLETS
from demo.acts.switching import Switched, claims_folder
from demo.acts.traffic import Request
from demo.acts.year import FINANCE, OPERATIONS, Year
from demo.stack.stack import Stack

STATES = {
    "issued": "On its way",
    "spendable": "Spendable",
    "redeemed": "Redeemed",
    "cancelled": "Cancelled",
    "expired": "Expired",
    "blocked": "Blocked",
}

CLAIMS = {
    "unspent": "claimed: prepaid cheques that nobody spent",
    "declared": "claimed: redemptions declared and not paid",
    "undeclared": "claimed: redemptions that it did not hear of",
}


@dataclass(frozen=True)
class Outcome:
    """What was measured and proved."""

    calm_lag: Mapping[str, float]
    year_lag: Mapping[str, float]
    differences: int
    switches: Sequence[Switched]
    verified: bool

    @property
    def balances(self) -> bool:
        """Whether nothing differs, nothing is lost and nobody was refused."""
        quiet = all(switch.proof.holds and not switch.traffic.refused for switch in self.switches)
        return self.verified and quiet and not self.differences


def lag(year: Year, seconds: float) -> dict[str, float]:
    """Events that the redeemer took from the issuer in the last seconds: how many, median and 99th percentile."""
    answer = year.calls.get("redeemer", "/v1/events/reading", OPERATIONS, seconds=int(seconds) + 1)
    found = [entry for entry in answer["lag"] if entry["publisher"] == "issuer"]
    return dict(found[0], publisher=0.0) if found else {"events": 0, "median_seconds": 0.0, "p99_seconds": 0.0}


def show(console: Console, year: Year, outcome: Outcome) -> None:
    """Prints the tables."""
    balances = year.calls.get("issuer", "/v1/balances", FINANCE)
    report = year.calls.get("issuer", "/v1/reports/conventions", FINANCE)
    console.print(_counts(year))
    console.print(_envelopes(balances["envelopes"]))
    console.print(_conventions(report["conventions"]))
    names = {
        operator["code"]: operator["name"]
        for operator in year.calls.get("operator_bridge", "/v1/operators", OPERATIONS)
    }
    for switched in outcome.switches:
        console.print(_switched(switched, names))
    console.print(_measures(year, outcome))


def _counts(year: Year) -> Table:
    table = Table(title="What happened", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for what, number in year.counts.items():
        table.add_row(what, _number(number))
    return table


def _envelopes(envelopes: Sequence[Mapping[str, Any]]) -> Table:
    """A line per funder, a column per state that any cheque is in."""
    columns = {
        "Convention": [line["amount_cents"] for line in envelopes],
        "Engaged": [line["engaged_cents"] for line in envelopes],
        **{name: [line["states"][state]["cents"] for line in envelopes] for state, name in STATES.items()},
    }
    shown = {name: cents for name, cents in columns.items() if any(cents)}
    table = Table(title="Euros per funder and per state of the cheques", show_footer=True)
    table.add_column("Funder", footer="All")
    for name, cents in shown.items():
        table.add_column(name, footer=_euros(sum(cents)), justify="right", no_wrap=True)
    for line, *row in zip(envelopes, *shown.values(), strict=True):
        table.add_row(line["funder"], *map(_euros, row))
    return table


def _conventions(conventions: Sequence[Mapping[str, Any]]) -> Table:
    """A line per convention: its report, and what its funder owes."""
    columns = {
        "Granted": [line["sums"]["granted"]["cents"] for line in conventions],
        "Used": [line["sums"]["used"]["cents"] for line in conventions],
        "Paid to structures": [line["sums"]["paid"]["cents"] for line in conventions],
        "Owed by the funder": [line["owed_cents"] for line in conventions],
    }
    table = Table(title="Euros per convention, as reported to its funder", show_footer=True)
    table.add_column("Convention", footer="All")
    table.add_column("It pays at most", justify="right")
    for name, cents in columns.items():
        table.add_column(name, footer=_euros(sum(cents)), justify="right", no_wrap=True)
    for line, *row in zip(conventions, *columns.values(), strict=True):
        part = f"{line['pays_at_most_bp'] / 100:g} %"
        table.add_row(line["convention_reference"], part, *map(_euros, row))
    return table


def _measures(year: Year, outcome: Outcome) -> Table:
    table = Table(title="How it went", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    requests = sorted(year.calls.seconds)
    for what, measured in {
        "HTTP requests": _number(len(requests)),
        "requests a second, at the busiest": f"{max(year.rates.values()):.0f}",
        "a request's answer, median / 99th percentile": _speed(requests),
        "from grant to spendable at light load, median / 99th percentile": _lag(outcome.calm_lag),
        "from grant to spendable over the year, median / 99th percentile": _lag(outcome.year_lag),
        "from a loss reported to the new cheque, median / 99th percentile": _speed(year.replaced_seconds),
        "differences with the operator": str(outcome.differences),
        "every cent accounted for (souche verify)": "yes" if outcome.verified else "NO",
    }.items():
        table.add_row(what, measured)
    return table


def _switched(switched: Switched, names: Mapping[str, str]) -> Table:
    """The results of one switch."""
    report, proof, died = switched.report, switched.proof, switched.new["mode"] == "failure"
    how = "died in full traffic" if died else "handed over"
    title = f"{names[switched.old['operator']]} {how}, {names[switched.new['operator']]} took over"
    table = Table(title=title, show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for what, found in {
        **_tills(switched.traffic.requests),
        "requests that the tills refused because of it": _number(switched.traffic.refused),
        "cheques moved": _amount(report["moved"]),
        "refused by the new operator": _amount(report["refused_by_new"]),
        "redemptions declared to the new operator": _amount(report["declared_again"]),
        **{CLAIMS[kind]: _amount(found) for kind, found in switched.claims.items()},
        **({"claimed from the dead operator in all": _amount(report["claimed"])} if died else {}),
        **({} if died else {"accepted by the old operator, which pays it": _amount(report["left_to_pay"])}),
        "seconds from the command to the end": f"{report['seconds']:.0f}",
        "differences found by the switch": _number(report["differences"]),
        "cheques in people's hands, spendable at our tills": _number(proof.spendable),
        **(
            {} if proof.in_their_books is None else {"… in the new operator's own books": _number(proof.in_their_books)}
        ),
        "cheques lost, redemptions lost, cents lost": (
            f"{proof.lost_cheques}, {proof.lost_redemptions}, {proof.lost_cents}"
        ),
    }.items():
        table.add_row(what, found)
    return table


def _tills(requests: Sequence[Request]) -> dict[str, str]:
    """By phase, how many requests the tills made and how fast they were answered."""
    phases = dict.fromkeys(request.phase for request in requests)
    seconds = {phase: sorted(request.seconds for request in requests if request.phase == phase) for phase in phases}
    rows = {f"  {phase}": f"{_number(len(took))}, {_speed(took)}" for phase, took in seconds.items()}
    return {"requests of the tills: number, median / 99th percentile": ""} | rows


def _speed(took: Sequence[float]) -> str:
    """Median and 99th percentile of times that are in order."""
    return "–" if not took else _both(median(took), took[len(took) * 99 // 100])


def guide(console: Console, stack: Stack, year: Year) -> None:
    """Prints the addresses while everything runs, with tokens and commands to try."""
    adviser, structure = year.advisers[0], year.structures[0]
    console.print("Everything is up:")
    for service, address in stack.addresses.items():
        console.print(f"  {service.replace('_', ' '):<16} {address}/docs/")
    console.print(f"  logs             {stack.directory / 'logs'}")
    console.print(f"  booklets         {stack.directory / BOOKLETS}")
    for name, who in {"prescriber": adviser, "structure": structure, "admin": Identity("admin")}.items():
        console.print(f"\nA token of role {name}:", style="bold")
        console.print(year.calls.token(who), soft_wrap=True, highlight=False)
    console.print(f"\nWhat is claimed from the dead operator: {claims_folder(stack)}", style="bold", soft_wrap=True)
    console.print("\nTo go on, for example:", style="bold")
    console.print(
        f"  set -a; . {stack.settings_file}; set +a\n"
        "  souche verify\n"
        "  souche operator orders --state refused\n"
        '  curl -s $ISSUER_URL/v1/balances -H "Authorization: Bearer $(souche token --role finance)"\n'
        "Ctrl-C stops it.",
        soft_wrap=True,
        highlight=False,
    )


def _amount(found: Mapping[str, int]) -> str:
    return f"{_number(found['number'])} ({_euros(found['cents'])})"


def _euros(cents: int) -> str:
    return f"{cents / 100:,.0f} €".replace(",", " ")  # whole cheques of 10 €: no cents to show


def _number(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _lag(found: Mapping[str, float]) -> str:
    return _both(found["median_seconds"], found["p99_seconds"])


def _both(middle: float, high: float) -> str:
    return f"{middle * 1000:.0f} ms / {high * 1000:.0f} ms"
