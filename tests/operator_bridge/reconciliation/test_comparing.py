"""The operator's statement beside our register."""

from typing import Any
from uuid import UUID

import pytest

from demo.simulators.docaposte import Simulator
from demo.simulators.docaposte_register import Cheque
from shared.values.ids import new_id
from tests.operator_bridge.conftest import Office


@pytest.fixture
def settled(office: Office) -> tuple[UUID, list[UUID]]:
    """Six registered cheques, the third redeemed, the fourth cancelled, the fifth blocked; nothing on its way."""
    contract = office.contract()
    office.affiliate(contract)
    cheques = office.issue(6)
    office.redeem(cheques[2:3])
    office.cancel(cheques[3:4])
    office.tell("cheques.blocked", {"cheque_ids": cheques[4:5], "reason": "lost"})
    office.push_all(contract)
    return contract, cheques


def compared(office: Office, contract: UUID) -> Any:
    answer = office.post(f"/v1/contracts/{contract}/comparison")
    assert answer.status_code == 200, answer.json
    return answer.json


def test_a_statement_in_step_has_no_difference(office: Office, settled: tuple[UUID, list[UUID]]) -> None:
    contract, _ = settled
    found = compared(office, contract)
    assert (found["count"], found["differences"], found["moving"]) == (0, [], 0)
    assert found["totals"] == {
        "our_cheques": 6, "our_cents": 6000, "our_redeemed_cents": 1000,
        "their_cheques": 6, "their_cents": 6000, "their_redeemed_cents": 1000,
    }  # fmt: skip


def test_each_difference_is_named_with_its_cheque(
    office: Office, simulator: Simulator, settled: tuple[UUID, list[UUID]]
) -> None:
    contract, cheques = settled
    theirs = [simulator.register.cheques[str(cheque)] for cheque in cheques]
    simulator.register._order.remove(theirs[0])
    theirs[1].value_cents = 900
    theirs[2].redemption = None
    theirs[5].redemption = "TILL-9"
    stranger = new_id()
    simulator.register._order.append(Cheque(str(stranger), "contract", 1000, "9999"))
    found = compared(office, contract)
    assert found["count"] == 5
    assert {
        difference["kind"]: UUID(difference["examples"][0]["cheque_id"]) for difference in found["differences"]
    } == {
        "missing_at_operator": cheques[0],
        "amount_differs": cheques[1],
        "status_differs": cheques[2],
        "redeemed_there_not_here": cheques[5],
        "unknown_here": stranger,
    }


def test_what_is_on_its_way_is_not_a_difference(office: Office, settled: tuple[UUID, list[UUID]]) -> None:
    contract, cheques = settled
    office.redeem(cheques[:1])
    found = compared(office, contract)
    assert (found["count"], found["moving"]) == (0, 1)


def test_a_report_that_the_redeemer_has_not_judged_is_on_its_way(
    office: Office, simulator: Simulator, settled: tuple[UUID, list[UUID]]
) -> None:
    contract, cheques = settled
    simulator.register.redeem_at_till(str(office.structure), None, str(cheques[0]))
    office.post(f"/v1/contracts/{contract}/polls")
    found = compared(office, contract)
    assert (found["count"], found["moving"]) == (0, 1)


def test_a_statement_of_many_pages_is_read_whole(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue(2300)
    office.push_all(contract)
    found = compared(office, contract)
    assert (found["count"], found["totals"]["their_cheques"]) == (0, 2300)


def test_an_operator_that_is_not_there_gives_no_statement(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    simulator.faults.order("error", 2, 0)
    assert office.post(f"/v1/contracts/{contract}/comparison").status_code == 503
    answer = office.post(f"/v1/contracts/{contract}/polls")
    assert answer.status_code == 503
    assert answer.json["type"] == "urn:souche:operator-unavailable"
