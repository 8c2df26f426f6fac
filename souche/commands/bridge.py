"""Calling the operator bridge: contracts by their codes, and lists as tables."""

from collections.abc import Sequence
from typing import Any

import click

from souche.client import Client

_OVER = ("ended", "failed")


def client() -> Client:
    """The operator bridge."""
    return Client("operator_bridge")


def contract_id(bridge: Client, code: str) -> str:
    """The id of the contract of this code or id; ends the command where there is none."""
    for contract in bridge.pages("/v1/contracts"):
        if code in (contract["code"], contract["contract_id"]):
            return str(contract["contract_id"])
    raise click.ClickException(f"There is no contract {code}: see `souche operator contracts`.")


def contract_ids(bridge: Client, code: str) -> list[str]:
    """The ids of the contract of this code, or of all contracts of an operator that are not over."""
    contracts = list(bridge.pages("/v1/contracts"))
    found = [contract for contract in contracts if code in (contract["code"], contract["contract_id"])] or [
        contract for contract in contracts if contract["operator"] == code and contract["state"] not in _OVER
    ]
    if not found:
        raise click.ClickException(f"There is no operator with a contract and no contract {code}.")
    return [str(contract["contract_id"]) for contract in found]


def show(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Prints the columns of JSON objects as a table."""
    write_table(columns, [[_text(row.get(column)) for column in columns] for row in rows], left=len(columns))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{name}={part}" for name, part in value.items())
    return "" if value is None else str(value)


def write_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 2) -> None:
    """Prints a table whose first `left` columns are words and the others figures."""
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    for row in (heads, ["─" * width for width in widths], *rows):
        cells = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
