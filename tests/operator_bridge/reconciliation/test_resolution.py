"""Each kind of discrepancy planted at the operator, settled by policy or left to a person."""

from typing import Any
from uuid import UUID

import pytest

from demo.simulators.docaposte import Simulator
from demo.simulators.docaposte_register import Cheque
from services.operator_bridge.inbound import applying
from services.operator_bridge.reconciliation.comparing import KINDS
from shared.values import clock
from shared.values.ids import new_id
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.reconciliation.differing import (
    cheques,
    contract,
    differences,
    lose,
    reconcile,
    the_difference,
)

pytestmark = pytest.mark.slow

__all__ = ["cheques", "contract"]


def test_registers_in_step_have_no_difference(office: Office, contract: UUID, cheques: list[UUID]) -> None:
    office.redeem(cheques[:1])
    office.push_all(contract)
    run = reconcile(office, contract)
    assert (run["compared"], run["differences"], run["moving"], run["withheld"]) == (True, {}, 0, False)
    assert run["ours"] == run["theirs"] == {
        "redeemed": {"number": 1, "cents": 1000, "redeemed_cents": 1000},
        "registered": {"number": 2, "cents": 2000, "redeemed_cents": 0},
    }  # fmt: skip
    assert differences(office) == []


def test_a_cheque_that_the_operator_lost_is_registered_again(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    lose(simulator, cheques[0])
    run = reconcile(office, contract)
    assert (run["differences"], run["settled"]) == ({"missing_at_operator": 1}, 1)
    found = the_difference(office)
    assert (found["kind"], found["state"], found["policy"]) == ("missing_at_operator", "settling", "sent_again")
    office.push_all(contract)
    assert reconcile(office, contract)["differences"] == {}
    found = the_difference(office)
    assert (found["state"], found["resolved_by"]) == ("resolved", "policy")


def test_a_redeemed_cheque_that_the_operator_lost_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.redeem(cheques[:1])
    office.push_all(contract)
    lose(simulator, cheques[0])
    assert reconcile(office, contract)["waiting"] == 1
    assert (the_difference(office)["policy"], office.push(contract)) == (None, 0)


def test_what_the_operator_says_it_has_and_does_not_list_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register._order.pop(0)
    for expected in ("settling", "waiting", "waiting"):
        reconcile(office, contract)
        office.push_all(contract)
        assert the_difference(office)["state"] == expected


def test_a_cancelled_cheque_that_is_not_listed_is_worth_nothing_on_either_side(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.cancel(cheques[:1])
    office.push_all(contract)
    lose(simulator, cheques[0])
    for _ in range(2):
        assert reconcile(office, contract)["waiting"] == 0
        found = the_difference(office)
        assert (found["state"], found["policy"]) == ("resolved", "without_value")


def test_a_cheque_that_we_never_gave_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    stranger = new_id()
    simulator.register._order.append(Cheque(str(stranger), "contract", 1000, "9999"))
    assert reconcile(office, contract)["waiting"] == 1
    found = the_difference(office)
    assert (found["kind"], found["cheque_id"], found["ours"]) == ("unknown_here", str(stranger), {})
    assert found["theirs"] == {"status": "registered", "value_cents": 1000, "redeemed_cents": 0}


def test_another_amount_waits_for_a_person_with_both_sides(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register.cheques[str(cheques[0])].value_cents = 900
    assert reconcile(office, contract)["differences"] == {"amount_differs": 1}
    found = the_difference(office)
    assert (found["state"], found["policy"]) == ("waiting", None)
    assert (found["ours"]["value_cents"], found["theirs"]["value_cents"]) == (1000, 900)


@pytest.mark.parametrize("status", ["cancelled", "blocked", "unblocked", "redeemed"])
def test_a_status_that_the_operator_lost_is_told_again(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID], status: str
) -> None:
    chosen = cheques[:1]
    if status == "cancelled":
        office.cancel(chosen)
    if status == "redeemed":
        office.redeem(chosen)
    if status in ("blocked", "unblocked"):
        office.tell("cheques.blocked", {"cheque_ids": chosen, "reason": "lost"})
    if status == "unblocked":
        office.tell("cheques.unblocked", {"cheque_ids": chosen, "reason": "found"})
    office.push_all(contract)
    theirs = simulator.register.cheques[str(chosen[0])]
    theirs.cancelled, theirs.redemption, theirs.blocked = False, None, status == "unblocked"
    simulator.register.outcomes.clear()
    assert reconcile(office, contract)["differences"] == {"status_differs": 1}
    assert the_difference(office)["policy"] == "sent_again"
    office.push_all(contract)
    assert reconcile(office, contract)["differences"] == {}


def test_a_cheque_that_the_operator_cancelled_by_itself_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register.cheques[str(cheques[0])].cancelled = True
    assert reconcile(office, contract)["waiting"] == 1
    found = the_difference(office)
    assert (found["kind"], found["policy"]) == ("status_differs", None)


def test_a_redemption_of_which_no_message_told_is_applied(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    line = simulator.register.redeem_at_till(str(office.structure), None, str(cheques[0]))
    run = reconcile(office, contract)
    assert (run["differences"], run["settled"], run["waiting"]) == ({"redeemed_there_not_here": 1}, 1, 0)
    (reported,) = office.published("redemption.reported")
    assert reported["cheque_id"] == str(cheques[0])
    assert reconcile(office, contract)["moving"] == 1
    report = applying.report_id("docaposte", line["reference"])
    office.redeem(cheques[:1], via="operator", contract_id=contract, report=report)
    assert reconcile(office, contract)["differences"] == {}
    assert the_difference(office)["resolved_by"] == "policy"


def test_a_redemption_that_the_redeemer_does_not_accept_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    line = simulator.register.redeem_at_till(str(office.structure), None, str(cheques[0]))
    office.tell("cheques.blocked", {"cheque_ids": cheques[:1], "reason": "lost"})
    office.push_all(contract)
    reconcile(office, contract)
    report = applying.report_id("docaposte", line["reference"])
    office.tell("redemption.contested", {"report_id": report, "cheque_id": cheques[0], "reason": "blocked"})
    reconcile(office, contract)
    found = the_difference(office)
    assert (found["kind"], found["state"]) == ("redeemed_there_not_here", "waiting")
    assert found["ours"]["reason"] == "blocked"


def test_a_redemption_without_a_line_of_its_own_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register.cheques[str(cheques[0])].redemption = "TILL-9"
    assert reconcile(office, contract)["waiting"] == 1
    found = the_difference(office)
    assert (found["kind"], found["policy"]) == ("redeemed_there_not_here", None)


def test_a_cheque_spent_here_and_at_the_operator_was_redeemed_twice(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    line = simulator.register.redeem_at_till(str(office.structure), None, str(cheques[0]))
    office.redeem(cheques[:1])
    office.push_all(contract)
    run = reconcile(office, contract)
    assert (run["differences"], run["waiting"]) == ({"redeemed_twice": 1}, 1)
    report = applying.report_id("docaposte", line["reference"])
    office.tell("redemption.contested", {"report_id": report, "cheque_id": cheques[0], "reason": "already-redeemed"})
    reconcile(office, contract)
    found = the_difference(office)
    assert (found["kind"], found["reference"], found["state"]) == ("redeemed_twice", line["reference"], "waiting")
    assert found["theirs"]["amount_cents"] == 1000


def test_an_operator_that_counts_a_cheque_double_redeemed_it_twice(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    class Doubled(Cheque):
        @property
        def line(self) -> dict[str, Any]:
            return super().line | {"redeemed_cents": 2 * self.value_cents}

    office.redeem(cheques[:1])
    office.push_all(contract)
    held = simulator.register.cheques[str(cheques[0])]
    simulator.register._order[0] = Doubled(**vars(held))
    assert reconcile(office, contract)["differences"] == {"redeemed_twice": 1}


def test_a_payment_of_which_no_message_told_is_applied(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.redeem(cheques[:2])
    office.push_all(contract)
    simulator.register.pay(clock.today())
    run = reconcile(office, contract)
    assert (run["differences"], run["settled"], run["waiting"]) == ({"status_differs": 2}, 2, 0)
    (event,) = office.published("redemptions.paid")
    assert len(event["redemption_ids"]) == 2
    assert reconcile(office, contract)["differences"] == {}


def test_a_payment_without_a_redemption_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    paid = {"payment_reference": "VIR-9", "paid_on": "2026-03-01", "redemptions": ["NOBODYS"]}
    simulator.register._note("contract", {"type": "payment", **paid})
    for _ in range(2):
        assert reconcile(office, contract)["differences"] == {"paid_not_redeemed": 1}
        found = the_difference(office)
        assert (found["kind"], found["reference"], found["state"]) == ("paid_not_redeemed", "NOBODYS", "waiting")
        assert found["theirs"] == {"reference": "NOBODYS", "payment_reference": "VIR-9", "paid_on": "2026-03-01"}


def test_a_redemption_paid_by_two_transfers_is_paid_once_too_often(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.redeem(cheques[:1])
    office.push_all(contract)
    (payment,) = simulator.register.pay(clock.today())
    office.post(f"/v1/contracts/{contract}/polls")
    simulator.register._note("contract", {"type": "payment", **payment, "payment_reference": "VIR-AGAIN"})
    assert reconcile(office, contract)["differences"] == {"paid_not_redeemed": 1}
    found = the_difference(office)
    assert found["ours"]["payment_reference"] == payment["payment_reference"]
    assert found["theirs"]["payment_reference"] == "VIR-AGAIN"


def test_a_redemption_that_is_not_paid_in_time_waits_for_a_person_until_it_is(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.redeem(cheques[:2])
    office.push_all(contract)
    office.execute(
        "UPDATE operator_order SET settled_at = now() - interval '31 days' WHERE kind = 'declare' AND cheque_id = :one",
        one=cheques[0],
    )
    assert reconcile(office, contract)["differences"] == {"redeemed_not_paid_in_time": 1}
    found = the_difference(office)
    assert (found["cheque_id"], found["ours"]["structure_id"]) == (str(cheques[0]), str(office.structure))
    simulator.register.pay(clock.today())
    reconcile(office, contract)
    (late,) = differences(office, kind="redeemed_not_paid_in_time")
    assert (late["state"], late["resolved_by"]) == ("resolved", "agreement")


def test_every_kind_of_difference_is_named(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    kinds = list(KINDS)
    planted = office.issue(6)
    office.redeem(planted[4:6])
    office.push_all(contract)
    theirs = [simulator.register.cheques[str(cheque)] for cheque in planted]
    simulator.register._order.remove(theirs[0])
    simulator.register._order.append(Cheque(str(new_id()), "contract", 1000, "9999"))
    theirs[1].value_cents = 900
    theirs[2].cancelled = True
    theirs[3].redemption = "TILL-9"
    twice = {"reference": "TILL-8", "cheque": str(planted[4]), "structure": str(office.structure),
             "amount_cents": 1000, "redeemed_at": clock.now().isoformat()}  # fmt: skip
    simulator.register._note("contract", {"type": "redemption", **twice})
    paid = {"payment_reference": "VIR-9", "paid_on": "2026-03-01", "redemptions": ["NOBODYS"]}
    simulator.register._note("contract", {"type": "payment", **paid})
    office.execute(
        "UPDATE operator_order SET settled_at = now() - interval '31 days' WHERE kind = 'declare' AND cheque_id = :one",
        one=planted[5],
    )
    assert reconcile(office, contract)["differences"] == dict.fromkeys(sorted(kinds), 1)
