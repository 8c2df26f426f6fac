"""`souche import`: sends a file of the national schema and tells what became of each line."""

from pathlib import Path
from typing import Any

import click

from souche.client import Client

SERVICES = {"prescribers": "issuer", "structures": "redeemer"}
COUNTS = ("added", "changed", "unchanged", "refused")


@click.command("import")
@click.argument("kind", type=click.Choice([*SERVICES]))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_places(kind: str, file: Path) -> None:
    """Import prescribers or structures from FILE, a CSV file of the schema “Lieux de médiation numérique”.

    Good lines go in; each refused line is named with its reason. Exits 1 if a line was refused. Takes SOUCHE_TOKEN, or
    makes a token with TOKEN_PRIVATE_KEY.
    """
    client = Client(SERVICES[kind])
    report = client.post(f"/v1/{kind}/imports", data=file.read_bytes(), headers={"Content-Type": "text/csv"})
    _tell(report)
    if report["refused"]:
        raise SystemExit(1)


def _tell(report: dict[str, Any]) -> None:
    if report.get("already_imported_at"):
        click.echo(f"This very file was imported before, at {report['already_imported_at']}.")
    for note in report.get("refusals", ()):
        click.echo(f"line {note['line']}: refused: {_about(note)}")
    for note in report.get("remarks", ()):
        click.echo(f"line {note['line']}: {_about(note)}")
    click.echo(", ".join(f"{report[count]} {count}" for count in COUNTS if count in report))


def _about(note: dict[str, Any]) -> str:
    return f"{note['field']}: {note['reason']}" if note.get("field") else str(note["reason"])
