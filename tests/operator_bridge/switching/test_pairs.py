"""From every operator to every other, in both modes: nothing is lost, nothing is there twice, nothing differs."""

import itertools
from collections.abc import Mapping

import pytest
from flask import Flask

from benchmarks.switches import MODES, Outside, Play
from services.operator_bridge.adapter_kit import lookup
from tests.harness import ServiceUnderTest
from tests.outside import operator_settings, outside
from tests.serving import served

__all__ = ["operator_settings", "outside"]

PAIRS = [(old, new, mode) for old, new in itertools.permutations(lookup.codes(), 2) for mode in MODES]
CHEQUES = 60


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new", "mode"), PAIRS)
def test_a_switch_between_any_two_operators_loses_nothing(
    old: str, new: str, mode: str, outside: Outside, bridge: ServiceUnderTest, service_addresses: Mapping[str, str]
) -> None:
    issuer: Flask = outside.issuer()
    with served(issuer, service_addresses["issuer"]):
        play = Play(bridge.runtime, outside, old, new, mode)
        play.prepare(CHEQUES)
        report = play.switch()
        play.check()
    assert (report["differences"], report["refused_by_new"]["number"]) == (0, 0)
    # Nothing of what was not spent before, and not one of those that came while it went on, stayed behind.
    assert report["moved"]["number"] >= len(play.unspent) - 9
    assert (report["claimed"] is None) == (mode == "handover")
