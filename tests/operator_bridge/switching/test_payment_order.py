"""Switching to an operator that lets cheques be spent only once it knows the payment order that paid for them."""

from collections.abc import Mapping

import pytest
from click.testing import CliRunner

from benchmarks.switches import PROGRAMME, Outside, Play
from demo.simulators import aptic, docaposte
from services.operator_bridge.switching import switchover
from souche.cli import main
from tests.harness import ServiceUnderTest
from tests.outside import operator_settings, outside
from tests.serving import served

__all__ = ["operator_settings", "outside"]


def operator(bridge: ServiceUnderTest, *arguments: str) -> str:
    """What a command says that has to end well."""
    result = CliRunner().invoke(main, ("operator", *arguments), env=dict(bridge.environ) | {"SOUCHE_TOKEN": None})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_a_switch_waits_visibly_for_the_payment_order_and_goes_on_after_it(
    outside: Outside, bridge: ServiceUnderTest, service_addresses: Mapping[str, str]
) -> None:
    addresses = service_addresses["issuer"], service_addresses["operator_bridge"]
    with served(outside.issuer(), addresses[0]), served(bridge.app, addresses[1]):
        play = Play(bridge.runtime, outside, docaposte.CODE, aptic.CODE, "handover", payment_order=None)
        play.prepare(40)
        drafted = operator(bridge, "draft", "next", "--operator", aptic.CODE, "--programme", PROGRAMME,
                           "--starts-on", "2027-01-01")  # fmt: skip
        assert drafted.startswith("next is draft: ")
        (play.to_id,) = (row.contract_id for row in play.rows("SELECT contract_id FROM contract WHERE code = 'next'"))
        switch_id = play.begin()
        for _ in range(4):
            switchover.advance(bridge.runtime, switch_id)
            play.work(once=True)
        waiting = switchover.advance(bridge.runtime, switch_id)
        assert waiting.step == "register"
        command = "souche operator activate next --payment-order NUMBER"
        assert waiting.waiting_for == f"the payment order (mandat) of 25 cheques: {command}"
        play.redeem(play.unspent[3:5])  # the tills do not wait

        output = operator(bridge, "activate", "next", "--payment-order", "2026-004711")
        assert output == "25 cheques are being activated by 2026-004711\n"
        assert switchover.advance(bridge.runtime, switch_id).waiting_for == "25 activations that are not settled yet"
        for _ in range(8):
            play.work(once=True)
            done = switchover.advance(bridge.runtime, switch_id)
        assert done.finished_at, done.waiting_for
        play.work()
        play.check()
    assert done.report
    assert done.report["differences"] == 0
    assert set(outside.simulators[aptic.CODE].register.active.values()) == {"2026-004711"}
