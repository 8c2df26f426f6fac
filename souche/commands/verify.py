"""`souche verify`: recomputes every balance from the rows of all three services, and prints the books."""

import os
from collections.abc import Sequence

import click

from shared.audit.hash_chain import Anchor, Broken
from shared.settings.settings import SERVICES
from shared.values.money import decimal
from souche.commands.bridge import write_table
from souche.verify import logs
from souche.verify.balances import Books, Tally, check_at_rest
from souche.verify.reading import Fault, connect

STATES = ("pending", "spendable", "redeemed", "cancelled", "expired", "blocked")


def _anchor(value: str) -> Anchor:
    try:
        anchor = Anchor.read(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no anchor: expected service:position:hash, as `souche verify` prints it."
        ) from None
    if anchor.service not in SERVICES:
        raise click.BadParameter(f"There is no service {anchor.service!r}: expected one of {', '.join(SERVICES)}.")
    return anchor


@click.command()
@click.option("--wait", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to let news arrive.")
@click.option("--all", "everything", is_flag=True, help="Name every difference, not only the first.")
@click.option(
    "--anchor", "anchors", multiple=True, type=_anchor, metavar="SERVICE:POSITION:HASH", help="A head kept from before."
)
def verify(wait: float, everything: bool, anchors: tuple[Anchor, ...]) -> None:
    """Recompute every balance across the three services; exit 1 at the first cheque that does not fit.

    Where a log was restored from a backup, it says so, and names all that does not fit.
    """
    engines = connect(os.environ)
    try:
        heads = logs.audit_heads(engines, anchors)
        remarks = logs.remarks(engines)
        for remark in remarks:
            click.echo(remark)
        books = check_at_rest(engines, wait, everything or bool(remarks))
    except Fault as fault:
        raise click.ClickException(f"it does not balance: {fault}") from None
    except Broken as broken:
        raise click.ClickException(f"the audit trail was tampered with: {broken}") from None
    finally:
        for engine in engines.values():
            engine.dispose()
    _show_books(books)
    click.echo("The audit trails are whole. Keep these lines elsewhere; a later run takes each as --anchor:")
    for head in heads:  # to be kept out of reach of whoever can write to the database
        click.echo(f"  {head}")


def _show_books(books: Books) -> None:
    """Prints number and euros per state, for each programme, envelope and contract, and the number of cheques."""
    rows = [_line(kind, name, tally) for (kind, name), tally in sorted(books.items())]
    write_table(("of", "name", "issued", *STATES), rows)
    cheques = sum(tally.number.total() for (kind, _), tally in books.items() if kind == "programme")
    click.echo(f"{cheques} cheques: every one fits.")


def _line(kind: str, name: str, tally: Tally) -> Sequence[str]:
    issued = _cell(tally.number.total(), tally.cents.total())
    return (kind, name, issued, *(_cell(tally.number[state], tally.cents[state]) for state in STATES))


def _cell(number: int, cents: int) -> str:
    return f"{number} / {decimal(cents)} €" if number else "–"
