"""What every operator's adapter makes of trouble: no fault is taken for a refusal, and nothing is done twice."""

import importlib
from collections import Counter

import pytest

from demo.simulators.faults import CALLS, FILES, MESSAGES, STATEMENTS, Faults
from services.operator_bridge.interface import (
    BadSignature,
    ChequeStatus,
    NoAnswer,
    OperatorUnavailable,
    Order,
    Paid,
    Period,
    Receipt,
    Redeemed,
    Unreadable,
)
from tests.contract.conftest import CONTRACT, Case

# Longer than the suite's adapters wait for an answer.
_TOO_LONG = 1.5
_DISTURBED = sorted({*CALLS, *FILES} - {"refuse", "die"})


@pytest.mark.parametrize("fault", _DISTURBED)
def test_whatever_went_wrong_it_is_done_once_when_it_is_sent_again(case: Case, fault: str) -> None:
    orders = [case.register() for _ in range(4)]
    case.trouble(fault, 1, _TOO_LONG if fault == "time_out_after_doing" else 0)
    assert set(case.under_trouble(*orders).values()) <= {"accepted", "unknown"}
    case.books.faults.clear()
    assert case.outcomes(*orders) == ["accepted"] * 4
    found = Counter(line.cheque_id for line in case.lines() if isinstance(line, ChequeStatus))
    assert found == Counter(order.cheque_id for order in orders)


@pytest.mark.parametrize("fault", ["unavailable", "too_many"])
def test_an_operator_that_asks_for_patience_is_understood(case: Case, fault: str) -> None:
    case.trouble(fault, 1, 9)
    with pytest.raises(OperatorUnavailable) as caught:
        case.push(case.register())
    assert caught.value.retry_after in (9, None)
    case.books.faults.clear()
    assert case.lines() == []


def test_a_slow_answer_is_waited_for(case: Case) -> None:
    case.needs(case.answers_at_once, "is not waited for")
    case.trouble("slow", 1, 0.3)
    assert case.outcomes(case.register()) == ["accepted"]


@pytest.mark.parametrize("fault", ["cut", "malformed_body"])
def test_an_answer_that_cannot_be_read_is_no_refusal_of_what_was_done(case: Case, fault: str) -> None:
    order = case.register()
    case.trouble(fault)
    assert case.leaves_unknown(order)
    case.books.faults.clear()
    assert case.outcomes(order) == ["accepted"]


def test_outcomes_in_any_order_are_of_the_orders_that_they_name(case: Case) -> None:
    good, bad, last = case.register(), case.about("declare", case.register()), case.register()
    case.trouble("out_of_order")
    said = {receipt.reference: receipt.outcome for receipt in case.push(good, bad, last)}
    assert said in (
        {good.reference: "accepted", bad.reference: "refused", last.reference: "accepted"},
        dict.fromkeys((good.reference, bad.reference, last.reference), "unknown"),
    )


def test_what_an_answer_leaves_out_has_no_receipt_or_an_unknown_one(case: Case) -> None:
    orders = [case.register() for _ in range(4)]
    case.trouble("half_an_answer")
    said = Counter(receipt.outcome for receipt in case.push(*orders))
    assert set(said) <= {"accepted", "unknown"}
    assert said["accepted"] <= 2


def test_a_token_that_is_never_good_is_an_operator_that_is_not_there(case: Case) -> None:
    case.trouble("expired_token", 2)
    with pytest.raises(OperatorUnavailable):
        case.push(case.register())


def test_an_operator_that_dies_in_the_middle_of_a_batch_is_never_a_refusal(case: Case) -> None:
    orders = [case.register() for _ in range(10)]
    case.trouble("die")
    assert set(case.under_trouble(*orders).values()) <= {"accepted", "unknown"}
    case.time_passes()
    for _ in range(2):
        with pytest.raises((OperatorUnavailable, NoAnswer)):
            case.push(*orders)
    if case.operator.has_statement:
        with pytest.raises((OperatorUnavailable, NoAnswer)):
            case.lines()


def test_an_outcome_that_was_not_heard_is_told_when_it_is_asked_for(case: Case) -> None:
    case.needs(case.operator.has_statement, "holds no statement")
    done, refused, never_sent = case.register(), case.about("declare", case.register()), case.register()
    case.outcomes(done, refused)
    unsettled = [done, never_sent, refused, case.register()]
    lines = list(case.operator.fetch(Period(CONTRACT, unsettled=unsettled)))
    asked = {order.reference for order in unsettled}
    told = {line.reference: line.outcome for line in lines if isinstance(line, Receipt) and line.reference in asked}
    assert told == {done.reference: "accepted", refused.reference: "refused"}


def test_a_message_that_came_twice_says_the_same_twice(case: Case) -> None:
    case.trouble("repeat_webhooks")
    _, first = case.at_till()
    second = case.message()
    assert case.operator.verify(*first) != case.operator.verify(*second)
    assert case.operator.parse(*first) == case.operator.parse(*second)


def test_messages_that_come_in_another_order_are_each_understood(case: Case) -> None:
    case.needs(case.operator.own_till, "has no till")
    registered = case.register()
    case.outcomes(case.affiliate(), registered)
    case.trouble("disorder_webhooks")
    case.books.redeem_at_till(str(case.structure), registered.code, None)
    case.books.pay()
    (payment,), (redeemed,) = case.operator.parse(*case.message()), case.operator.parse(*case.message())
    assert isinstance(payment, Paid)
    assert isinstance(redeemed, Redeemed)
    assert list(payment.redemptions) == [redeemed.reference]


def test_a_late_message_is_understood(case: Case) -> None:
    case.trouble("late_webhooks", 1, 0.3)
    _, message = case.at_till()
    assert isinstance(case.operator.parse(*message)[0], Redeemed)


def test_a_message_signed_with_the_key_that_is_being_replaced_is_believed(case: Case) -> None:
    case.trouble("old_key")
    _, old = case.at_till()
    _, new = case.at_till()
    assert old[0].keys() == new[0].keys()
    assert [type(case.operator.parse(*message)[0]) for message in (old, new)] == [Redeemed, Redeemed]


def test_a_wrongly_signed_message_is_not_believed_and_comes_again(case: Case) -> None:
    case.trouble("bad_signature")
    _, message = case.at_till()
    with pytest.raises(BadSignature):
        case.operator.parse(*message)


def test_a_signed_message_without_sense_is_unreadable_and_known_by_its_id(case: Case) -> None:
    case.trouble("malformed_webhooks")
    _, message = case.at_till()
    assert case.operator.verify(*message)
    with pytest.raises(Unreadable):
        case.operator.parse(*message)


def standings(case: Case, fault: str) -> tuple[list[Order], list[ChequeStatus]]:
    """Three registered cheques, and how they stand on a statement with a fault."""
    orders = [case.register() for _ in range(3)]
    assert case.outcomes(*orders) == ["accepted"] * 3
    case.trouble(fault)
    return orders, [line for line in case.lines() if isinstance(line, ChequeStatus)]


def test_a_wrong_amount_is_told_as_the_operator_gives_it(case: Case) -> None:
    orders, found = standings(case, "wrong_amounts")
    assert sorted(line.value_cents for line in found) == [1000, 1000, 1001]
    assert {line.cheque_id for line in found} == {order.cheque_id for order in orders}


def test_a_line_that_is_there_twice_does_not_end_the_statement(case: Case) -> None:
    orders, found = standings(case, "duplicate_lines")
    assert {line.cheque_id for line in found} == {order.cheque_id for order in orders}


def test_a_cheque_that_is_missing_does_not_hide_the_others(case: Case) -> None:
    orders, found = standings(case, "missing_lines")
    assert len(found) == 2
    assert {line.cheque_id for line in found} < {order.cheque_id for order in orders}


def test_a_cheque_that_nobody_knows_is_told(case: Case) -> None:
    orders, found = standings(case, "unknown_lines")
    strangers = {line.cheque_id for line in found} - {order.cheque_id for order in orders}
    assert len(strangers) == 1


def test_a_line_without_sense_ends_the_statement_with_a_clear_error(case: Case) -> None:
    assert case.outcomes(case.register()) == ["accepted"]
    case.trouble("malformed_statement")
    with pytest.raises(Unreadable, match=r"\w+: "):
        case.lines()
    assert case.lines()


def test_what_happened_may_be_missing_from_a_statement_and_is_there_on_the_next(case: Case) -> None:
    registered = case.register()
    case.push(case.affiliate(), registered)
    order = case.about("declare", registered)
    assert case.outcomes(order) == ["accepted"]

    def told() -> bool:
        lines = case.operator.fetch(Period(CONTRACT, unsettled=[order] if case.operator.by_status else ()))
        return order.reference in [line.reference for line in lines if isinstance(line, Receipt)]

    case.trouble("missing_outcomes", 3)
    assert not told()
    case.books.faults.clear()
    assert told()


def test_acknowledgements_that_come_twice_or_late_say_the_same(case: Case) -> None:
    first, second = case.register(), case.about("declare", case.register())
    case.trouble("disorder_files")
    assert case.outcomes(first) == ["unknown"]
    case.trouble("repeat_files")
    assert case.outcomes(second) == ["refused"]
    said = [line for line in case.heard() if isinstance(line, Receipt)]
    assert Counter(line.reference for line in said) == {first.reference: 1, second.reference: 2}
    assert {line.reference: line.outcome for line in said} == {
        first.reference: "accepted", second.reference: "refused",
    }  # fmt: skip


def test_an_old_statement_given_again_tells_nothing_new_and_the_next_is_right(case: Case) -> None:
    case.trouble("old_statement", 0)
    registered = case.register()
    case.push(case.affiliate(), registered)
    case.books.redeem_at_till(str(case.structure), registered.code, None)
    before = [line for line in case.lines() if not isinstance(line, ChequeStatus)]
    later = case.register()
    assert case.outcomes(later) == ["accepted"]
    case.trouble("old_statement")
    again = [line for line in case.lines() if isinstance(line, Redeemed | Paid)]
    assert set(again) == {line for line in before if isinstance(line, Redeemed | Paid)}
    assert case.standing(later).status == "registered"


def test_each_fault_can_happen_or_it_is_said_why_not(case: Case) -> None:
    module = importlib.import_module(type(case.books).__module__)
    every = {*CALLS, *MESSAGES, *STATEMENTS, *FILES}
    assert every - set(module.FAULTS) == set(module.WITHOUT)
    assert set(case.books.faults.names) == set(module.FAULTS)
    assert all(module.WITHOUT.values())


def test_every_fault_has_one_name_and_says_what_it_does() -> None:
    names = [*CALLS, *MESSAGES, *STATEMENTS, *FILES]
    assert len(names) == len(set(names))
    faults = Faults(names)
    faults.order("slow", 2, 0.5)
    assert [faults.happens("slow") for _ in range(3)] == [True, True, False]
    assert not faults.happens("of another operator")
    with pytest.raises(KeyError):
        faults.order("of another operator", 1, 0)
