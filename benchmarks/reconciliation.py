"""Reconciling a statement of a million lines, then of ten: how much longer it takes, and how much more memory."""

import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.table import Line

_LINEAR, _FLAT_MB = 1.25, 50
_LIMITS = {1_000_000: 60.0, 10_000_000: 600.0}


def growth(quick: bool) -> Iterator[Line]:
    """A line for each size, each in a process and on a PostgreSQL of its own (`benchmarks.reconcile`)."""
    sizes = (100_000, 1_000_000) if quick else tuple(_LIMITS)
    took = {lines: _measured(lines) for lines in sizes}
    few, many = (_seconds(took[lines]) / lines for lines in sizes)
    for lines in sizes:
        seconds, most = _seconds(took[lines]), _LIMITS.get(lines)
        text = f"{took[lines]['megabytes']:.0f} MB above what the process had"
        target = "–" if most is None else f"{most:.0f} s"
        good = None if most is None else seconds <= most
        yield Line(f"reconcile {lines:,} lines", f"{seconds:.1f} s", "–", "–", text, target, good)
    slower, larger = many / few, took[sizes[1]]["megabytes"] - took[sizes[0]]["megabytes"]
    reached = f"{slower:.2f} times the time a line, {larger:+.0f} MB"
    good = slower <= _LINEAR and larger <= _FLAT_MB
    yield Line("reconcile, ten times the lines", "–", "–", "–", reached, f"{_LINEAR} times, + {_FLAT_MB} MB", good)


def _measured(lines: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.reconcile", "--here", "--lines", str(lines)]
    done = subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (our own)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _seconds(took: dict[str, float]) -> float:
    return took["copy"] + took["compare"] + took["keep"]
