"""Whatever goes wrong between us and the operator, all ends in agreement, cheque by cheque, and it balances."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import UUID

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st

from demo.simulators import docaposte
from demo.simulators.docaposte import Account, Simulator
from demo.simulators.faults import CALLS, MESSAGES, STATEMENTS
from demo.stack.embedded import free_port
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.interface import NoAnswer, OperatorUnavailable, Order
from services.operator_bridge.orders import sending
from shared.settings.settings import SERVICES
from shared.values import cheque_code, clock
from shared.values.ids import new_id
from tests.chance import examples
from tests.harness import ServiceUnderTest
from tests.operator_bridge.troubled_town import Town
from tests.serving import served

pytestmark = pytest.mark.slow

# Longer than the operator is waited for in these tests.
_TOO_LONG = 1.5
_LENGTHS = {"time_out_after_doing": _TOO_LONG, "slow": _TOO_LONG, "late_webhooks": 0.2}


@pytest.fixture
def town(service: Callable[[str], ServiceUnderTest], simulator: Simulator) -> Iterator[Town]:
    """Three services at their addresses on empty tables, and an operator on empty books with one structure."""
    simulator.forget()
    with ExitStack() as stack:
        services = {name: service(name) for name in SERVICES}
        for under_test in services.values():
            stack.enter_context(served(under_test.app, under_test.settings.peers[under_test.settings.service]))
        made = Town(services, simulator=simulator)
        made.prepare()
        yield made
        simulator.forget()


def live_a_day(town: Town) -> None:
    """A bit of everything, while something goes wrong."""
    town.issue()
    town.carry()
    town.push()
    town.redeem(0)
    town.redeem_there(1)
    town.redeem(2)
    town.cancel(3)
    town.block(4)
    town.carry()
    town.push()
    town.pay()
    town.reverse(1)
    town.hear()
    town.read_statement()
    town.carry()
    town.push()


IN_TURN = sorted({*CALLS, *MESSAGES, *STATEMENTS} - {"refuse", "die"})


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.slow if turn % 4 else ()) for turn, fault in enumerate(IN_TURN)]
)
def test_each_fault_ends_in_agreement(town: Town, fault: str) -> None:
    town.simulator.faults.order(fault, 2, _LENGTHS.get(fault, 0))
    live_a_day(town)
    town.come_to_rest()
    town.assert_agreement()


@pytest.mark.slow
def test_all_faults_at_once_end_in_agreement(town: Town) -> None:
    for fault in {*CALLS, *MESSAGES, *STATEMENTS} - {"refuse", "die"}:
        town.simulator.faults.order(fault, 1, _LENGTHS.get(fault, 0))
    for _ in range(3):
        live_a_day(town)
    town.come_to_rest()
    town.assert_agreement()


def test_an_operator_that_dies_in_mid_batch_takes_nothing_with_it(town: Town) -> None:
    town.issue()
    town.simulator.faults.order("die", 1, 0)
    live_a_day(town)
    town.read_statement()
    assert 0 < len(town.simulator.register.cheques) < 10
    owed = town.rows("SELECT cheque_id FROM redemption WHERE state = 'due'")
    assert [str(row.cheque_id) for row in owed] == [town.cheques[0]["cheque_id"]]
    assert {row.state for row in town.unfinished()} <= {"pending", "unknown"}
    assert town.rows("SELECT 1 FROM operator_order WHERE state = 'refused'") == []
    town.simulator.dead = town.simulator.webhooks.silent = False
    town.come_to_rest()
    town.assert_agreement()


def test_a_planned_stop_in_the_middle_of_a_day_loses_nothing(town: Town) -> None:
    town.issue()
    town.carry()
    town.push()
    town.stop()
    calls = town.simulator.register.calls
    live_a_day(town)
    assert town.simulator.register.calls == calls
    assert {row.state for row in town.unfinished()} <= {"pending", "held"}
    town.come_to_rest()
    town.assert_agreement()


def test_what_is_owed_for_a_cheque_that_the_operator_refused_is_named_until_another_pays(town: Town) -> None:
    town.issue()
    town.carry()
    town.redeem(0)
    town.carry()
    town.simulator.faults.order("refuse", 1, 0)
    town.come_to_rest(clear=False)
    assert "nobody pays it" in town.verify().output
    draft = {"code": "regie", "operator": "regie", "programme": "pass-numerique", "starts_on": "2026-01-01"}
    regie = UUID(town.ask("operator_bridge", "POST", "/v1/contracts", "admin", draft)["contract_id"])
    town.ask("operator_bridge", "POST", f"/v1/contracts/{regie}/state", "admin", {"state": "live"})
    town.ask("operator_bridge", "POST", f"/v1/contracts/{regie}/adoptions", "admin")
    sending.push(town.runtime, regie, 1.0)
    town.come_to_rest()
    found = town.verify()
    assert found.exit_code == 0, found.output


STEPS = ("issue", "redeem", "redeem_there", "reverse", "cancel", "block", "unblock", "pay", "carry", "push", "hear",
         "read_statement", "stop", "go_on", "restart")  # fmt: skip
# No order gets no answer so often that it is left for a person.
MISHAPS = ("time_out_after_doing", "error", "unavailable", "cut", "half_an_answer", "lose_webhooks", "late_webhooks",
           "repeat_webhooks", "disorder_webhooks", "bad_signature", "malformed_webhooks", "missing_outcomes",
           "malformed_statement")  # fmt: skip
MOST_MISHAPS = 4
# News is carried and orders are sent all the time, so a story has more of that.
chosen = st.sampled_from((*STEPS, "carry", "push", "carry", "push"))
steps = st.tuples(chosen, st.integers(0, 9), st.none() | st.sampled_from(MISHAPS))


@pytest.mark.slow
@examples(15)
@given(story=st.lists(steps, min_size=5, max_size=25))
@example(story=[(step, number, None) for number, step in enumerate(STEPS)])
def test_any_story_ends_in_agreement(town: Town, story: list[tuple[str, int, str | None]]) -> None:
    town.cheques, town.redemptions = [], []
    town.issue()
    mishaps = 0
    for step, index, mishap in story:
        if mishap and mishaps < MOST_MISHAPS:
            mishaps += 1
            town.simulator.faults.order(mishap, 1, _LENGTHS.get(mishap, 0))
        getattr(town, step)(index)
    town.come_to_rest()
    town.assert_agreement()


def test_an_operator_whose_process_ends_in_mid_batch_is_gone_for_good() -> None:
    account, port = Account.generate(), free_port()
    arguments = account.arguments(port, "http://127.0.0.1:9")
    command = [sys.executable, "-m", "demo.simulators.docaposte", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert "ready" in process.stdout.readline()
        settings = account.settings(f"http://127.0.0.1:{port}")
        operator = lookup.connect(docaposte.CODE, settings)
        orders = [_register() for _ in range(4)]
        assert [receipt.outcome for receipt in operator.push(orders[:1])] == ["accepted"]
        _order_fault(settings["OPERATOR_DOCAPOSTE_URL"], "die")
        with pytest.raises(NoAnswer):
            list(operator.push(orders))
        assert process.wait(10) == 1
    with pytest.raises(OperatorUnavailable):
        list(operator.push(orders))


def _register() -> Order:
    return Order(str(new_id()), "register", "contract", new_id(), code=cheque_code.generate(), amount_cents=1000,
                 valid_until=clock.today())  # fmt: skip


def _order_fault(url: str, name: str) -> None:
    answer = requests.post(f"{url}/admin/faults", json={"name": name}, timeout=5)
    assert answer.status_code == 204
