"""Redemptions that were lost here and that another service remembers."""

from typing import Any

import pytest

from shared.values import clock
from shared.values.ids import new_id
from tests.redeemer.conftest import Cheque, Till, day


def remembered(till: Till, cheque: Cheque, reversed_: bool = False) -> dict[str, Any]:
    return {
        "redemption_id": new_id(),
        "cheque_id": cheque.id,
        "presentation_id": new_id(),
        "structure_id": till.structure,
        "amount_cents": 1000,
        "via": "till",
        "contract_id": None,
        "given_on": day(-1),
        "redeemed_at": clock.now(),
        "reversed": reversed_,
    }


@pytest.mark.parametrize(("reversed_", "state"), [(False, "redeemed"), (True, "spendable")])
def test_a_redemption_that_was_lost_is_taken_in_once_as_it_stood(till: Till, reversed_: bool, state: str) -> None:
    [cheque] = till.issue()
    till.tell("redemption.remembered", remembered(till, cheque, reversed_), times=2)
    assert till.state(cheque) == state
    assert len(till.rows("SELECT FROM redemption")) == len(till.rows("SELECT FROM presentation")) == 1
    assert len(till.told("cheques.redeemed")) == 1
    assert len(till.told("redemption.reversed")) == int(reversed_)


def test_one_that_was_taken_back_since_is_taken_back_here_too(till: Till) -> None:
    [cheque] = till.issue()
    body = remembered(till, cheque)
    till.tell("redemption.remembered", body)
    till.tell("redemption.remembered", body | {"reversed": True})
    assert till.state(cheque) == "spendable"
    assert len(till.told("redemption.reversed")) == 1
