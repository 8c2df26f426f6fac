"""What the machine gives and how near we come: every line of the table in docs/performance.md.

    python -m benchmarks [--quick] [LINE …]

Each figure is a ratio of two sides that were measured by turns in one run on one machine. Progress is on standard
error; the table is on standard output and in build/benchmarks.md.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import bulk, carrying, granting, messages, pushing, reconciliation, redeeming, whole
from benchmarks.table import Line, written

LINES: Mapping[str, Callable[[bool], Iterator[Line]]] = {
    "redeem": redeeming.throughput,
    "grant": granting.throughput,
    "bulk": bulk.throughput,
    "events": carrying.throughput,
    "webhooks": messages.throughput,
    "orders": pushing.throughput,
    "size": redeeming.size,
    "reconcile": reconciliation.growth,
    "stack": whole.idle,
}
RESULT = Path("build/benchmarks.md")


def main() -> None:
    """Measures the lines that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("lines", nargs="*", metavar="LINE", help=f"any of {', '.join(LINES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: minutes, and figures that vary more")
    arguments = parser.parse_args()
    if strange := set(arguments.lines) - set(LINES):
        parser.error(f"no such line: {', '.join(sorted(strange))}")
    found: list[Line] = []
    for name in arguments.lines or LINES:
        for line in LINES[name](arguments.quick):
            found.append(line)
            sys.stderr.write(f"{line.what}: {line.ours} / {line.theirs}: {line.reached} ({line.target})\n")
    command = " ".join(["python -m benchmarks", *(["--quick"] if arguments.quick else []), *arguments.lines])
    table = written(found, command)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(table, encoding="utf-8")
    sys.stdout.write(table)


if __name__ == "__main__":
    main()
