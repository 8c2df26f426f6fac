"""The voucher API: what each of its status codes means, and what its numbers are."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from demo.simulators.govstack import Account, Simulator
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.interface import (
    ChequeStatus,
    NumberedCheque,
    Operator,
    OperatorUnavailable,
    Order,
    Period,
    Receipt,
)
from shared.values.ids import new_id


@pytest.fixture(scope="module")
def settings(simulator: Simulator) -> Iterator[dict[str, str]]:
    with simulator.running() as settings:
        yield settings


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(Account.generate())


@pytest.fixture
def operator(settings: dict[str, str], simulator: Simulator) -> Operator:
    simulator.forget()
    return lookup.connect("govstack", settings)


def order(kind: str = "register", number: str | None = None) -> Order:
    return Order(str(new_id()), kind, "contract", new_id(), number, amount_cents=1000, structure_id=new_id())


def push(operator: Operator, *orders: Order) -> list[Receipt]:
    return list(operator.push(orders))


def registered(operator: Operator) -> str:
    (receipt,) = push(operator, order())
    assert receipt.number
    return receipt.number


def standing(operator: Operator, number: str) -> ChequeStatus | None:
    lines = list(operator.fetch(Period("contract", cheques=[NumberedCheque(new_id(), number, 1000)])))
    assert len(lines) <= 1
    return lines[0] if lines and isinstance(lines[0], ChequeStatus) else None


def test_the_operator_supplies_both_numbers_and_our_code_is_never_told(
    operator: Operator, simulator: Simulator
) -> None:
    given = order()
    (receipt,) = push(operator, given)
    (voucher,) = simulator.register.vouchers.values()
    assert receipt.number == f"{voucher.serial}/{voucher.number}"
    assert (voucher.amount, voucher.status) == ("10.00", "Activated")
    assert str(voucher.number) not in repr(receipt)
    assert not operator.needs_codes
    assert operator.supplies_codes


def test_a_voucher_is_redeemed_by_its_secret_number_and_credited_to_the_structure(
    operator: Operator, simulator: Simulator
) -> None:
    number = registered(operator)
    declared = order("declare", number)
    assert [receipt.outcome for receipt in push(operator, declared, declared)] == ["accepted", "accepted"]
    (voucher,) = simulator.register.vouchers.values()
    assert (voucher.status, voucher.merchant) == ("Consumed", str(declared.structure_id))


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [("refuse", "register", "invalid-amount"), ("cannot_credit", "declare", "voucher-or-merchant-not-valid")],
)
def test_a_status_that_concerns_one_order_refuses_it_alone(
    operator: Operator, simulator: Simulator, fault: str, kind: str, reason: str
) -> None:
    numbers = [registered(operator) for _ in range(2)]
    simulator.faults.order(fault, 1, 0)
    receipts = push(operator, *(order(kind, number) for number in numbers))
    assert {(receipt.outcome, receipt.reason) for receipt in receipts} == {("refused", reason), ("accepted", None)}


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("group_exhausted", "register", "voucher group exhausted"),
        ("unknown_block", "register", "building block unknown"),
        ("no_funds", "declare", "funding account empty"),
        ("unknown_block", "cancel", "building block unknown"),
    ],
)
def test_a_status_that_concerns_all_orders_has_them_wait_and_be_done_later(
    operator: Operator, simulator: Simulator, fault: str, kind: str, reason: str
) -> None:
    given = order(kind, registered(operator))
    simulator.faults.order(fault, 1, 0)
    with pytest.raises(OperatorUnavailable, match=reason):
        push(operator, given)
    assert [receipt.outcome for receipt in push(operator, given)] == ["accepted"]


@pytest.mark.parametrize("fault", ["error", "network_timeout"])
def test_a_failure_of_theirs_leaves_it_unknown(operator: Operator, simulator: Simulator, fault: str) -> None:
    simulator.faults.order(fault, 1, 0)
    receipts = iter(operator.push([order()]))
    assert next(receipts).outcome == "unknown"
    with pytest.raises(OperatorUnavailable, match="HTTP 5"):
        next(receipts)


def test_a_wrong_group_or_key_is_no_refusal_of_any_cheque(settings: dict[str, str]) -> None:
    for name in ("VOUCHER_GROUP", "API_KEY", "BUILDING_BLOCK"):
        wrong = lookup.connect("govstack", {**settings, f"OPERATOR_GOVSTACK_{name}": "another"})
        with pytest.raises(OperatorUnavailable):
            push(wrong, order())


@pytest.mark.parametrize(
    ("kind", "status", "redeemed"), [(None, "registered", 0), ("declare", "redeemed", 1000), ("cancel", "cancelled", 0)]
)
def test_each_standing_is_asked_for(operator: Operator, kind: str | None, status: str, redeemed: int) -> None:
    number = registered(operator)
    if kind:
        push(operator, order(kind, number))
    found = standing(operator, number)
    assert found
    assert (found.status, found.value_cents, found.redeemed_cents) == (status, 1000, redeemed)


def test_what_the_operator_does_not_know_has_no_standing(operator: Operator) -> None:
    assert standing(operator, "1000000000009999/1") is None
    assert standing(operator, "nothing/1") is None


@pytest.mark.parametrize(
    ("status", "known"), [("Suspended", "blocked"), ("Blocked", "blocked"), ("Not Existing", None)]
)
def test_statuses_that_we_do_not_cause_are_understood(
    operator: Operator, simulator: Simulator, status: str, known: str | None
) -> None:
    number = registered(operator)
    (voucher,) = simulator.register.vouchers.values()
    voucher.status = status
    found = standing(operator, number)
    assert (found.status if found else None) == known


def test_cancelling_again_under_another_reference_is_a_success(operator: Operator) -> None:
    number = registered(operator)
    receipts = [*push(operator, order("cancel", number)), *push(operator, order("cancel", number))]
    assert [receipt.outcome for receipt in receipts] == ["accepted", "accepted"]


def test_a_used_voucher_is_neither_redeemed_nor_cancelled_again(operator: Operator) -> None:
    number = registered(operator)
    receipts = [push(operator, order(kind, number))[0] for kind in ("declare", "declare", "cancel")]
    assert [(receipt.outcome, receipt.reason) for receipt in receipts] == [
        ("accepted", None),
        ("refused", "invalid-voucher-number"),
        ("refused", "voucher-or-merchant-not-valid"),
    ]


@pytest.mark.parametrize("number", ["1234567890123456/0012345678901234", "1234567890123456/9999999999999999999", "1/x"])
def test_a_number_that_no_integer_carries_is_not_sent_and_holds_up_no_other(operator: Operator, number: str) -> None:
    good = [order() for _ in range(9)]
    *others, receipt = push(operator, *good, order("declare", number))
    assert [other.outcome for other in others] == ["accepted"] * 9
    assert receipt.outcome == "unknown"
    assert "int64" in str(receipt.reason)


def test_orders_are_sent_side_by_side(operator: Operator, simulator: Simulator) -> None:
    orders = [order() for _ in range(24)]
    simulator.faults.order("slow", 48, 0.2)
    began = time.monotonic()
    assert {receipt.outcome for receipt in push(operator, *orders)} == {"accepted"}
    assert time.monotonic() - began < 48 * 0.2 / 2
    assert len(simulator.register.vouchers) == 24


def test_what_is_under_way_when_one_fails_has_its_receipt_and_the_rest_was_not_begun(
    operator: Operator, simulator: Simulator
) -> None:
    orders = [order() for _ in range(60)]
    simulator.faults.order("error", 1, 0)
    receipts: list[Receipt] = []
    with pytest.raises(OperatorUnavailable, match="HTTP 500"):
        receipts.extend(operator.push(orders))
    outcomes = Counter(receipt.outcome for receipt in receipts)
    assert outcomes["unknown"] == 1
    assert outcomes["accepted"] == len(simulator.register.vouchers) < 60


def test_what_became_of_an_order_is_told_by_the_voucher(operator: Operator) -> None:
    used, purged, untouched, never = (
        order(kind, registered(operator)) for kind in ("declare", "cancel", "declare", "cancel")
    )
    push(operator, used, purged)
    asked = [used, purged, untouched, never, order()]
    assert list(operator.fetch(Period("contract", unsettled=asked))) == [
        Receipt(used.reference, "accepted"),
        Receipt(purged.reference, "accepted"),
    ]
