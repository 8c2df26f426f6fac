"""An operator that takes one thing a call: what one call comes to is the outcome of its own order."""

from collections.abc import Callable

import pytest

from services.operator_bridge.adapter_kit import parallel_calls
from services.operator_bridge.interface import NoAnswer, OperatorRefused, OperatorUnavailable, Order, Unreadable


def orders(number: int) -> list[Order]:
    return [Order(str(at), "register", "contract") for at in range(number)]


def failing(at: set[str], failure: Callable[[], Exception]) -> Callable[[Order], None]:
    def call(order: Order) -> None:
        if order.reference in at:
            raise failure()

    return call


@pytest.mark.parametrize(
    ("failure", "outcome"), [(lambda: Unreadable("number"), "unknown"), (lambda: OperatorRefused("no"), "refused")]
)
@pytest.mark.parametrize("bad", [{"0"}, {"0", "1", "2"}, {"299"}, {str(at) for at in range(0, 300, 10)}])
def test_what_cannot_be_read_of_some_is_their_outcome_and_no_failure(
    failure: Callable[[], Exception], outcome: str, bad: set[str]
) -> None:
    receipts = list(parallel_calls.receipts(failing(bad, failure), orders(300)))
    assert {receipt.reference for receipt in receipts if receipt.outcome == outcome} == bad
    assert sum(receipt.outcome == "accepted" for receipt in receipts) == 300 - len(bad)


def test_a_lone_order_that_cannot_be_read_is_no_failure_of_the_operator() -> None:
    (receipt,) = parallel_calls.receipts(failing({"0"}, lambda: Unreadable("number")), orders(1))
    assert (receipt.outcome, receipt.reason) == ("unknown", "number")


def test_an_operator_of_which_nothing_can_be_read_fails() -> None:
    everything = {str(at) for at in range(20)}
    with pytest.raises(OperatorUnavailable):
        list(parallel_calls.receipts(failing(everything, lambda: Unreadable("number")), orders(20)))


def test_an_operator_that_does_not_answer_fails() -> None:
    with pytest.raises(OperatorUnavailable):
        list(parallel_calls.receipts(failing({"5"}, lambda: NoAnswer("timeout")), orders(300)))
