"""Random faults under load: whatever was answered 201 is there once, whatever was refused left nothing.

`make test-faults` plays the seeds that FAULT_SEEDS names (`1-20` if it names none); a seed plays the same plan again.
"""

import itertools
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from demo import settling
from tests.faults import judge, towns_under_fire
from tests.faults.injuries import INJURIES, Field
from tests.faults.load import Entry, Load, Record
from tests.faults.plan import Planned, plan
from tests.faults.town import Silent
from tests.faults.watching import Wait, Watch

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
REPORT = Path(os.environ.get("FAULT_REPORT", "build/faults.json"))
LULL_SECONDS = 3.0


def seeds() -> list[int]:
    """The seeds that are asked for: `7`, `1-20`, `3,5,9-12`."""
    found: list[int] = []
    for part in os.environ.get("FAULT_SEEDS", "1-20").split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


@dataclass
class Figures:
    """What all plans together came to."""

    seeds: list[int] = field(default_factory=list)
    injuries: int = 0
    requests: int = 0
    answered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    losses: int = 0
    longest_without_service: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    longest_to_agreement: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, seed: int, played: Sequence[tuple[Planned, float, float]], record: Record, lost: int) -> None:
        """Counts one plan."""
        self.seeds.append(seed)
        self.injuries += len(played)
        self.requests += record.requests
        self.losses += lost
        for entry in record.entries:
            self.answered[f"{entry.kind} {entry.outcome}"] += 1
        for planned, begin, end in played:
            longest = max(_longest_gap(times, begin, end) for times in record.successes.values())
            self.longest_without_service[planned.name] = max(self.longest_without_service[planned.name], longest)

    def add_waits(self, waits: Sequence[Wait]) -> None:
        """Counts how long it took until all agreed."""
        for wait in waits:
            seconds = (wait.agreed or time.monotonic()) - wait.since
            self.longest_to_agreement[wait.injury] = max(self.longest_to_agreement[wait.injury], seconds)


def _longest_gap(times: Sequence[float], begin: float, end: float) -> float:
    """The longest time between two answers of which some part lies between begin and end."""
    ordered = sorted(times)
    return max(
        (later - earlier for earlier, later in itertools.pairwise(ordered) if later > begin and earlier < end),
        default=0.0,
    )


@pytest.fixture(scope="module")
def field_() -> Iterator[Field]:
    with towns_under_fire.field() as made:
        yield made


@pytest.fixture(scope="module")
def owner(field_: Field) -> Iterator[sa.Engine]:
    engine = sa.create_engine(field_.town.stack.environ["DATABASE_URL"], poolclass=sa.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    made = Figures()
    yield made
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(vars(made), indent=1, ensure_ascii=False), encoding="utf-8")


@pytest.mark.parametrize("seed", seeds())
def test_faults_at_random_moments_lose_and_double_nothing(
    field_: Field, owner: sa.Engine, figures: Figures, seed: int
) -> None:
    load, watch = Load(field_.town.year, seed), Watch(field_.town.stack.environ["DATABASE_URL"])
    with watch.watching():
        with load.flowing() as record:
            played = _play(field_, plan(seed), watch)
            time.sleep(LULL_SECONDS)
        settling.settle(field_.town.year, Silent())
        time.sleep(0.5)
    figures.add_waits(watch.waits)
    lost = judge.losses(record, owner)
    figures.add(seed, played, record, len(lost))
    assert lost == []
    assert record.of("grant", "done")
    assert record.of("redeem", "done")
    assert settling.compare(field_.town.year, field_.town.year.contract_id, Silent()) == 0
    field_.town.assert_balanced()


def _play(at: Field, planned: Sequence[Planned], watch: Watch) -> list[tuple[Planned, float, float]]:
    """Does what the plan says, at its moments; gives each injury with when it began and ended."""
    start = time.monotonic()
    begun: dict[Planned, float] = {}
    played = []
    turns = sorted(
        [(each.begins, each) for each in planned] + [(each.ends, each) for each in planned], key=lambda turn: turn[0]
    )
    for moment, each in turns:
        time.sleep(max(0.0, start + moment - time.monotonic()))
        if each not in begun:
            begun[each] = time.monotonic()
            INJURIES[each.name].begin(at)
        else:
            INJURIES[each.name].end(at)
            played.append((each, begun[each], time.monotonic()))
            watch.begin(each.name)
    return played


def test_the_judge_sees_what_is_missing_what_is_too_much_and_what_is_there_by_half(
    field_: Field, owner: sa.Engine
) -> None:
    record = Record()
    record.entries = [
        Entry("grant", "never-made", "done", {"grant_id": "nowhere", "cheques": []}),
        Entry("redeem", "never-made", "done", {"redemptions": [{"redemption_id": "nowhere"}]}, ("a code",)),
    ]
    with owner.connect() as connection:
        reference = connection.execute(sa.text("SELECT max(reference) FROM issuer.cheque_grant")).scalar_one()
        key = connection.execute(sa.text("SELECT max(key) FROM redeemer.presentation")).scalar_one()
    record.entries += [Entry("grant", reference, "refused", {}), Entry("redeem", key, "refused", {}, ("a code",))]
    record.entries.append(Entry("redeem", key, "unanswered", {}, ("a code",) * 9))
    assert len(judge.losses(record, owner)) == 6
