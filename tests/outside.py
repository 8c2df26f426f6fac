"""All the operators that there are, simulated, with empty books: any of them may die."""

from collections.abc import Iterator, Mapping

import pytest

from benchmarks.switches import Outside


@pytest.fixture
def outside() -> Iterator[Outside]:
    operators = Outside()
    operators.begin()
    yield operators
    operators.end()


@pytest.fixture
def operator_settings(outside: Outside) -> Mapping[str, str]:
    return outside.settings
