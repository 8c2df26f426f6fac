"""What the accountant paid, the redeemer tells: no operator has to pay it any more."""

from typing import Any
from uuid import UUID

import pytest

from demo.simulators.docaposte import Simulator
from services.operator_bridge.reconciliation import comparing
from shared.values import clock
from shared.values.ids import new_id
from tests.operator_bridge.conftest import Office

MANDAT: dict[str, Any] = {"contract_id": None, "payment_reference": "Mandat 17", "paid_on": clock.today()}


def spent(office: Office, contract: UUID, cheques: int = 1) -> list[UUID]:
    """Redemptions of registered cheques whose declarations wait to be sent."""
    office.affiliate(contract)
    issued = office.issue(cheques)
    office.push_all(contract)
    return office.redeem(issued)


@pytest.mark.parametrize("state", ["due", "confirmed", "refused", "stranded"])
def test_a_redemption_that_the_accountant_paid_is_paid_whatever_it_was(office: Office, state: str) -> None:
    office.contract()
    redemptions = office.redeem(office.issue(2))
    office.execute(f"UPDATE redemption SET state = '{state}'")
    paid = {"contract_id": None, "payment_reference": "Mandat 17", "paid_on": clock.today()}
    for _ in range(2):
        office.tell("redemptions.paid", {**paid, "redemption_ids": redemptions[:1]})
    rows = dict(office.rows("SELECT redemption_id, state FROM redemption"))
    assert rows == {redemptions[0]: "paid", redemptions[1]: state}


def test_it_waits_for_a_redemption_whose_cheque_is_not_known_yet(office: Office) -> None:
    cheques = office.issue(1, tell=False)
    redemptions = office.redeem(cheques)
    paid = {"contract_id": new_id(), "payment_reference": "Mandat 17", "paid_on": clock.today()}
    office.tell("redemptions.paid", {**paid, "redemption_ids": redemptions})
    assert office.rows("SELECT state FROM redemption") == []

    office.tell_issued(cheques)

    assert office.rows("SELECT state FROM redemption") == [("paid",)]
    assert office.rows("SELECT count(*) FROM parked_event") == [(0,)]


def test_a_payment_that_was_mistyped_is_to_be_paid_again_but_for_what_an_operator_paid_too(office: Office) -> None:
    office.contract()
    redemptions = office.redeem(office.issue(3))
    paid = {"contract_id": None, "payment_reference": "Mandat 17", "paid_on": clock.today()}
    office.tell("redemptions.paid", {**paid, "redemption_ids": redemptions[:2]})
    office.execute(
        "INSERT INTO payment (operator, reference, payment_reference, paid_on, redemption_id)"
        f" VALUES ('o', 'r', 'p', current_date, '{redemptions[1]}')"
    )
    for _ in range(2):
        office.tell("redemptions.unpaid", {**paid, "redemption_ids": redemptions[:2]})
    rows = dict(office.rows("SELECT redemption_id, state FROM redemption"))
    assert rows == dict(zip(redemptions, ("due", "paid", "due"), strict=True))


def test_a_payment_and_its_withdrawal_wait_for_the_cheque_in_their_order(office: Office) -> None:
    cheques = office.issue(1, tell=False)
    redemptions = office.redeem(cheques)
    paid = {"contract_id": None, "payment_reference": "Mandat 17", "paid_on": clock.today()}
    for kind in ("redemptions.paid", "redemptions.unpaid"):
        office.tell(kind, {**paid, "redemption_ids": redemptions})
    office.tell_issued(cheques)
    assert office.rows("SELECT state FROM redemption") == [("due",)]


def test_a_declaration_that_waits_is_withdrawn_and_the_cheque_given_up(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    redemptions = spent(office, contract, 2)
    office.post(f"/v1/contracts/{contract}/hold", {"reason": "they do not answer"})
    for _ in range(2):
        office.tell("redemptions.paid", {**MANDAT, "redemption_ids": redemptions[:1]})
    office.post(f"/v1/contracts/{contract}/release")
    office.push_all(contract)

    assert office.orders("declare") == {"refused": 1, "accepted": 1}
    assert {cheque.status for cheque in simulator.register.cheques.values()} == {"redeemed", "cancelled"}
    assert dict(office.rows("SELECT redemption_id, state FROM redemption")) == {
        redemptions[0]: "paid", redemptions[1]: "confirmed",
    }  # fmt: skip
    assert comparing.compare(office.bridge.runtime, contract).count == 0


def test_what_may_have_been_declared_is_not_withdrawn(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    redemptions = spent(office, contract)
    simulator.faults.order("cut", 1, 0)
    office.push(contract)
    office.execute("UPDATE operator_order SET state = 'pending' WHERE state = 'unknown'")
    office.tell("redemptions.paid", {**MANDAT, "redemption_ids": redemptions})
    office.push_all(contract)
    assert office.orders("declare") == {"accepted": 1}
    assert office.orders("cancel") == {}


def test_what_the_regie_owes_the_accountant_pays_and_nothing_is_withdrawn(office: Office) -> None:
    contract = office.contract("regie")
    redemptions = spent(office, contract)
    office.tell("redemptions.paid", {**MANDAT, "redemption_ids": redemptions})
    office.push_all(contract)
    assert office.orders() == {"accepted": 3}
    assert office.rows("SELECT state, contract_id FROM redemption") == [("paid", contract)]


def test_a_withdrawn_payment_has_the_redemption_declared_after_all(office: Office) -> None:
    contract = office.contract()
    redemptions = spent(office, contract)
    for kind in ("redemptions.paid", "redemptions.unpaid", "redemptions.paid", "redemptions.unpaid"):
        office.tell(kind, {**MANDAT, "redemption_ids": redemptions})
    office.push_all(contract)
    assert office.orders("declare") == {"refused": 2, "accepted": 1}
    assert office.orders("cancel") == {"refused": 2}
    assert office.rows("SELECT state, contract_id FROM redemption") == [("confirmed", contract)]


def test_where_the_operator_gave_the_cheque_up_already_another_contract_adopts_it(office: Office) -> None:
    contract = office.contract()
    redemptions = spent(office, contract)
    office.tell("redemptions.paid", {**MANDAT, "redemption_ids": redemptions})
    office.push_all(contract)
    assert office.get("/v1/balances")["cheques_without_operator"] == []
    office.tell("redemptions.unpaid", {**MANDAT, "redemption_ids": redemptions})
    office.push_all(contract)
    (without,) = office.get("/v1/balances")["cheques_without_operator"]
    assert (without["state"], without["number"]) == ("redeemed", 1)

    regie = office.contract("regie", "draft", "regie")
    office.execute("UPDATE contract SET state = 'draining' WHERE contract_id = :id", id=regie)
    assert office.post(f"/v1/contracts/{regie}/adoptions").json == {"adopted": 1}
    office.push_all(regie)
    assert office.rows("SELECT state, contract_id FROM redemption") == [("confirmed", regie)]
    assert office.get("/v1/balances")["cheques_without_operator"] == []
