"""The three services with a small world each, to which nonsense is sent."""

from collections.abc import Callable, Mapping

import pytest

from tests.fuzz.world import World, bridge_world, issuer_world, redeemer_world
from tests.harness import ServiceUnderTest
from tests.operator_bridge.conftest import codes, simulated, simulator

__all__ = ["codes", "simulated", "simulator"]


@pytest.fixture
def operator_settings(simulated: dict[str, str]) -> Mapping[str, str]:
    return simulated


@pytest.fixture
def world(service: Callable[[str], ServiceUnderTest], codes: dict[str, str]) -> Callable[[str], World]:
    """Makes the world of any service."""
    makers: dict[str, Callable[[ServiceUnderTest], World]] = {
        "issuer": issuer_world,
        "redeemer": redeemer_world,
        "operator_bridge": lambda bridge: bridge_world(bridge, codes),
    }
    return lambda name: makers[name](service(name))
