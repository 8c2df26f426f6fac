"""What the accountant paid, the redeemer tells: no operator has to pay it any more."""

import pytest

from shared import clock
from shared.ids import new_id
from tests.operator_bridge.conftest import Office


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
