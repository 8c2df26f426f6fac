"""Plans: the same from the same seed, and between them everything that can be done to the town."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.injuries import INJURIES, target
from tests.faults.plan import drawn, plans

SEEDS = range(1, 21)


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_draws_the_same_plan_in_another_process(hash_seed: str) -> None:
    asked = "from tests.faults.plan import drawn; print([drawn(seed) for seed in range(1, 21)])"
    elsewhere = subprocess.run(
        [sys.executable, "-c", asked],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert elsewhere.stdout.strip() == str([drawn(seed) for seed in SEEDS])


def test_twenty_seeds_do_everything_more_than_once() -> None:
    done = Counter(each.name for seed in SEEDS for each in drawn(seed))
    assert {name: done[name] for name in INJURIES if done[name] < 2} == {}


def test_nothing_is_injured_in_two_ways_at_a_time() -> None:
    for seed in SEEDS:
        targets = [target(each.name) for each in drawn(seed)]
        assert len(set(targets)) == len(targets)


def test_plans_are_asked_for_by_seeds_and_each_kind_of_fault_alone() -> None:
    assert [plan.name for plan in plans("3,5-7")] == ["3", "5", "6", "7"]
    assert [each.name for plan in plans("alone") for each in plan.injuries] == list(INJURIES)
