"""`souche import`: sends a file and prints the outcome of each line, or in a dry run what it would be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from souche.client import Client, Refused

KINDS = {
    "prescribers": ("issuer", "/v1/prescribers/imports"),
    "structures": ("redeemer", "/v1/structures/imports"),
    "grants": ("issuer", "/v1/grants/bulk"),
    "payments": ("redeemer", "/v1/payments/imports"),
}
COUNTS = ("added", "changed", "unchanged", "accepted", "recorded", "known", "refused")


@click.command("import")
@click.argument("kind", type=click.Choice([*KINDS]))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Change nothing; print what the outcome of each line would be.")
@click.option("--all-or-nothing", is_flag=True, help="One bad line keeps the whole file out.")
def import_file(kind: str, file: Path, *, dry_run: bool, all_or_nothing: bool) -> None:
    """Import FILE, in CSV: prescribers or structures by the schema “Lieux de médiation numérique”; grants, which name
    their prescriber and a reference each; or the accountant's payments.

    Good lines go in; each refused line is named with its reason. Exits 1 if a line was refused. Takes SOUCHE_TOKEN, or
    makes a token with TOKEN_PRIVATE_KEY.
    """
    service, path = KINDS[kind]
    params = ({"dry_run": "true"} if dry_run else {}) | ({"mode": "all-or-nothing"} if all_or_nothing else {})
    report = _send(Client(service), path, file.read_bytes(), params)
    if dry_run:
        click.echo("Dry run: nothing was changed.")
    if report.get("already_imported_at"):
        click.echo(f"This file was imported before, at {report['already_imported_at']}.")
    _print_lines(report)
    click.echo(", ".join(f"{report[count]} {count}" for count in COUNTS if count in report))
    if report["refused"]:
        raise SystemExit(1)


def _send(client: Client, path: str, content: bytes, params: dict[str, str]) -> dict[str, Any]:
    try:
        report: dict[str, Any] = client.post(path, data=content, params=params, headers={"Content-Type": "text/csv"})
    except Refused as refusal:
        _print_lines(refusal.problem.get("report") or {})
        raise
    return report


def _print_lines(report: dict[str, Any]) -> None:
    for number, is_refused, text in sorted(_notes(report), key=lambda note: note[0]):
        click.echo(f"line {number}: {'refused: ' if is_refused else ''}{text}")


def _notes(report: dict[str, Any]) -> Iterator[tuple[int, bool, str]]:
    """The number of each line to print, whether it was refused, and its text."""
    yield from ((note["line"], True, _about(note)) for note in report.get("refusals", ()))
    yield from ((note["line"], False, _about(note)) for note in report.get("remarks", ()))
    for place in report.get("taken", ()):
        if place["outcome"] == "changed":
            yield place["line"], False, f"changed: {', '.join(place['columns'])}"
    for line in report.get("lines", ()):
        if "problem" in line:
            yield line["line"], True, _of_problem(line["problem"])
        elif line.get("reason"):
            yield line["line"], line.get("outcome") == "refused", _about(line)


def _about(note: dict[str, Any]) -> str:
    return f"{note['field']}: {note['reason']}" if note.get("field") else str(note["reason"])


def _of_problem(problem: dict[str, Any]) -> str:
    errors = "; ".join(f"{name}: {reason}" for name, reason in (problem.get("errors") or {}).items())
    return f"{problem['detail']} {errors}".strip()
