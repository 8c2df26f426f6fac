"""Each service keeps to its OpenAPI document, whatever is sent to it: no 500, and no answer that is not documented."""

import os
from collections.abc import Callable

import pytest

from shared.settings.settings import SERVICES
from tests.fuzz import openapi_run
from tests.fuzz.world import World

SEED = int(os.environ.get("FUZZ_SEED", "47"))


def play(world: World, name: str, examples: int, seconds: float) -> int:
    """Runs schemathesis, says how much, and returns how many requests it sent."""
    outcome = openapi_run.run(world, examples=examples, seed=SEED, seconds=seconds)
    sent = sum(outcome.statuses.values())
    print(f"{name}: {sent} requests, cases {dict(outcome.cases)}, answers {dict(sorted(outcome.statuses.items()))}")
    found = "\n\n".join(f"{finding}\n  {shown}" for finding, shown in sorted(outcome.findings.items()))
    assert not outcome.findings, f"{len(outcome.findings)} findings with seed {SEED}\n{found}"
    return sent


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_keeps_to_its_document(world: Callable[[str], World], name: str) -> None:
    assert play(world(name), name, examples=2, seconds=17) > 150


@pytest.mark.hours
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_keeps_to_its_document_for_long(world: Callable[[str], World], name: str) -> None:
    examples = int(os.environ.get("FUZZ_EXAMPLES", "50"))
    assert play(world(name), name, examples=examples, seconds=float(os.environ.get("FUZZ_SECONDS", "1200"))) > 3000
