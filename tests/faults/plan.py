"""What happens to the town when: drawn from a seed, so that a plan that fails can be played again."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.injuries import INJURIES, target

INJURIES_IN_A_PLAN = 5
SPREAD_SECONDS = 12.0
ALONE = "alone"


@dataclass(frozen=True)
class Planned:
    """One injury, from when to when, in seconds from the start."""

    name: str
    begins: float
    ends: float


@dataclass(frozen=True)
class Plan:
    """What is done, and the name by which it is played again: a seed, or a kind of fault that comes alone."""

    name: str
    injuries: Sequence[Planned]


def plans(asked: str) -> list[Plan]:
    """The plans that are asked for: `7`, `1-20`, `3,5,9-12`, `alone` for each kind of fault by itself, `1-20,alone`."""
    return [plan for part in asked.split(",") for plan in (_alone() if part == ALONE else _range(part))]


def _range(part: str) -> Iterator[Plan]:
    first, _, last = part.partition("-")
    yield from (Plan(str(seed), drawn(seed)) for seed in range(int(first), int(last or first) + 1))


def _alone() -> Iterator[Plan]:
    for name, injury in INJURIES.items():
        yield Plan(name, [Planned(name, 1.0, 1.0 + injury.lasts[1])])


def drawn(seed: int) -> list[Planned]:
    """The plan of a seed: what came least often in the seeds before it, at moments of chance; no target twice."""
    chance = random.Random(seed)
    return sorted((_when(chance, name) for name in _kinds(seed)), key=lambda planned: planned.begins)


def _when(chance: random.Random, name: str) -> Planned:
    begins = chance.uniform(0.5, SPREAD_SECONDS)
    return Planned(name, begins, begins + chance.uniform(*INJURIES[name].lasts))


def _kinds(seed: int) -> list[str]:
    """Five kinds of fault. All come in turn, each time in other company."""
    played: Counter[str] = Counter()
    chosen: list[str] = []
    for number in range(1, max(1, seed) + 1):
        deck = sorted(INJURIES)
        random.Random(f"deck {number}").shuffle(deck)
        chosen = []
        for name in sorted(deck, key=lambda name: played[name]):
            if len(chosen) < INJURIES_IN_A_PLAN and target(name) not in map(target, chosen):
                chosen.append(name)
        played.update(chosen)
    return chosen
