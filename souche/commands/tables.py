"""Tables on the terminal: columns as wide as they need to be, figures to the right."""

from collections.abc import Sequence

import click


def write_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 2) -> None:
    """Prints a table whose first `left` columns are words and the others figures."""
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    for row in (heads, ["─" * width for width in widths], *rows):
        cells = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
