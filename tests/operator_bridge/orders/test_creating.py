"""The logs of issuer and redeemer come in any order relative to each other, and the operator ends knowing the same."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.simulators.docaposte import Simulator
from shared.values import clock
from shared.values.ids import new_id
from tests.chance import examples
from tests.operator_bridge.conftest import Office

ISSUER, REDEEMER, CONTRACT, SENDING = "issuer", "redeemer", "contract", "sending"
# What happens of each sort, in its own order; the sorts may fall between one another in any way.
HAPPENINGS = [ISSUER] * 5 + [REDEEMER] * 8 + [CONTRACT] + [SENDING] * 3


@pytest.fixture
def operator_settings(simulated: Mapping[str, str]) -> Mapping[str, str]:
    """An operator that is waited for: here nothing is to get no answer."""
    return {**simulated, "OPERATOR_DOCAPOSTE_TIMEOUT_SECONDS": "20"}


@pytest.mark.slow
@examples(5)
@given(order=st.permutations(HAPPENINGS))
def test_any_interleaving_ends_in_step(office: Office, simulator: Simulator, order: list[str]) -> None:
    office.programme = f"programme-{new_id()}"
    contract = office.contract(state="draft", code=office.programme)
    first, second = office.issue(4, tell=False), office.issue(2, tell=False)
    spent, twice, gone, lost = first
    reversed_once, report = new_id(), new_id()

    def say(kind: str, cheque: object) -> Callable[[], None]:
        return lambda: office.tell(f"cheques.{kind}", {"cheque_ids": [cheque], "reason": "lost"})

    logs: dict[str, list[Callable[[], object]]] = {
        ISSUER: [
            lambda: office.tell_issued(first),
            say("blocked", lost),
            lambda: office.tell_issued(second),
            say("unblocked", lost),
            say("blocked", spent),
        ],
        REDEEMER: [
            lambda: office.affiliate(contract),
            lambda: office.redeem([spent, second[0]]),
            lambda: office.redeem([twice], report=reversed_once),
            lambda: office.reverse(reversed_once, twice),
            lambda: office.redeem([twice], report=report),
            lambda: office.cancel([gone]),
            lambda: office.tell("cheques.expired", {"cheque_ids": [second[1]], "expired_at": clock.now()}),
            lambda: office.redeem([lost]),
        ],
        CONTRACT: [lambda: office.post(f"/v1/contracts/{contract}/state", {"state": "live"})],
        SENDING: [lambda: office.push(contract)] * 3,
    }
    for sort in order:
        logs[sort].pop(0)()
    office.push_all(contract)

    standing = {number: cheque.status for number, cheque in simulator.register.cheques.items()}
    assert {standing[str(each)] for each in (spent, twice, lost, second[0])} == {"redeemed"}
    assert {standing.get(str(each), "cancelled") for each in (gone, second[1])} == {"cancelled"}
    paid_for = office.rows(
        "SELECT cheque_id FROM redemption WHERE contract_id = :contract AND state = 'confirmed'", contract=contract
    )
    assert {row.cheque_id for row in paid_for} == {spent, twice, lost, second[0]}
    found = office.post(f"/v1/contracts/{contract}/comparison").json
    assert (found["count"], found["moving"]) == (0, 0)
    assert office.rows("SELECT 1 FROM operator_order WHERE state NOT IN ('accepted')") == []
    assert office.rows("SELECT 1 FROM parked_event") == []
