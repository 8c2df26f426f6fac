"""What all plans together came to."""

import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.plan import Planned
from tests.faults.record import Record
from tests.faults.watching import Wait


@dataclass(frozen=True)
class Played:
    """An injury as it came about, in seconds of the monotonic clock, and whether it showed."""

    planned: Planned
    began: float
    ended: float
    showed: bool


@dataclass
class Figures:
    """The counts, and by kind of fault the longest times in seconds."""

    plans: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by plan."""
    losses: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    injuries: Counter[str] = field(default_factory=Counter)
    showed: Counter[str] = field(default_factory=Counter)
    without_service: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    """By kind of fault and service."""
    to_agreement: dict[str, float] = field(default_factory=dict)

    def add(self, plan: str, played: Sequence[Played], record: Record, lost: int) -> None:
        """Counts one plan."""
        self.plans.append(plan)
        self.losses += lost
        self.counted += record.counted
        self.answered += Counter(f"{entry.kind} {entry.outcome}" for entry in record.entries)
        self.injuries += Counter(each.planned.name for each in played)
        self.showed += Counter(each.planned.name for each in played if each.showed)
        for each in played:
            longest = self.without_service[each.planned.name]
            for service, times in record.answers.items():
                gap = _longest_gap([record.began, *times, record.ended], each.began, each.ended)
                longest[service] = max(longest.get(service, 0.0), gap)

    def add_waits(self, waits: Sequence[Wait]) -> None:
        """Counts how long it took until all agreed."""
        for wait in waits:
            seconds = (wait.agreed or time.monotonic()) - wait.since
            self.to_agreement[wait.injury] = max(self.to_agreement.get(wait.injury, 0.0), seconds)

    def write(self, path: Path) -> None:
        """Keeps them for the report."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=1), encoding="utf-8")


def _longest_gap(times: Sequence[float], began: float, ended: float) -> float:
    """The longest time between two answers of which some part lies between both moments."""
    ordered = sorted(times)
    return max(
        (later - earlier for earlier, later in itertools.pairwise(ordered) if later > began and earlier < ended),
        default=0.0,
    )
