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
