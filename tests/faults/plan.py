"""What happens to the town when: drawn from a seed, so that a plan that fails can be played again."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.injuries import INJURIES, target

INJURIES_IN_A_PLAN = 5
SPREAD_SECONDS = 12.0


@dataclass(frozen=True)
class Planned:
    """One injury, from when to when, in seconds from the start."""

    name: str
    begins: float
    ends: float


def plan(seed: int) -> list[Planned]:
    """The plan of a seed: every kind in turn over the seeds, at moments of chance; no target twice in one plan."""
    chance = random.Random(seed)
    chosen: list[str] = []
    for name in _deck(seed):
        if target(name) not in {target(other) for other in chosen}:
            chosen.append(name)
        if len(chosen) == INJURIES_IN_A_PLAN:
            break
    return sorted((_when(chance, name) for name in chosen), key=lambda planned: planned.begins)


def _when(chance: random.Random, name: str) -> Planned:
    begins = chance.uniform(0.5, SPREAD_SECONDS)
    return Planned(name, begins, begins + chance.uniform(*INJURIES[name].lasts))


def _deck(seed: int) -> Iterator[str]:
    """All kinds, in an order that goes on from seed to seed, then by chance."""
    names = sorted(INJURIES)
    random.Random("deck").shuffle(names)
    start = seed * INJURIES_IN_A_PLAN % len(names)
    yield from names[start:] + names[:start]
