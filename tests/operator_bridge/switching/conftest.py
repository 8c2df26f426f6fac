"""A town whose operator can die, instead of the one that serves all other tests."""

from collections.abc import Iterator, Mapping

import pytest

from tests.harness import ServiceUnderTest
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.switching.town import Operator, Town


@pytest.fixture
def operator() -> Iterator[Operator]:
    made = Operator()
    yield made
    made.die()


@pytest.fixture
def operator_settings(operator: Operator) -> Mapping[str, str]:
    settings = operator.account.settings(f"http://127.0.0.1:{operator.port}")
    return settings | {"OPERATOR_DOCAPOSTE_TIMEOUT_SECONDS": "1"}


@pytest.fixture
def office(bridge: ServiceUnderTest, codes: dict[str, str]) -> Office:
    return Office(bridge, codes)


@pytest.fixture
def town(office: Office, operator: Operator) -> Town:
    return Town(office, operator).settle()
