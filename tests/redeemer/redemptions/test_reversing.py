"""Taking a redemption back, and what of redemptions a structure may see."""

from uuid import UUID

import pytest

from shared.values import clock
from shared.values.ids import new_id
from tests.redeemer.conftest import Cheque, Till, day


@pytest.fixture
def cheque(till: Till) -> Cheque:
    [made] = till.issue()
    return made


@pytest.fixture
def redemption(till: Till, cheque: Cheque) -> UUID:
    """The cheque, spent."""
    return UUID(till.present([cheque.code]).get_json()["redemptions"][0]["redemption_id"])


def test_a_cheque_whose_redemption_is_reversed_can_be_spent_again(till: Till, cheque: Cheque, redemption: UUID) -> None:
    answer = till.reverse(redemption)

    assert (answer.status_code, answer.get_json()["reversal_reason"]) == (200, "mistake")
    [told] = till.told("redemption.reversed")
    assert (told["redemption_id"], told["cheque_id"], told["structure_id"]) == (redemption, cheque.id, till.structure)
    assert (told["amount_cents"], told["reason"]) == (1000, "mistake")
    assert till.check(cheque.code).get_json()["redeemable"]
    assert till.present([cheque.code]).status_code == 201


def test_reversing_twice_is_reversing_once(till: Till, redemption: UUID) -> None:
    first, second = till.reverse(redemption), till.reverse(redemption)

    assert first.data == second.data
    assert len(till.told("redemption.reversed")) == 1


def test_reversing_again_does_not_touch_the_redemption_that_followed(
    till: Till, cheque: Cheque, redemption: UUID
) -> None:
    till.reverse(redemption)
    till.present([cheque.code])

    assert till.reverse(redemption).status_code == 200
    assert till.state(cheque) == "redeemed"


def test_a_redemption_on_a_statement_or_paid_stays(till: Till, cheque: Cheque, redemption: UUID) -> None:
    with till.redeemer.runtime.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE redemption SET statement_id = gen_random_uuid()")
    on_statement = till.reverse(redemption)
    paid = {"payment_reference": "V1", "paid_on": day(0), "redemption_ids": [redemption]}
    till.tell("redemptions.paid", {"contract_id": till.contract, **paid})

    assert (on_statement.status_code, on_statement.get_json()["type"]) == (409, "urn:souche:redemption-on-statement")
    assert till.reverse(redemption).get_json()["type"] == "urn:souche:redemption-paid"
    assert till.state(cheque) == "redeemed"


def test_a_cheque_blocked_while_it_was_spent_is_blocked_when_it_is_given_back(
    till: Till, cheque: Cheque, redemption: UUID
) -> None:
    till.tell("cheques.blocked", {"cheque_ids": [cheque.id], "reason": "stolen"})
    assert till.state(cheque) == "redeemed"

    till.reverse(redemption)

    assert till.state(cheque) == "blocked"


def test_a_structure_sees_and_reverses_only_its_own(till: Till, redemption: UUID) -> None:
    other = till.affiliated("s2")

    assert till.reverse(redemption, other).status_code == till.reverse(new_id()).status_code == 404
    assert till.get(f"/v1/redemptions/{redemption}", "structure", other).status_code == 404
    assert till.get("/v1/redemptions", "structure", other).get_json()["items"] == []
    assert till.get(f"/v1/redemptions?structure_id={till.structure}", "structure", other).get_json()["items"] == []
    assert till.get(f"/v1/structures/{till.structure}", "structure", other).status_code == 404
    assert till.get("/v1/structures", "structure", other).get_json()["items"][0]["structure_id"] == str(other)


def test_the_structure_and_finance_see_a_redemption_with_its_settlement(till: Till, redemption: UUID) -> None:
    own = till.get("/v1/redemptions?state=due", "structure", till.structure).get_json()["items"]
    [seen] = till.get("/v1/redemptions", "finance").get_json()["items"]

    assert own == [seen] == [till.get(f"/v1/redemptions/{redemption}", "structure", till.structure).get_json()]
    assert (seen["redemption_id"], seen["state"], seen["via"]) == (str(redemption), "due", "till")
    assert seen["given_on"] == clock.today().isoformat()
