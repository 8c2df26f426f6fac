"""What every operator's adapter has to do, whoever the operator is."""

import importlib
import inspect
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice

import pytest

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.interface import (
    KINDS,
    BadSignature,
    ChequeStatus,
    NoAnswer,
    OperatorRefused,
    OperatorUnavailable,
    Paid,
    Period,
    Receipt,
    Redeemed,
    UnknownKind,
    Unreadable,
)
from shared.settings.settings import ConfigurationError
from shared.values import clock
from tests.contract.conftest import CONTRACT, Case, GivesTokens

Message = tuple[dict[str, str], bytes]


def test_it_says_what_it_can_do(case: Case) -> None:
    assert case.operator.supported_orders <= set(KINDS)
    assert {"register", "declare"} <= case.operator.supported_orders
    assert case.operator.batch_size >= 1
    assert case.operator.rate > 0
    assert case.operator.name


def test_it_is_small_and_stands_on_the_port_alone(case: Case) -> None:
    module = importlib.import_module(type(case.operator).__module__)
    source = inspect.getsource(module)
    assert module.__doc__
    assert len(source.splitlines()) <= 130
    for foreign in ("sqlalchemy", "models", "flask", "celery", "shared.eventlog.log"):
        assert f"import {foreign}" not in source
        assert f"from {foreign}" not in source


def test_a_missing_setting_is_named(case: Case) -> None:
    for name in case.operator.required:
        setting = f"OPERATOR_{case.code.upper()}_{name}"
        given = {key: value for key, value in case.settings.items() if key != setting}
        with pytest.raises(ConfigurationError, match=setting):
            lookup.connect(case.code, given)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_order_that_it_takes_is_accepted(case: Case, kind: str) -> None:
    case.needs(kind in case.operator.supported_orders, f"takes no {kind}")
    registered, affiliated = case.register(), case.affiliate()
    assert set(case.outcomes(affiliated, registered)) == {"accepted"}
    if kind in ("register", "affiliate"):
        return
    before = {"reverse": "declare", "unblock": "block"}.get(kind)
    first = case.about(before, registered) if before else None
    if first:
        assert case.outcomes(first) == ["accepted"]
    order = case.about(kind, registered, redemption=first.reference if first and kind == "reverse" else None)
    (receipt,) = case.push(order)
    assert (receipt.reference, receipt.outcome) == (order.reference, "accepted")


def test_a_refused_order_has_its_reason(case: Case) -> None:
    order = case.register()
    case.books.faults.order("refuse", 1, 0)
    (receipt,) = case.push(order)
    assert receipt.outcome == "refused"
    assert receipt.reason


def test_one_refused_order_does_not_spoil_the_others(case: Case) -> None:
    case.books.forget()
    good, bad = case.register(), case.about("declare", case.register())
    receipts = {receipt.reference: receipt.outcome for receipt in case.push(bad, good)}
    assert receipts == {good.reference: "accepted", bad.reference: "refused"}


def test_the_same_order_again_is_a_success_and_is_done_once(case: Case) -> None:
    order = case.register()
    assert case.outcomes(order) == ["accepted"]
    assert case.outcomes(order) == ["accepted"]
    if case.operator.has_statement:
        assert case.standing(order).status == "registered"


def test_a_refused_order_again_is_still_refused(case: Case) -> None:
    order = case.register()
    case.books.faults.order("refuse", 1, 0)
    assert case.outcomes(order) == ["refused"]
    assert case.outcomes(order) == ["refused"]


def test_a_cheque_is_declared_once_whatever_the_reference(case: Case) -> None:
    case.needs(case.operator.has_statement or case.operator.by_status, "holds no books")
    registered = case.register()
    case.push(case.affiliate(), registered)
    first, second = case.about("declare", registered), case.about("declare", registered)
    assert case.outcomes(first) == ["accepted"]
    assert case.outcomes(second) == ["refused"]


def test_a_lost_answer_is_no_refusal_and_asking_again_does_it_once(case: Case) -> None:
    order = case.register()
    case.books.faults.order("time_out_after_doing", 1, 1.5)
    assert case.leaves_unknown(order)
    assert case.outcomes(order) == ["accepted"]
    assert case.standing(order).value_cents == 1000


def test_an_answer_without_sense_is_no_refusal(case: Case) -> None:
    for fault in ("error", "malformed_body"):
        case.books.faults.order(fault, 1, 0)
        assert case.leaves_unknown(case.register())


def test_an_operator_that_is_not_there_did_nothing(case: Case) -> None:
    order = case.register()
    case.books.faults.order("unavailable", 1, 7)
    with pytest.raises(OperatorUnavailable) as caught:
        case.push(order)
    assert caught.value.retry_after == (7 if case.answers_at_once else None)
    assert case.lines() == []


def test_an_address_where_nobody_listens_is_unavailable(case: Case) -> None:
    name = f"OPERATOR_{case.code.upper()}_URL"
    case.needs(name in case.settings, "has no address")
    nowhere = lookup.connect(case.code, {**case.settings, name: "http://127.0.0.1:9"})
    with pytest.raises(OperatorUnavailable):
        list(nowhere.push([case.register()]))


def test_an_expired_token_is_renewed(case: Case) -> None:
    assert case.outcomes(case.register()) == ["accepted"]
    if not isinstance(case.books, GivesTokens):
        pytest.skip("it gives no tokens")
    case.books.expire_tokens()
    assert case.outcomes(case.register()) == ["accepted"]


def test_a_whole_batch_is_taken_at_once(case: Case) -> None:
    orders = [case.register() for _ in range(case.operator.batch_size)]
    assert case.outcomes(*orders) == ["accepted"] * len(orders)


def test_more_than_a_batch_is_refused_whole_or_taken_whole(case: Case) -> None:
    orders = [case.register() for _ in range(case.operator.batch_size + 1)]
    try:
        assert case.outcomes(*orders) == ["accepted"] * len(orders)
    except OperatorRefused:
        assert case.lines() == []


def test_the_statement_has_each_order_with_its_outcome(case: Case) -> None:
    case.needs(case.operator.has_statement, "holds no statement")
    accepted, refused = case.register(), case.about("declare", case.register())
    case.push(accepted, refused)
    outcomes = {line.reference: line.outcome for line in case.lines() if isinstance(line, Receipt)}
    assert outcomes.items() >= {accepted.reference: "accepted", refused.reference: "refused"}.items()


def test_the_statement_has_each_cheque_as_it_stands(case: Case) -> None:
    case.needs(case.operator.has_statement or case.operator.by_status, "holds no statement")
    kinds = {None: "registered", "declare": "redeemed", "cancel": "cancelled", "block": "blocked"}
    able = {kind: case.register() for kind in kinds if kind is None or kind in case.operator.supported_orders}
    case.push(case.affiliate(), *able.values())
    case.push(*(case.about(kind, order) for kind, order in able.items() if kind))
    assert {kind: case.standing(order).status for kind, order in able.items()} == {kind: kinds[kind] for kind in able}
    assert case.standing(able["declare"]).redeemed_cents == 1000


def test_the_statement_begins_where_it_is_asked_to(case: Case) -> None:
    case.needs(case.operator.has_statement, "holds no statement")
    earlier, later = case.register(), case.register()
    case.push(earlier)
    between = datetime.now(UTC)
    case.push(later)
    lines = list(case.operator.fetch(Period(CONTRACT, between)))
    receipts = {line.reference for line in lines if isinstance(line, Receipt)}
    assert later.reference in receipts
    assert earlier.reference not in receipts


def test_the_statement_is_streamed(case: Case) -> None:
    case.needs(case.operator.has_statement, "holds no statement")
    for _ in range(4):
        case.push(*(case.register() for _ in range(case.operator.batch_size)))
    lines = case.stream()
    assert isinstance(lines, Iterator)
    assert len(list(islice(lines, 10))) == 10
    assert sum(1 for line in lines if isinstance(line, ChequeStatus)) == 4 * case.operator.batch_size


def test_a_statement_that_cannot_be_had_is_told(case: Case) -> None:
    case.needs(case.operator.has_statement, "holds no statement")
    case.push(case.register())
    case.books.faults.order("error", 1, 0)
    with pytest.raises((NoAnswer, OperatorUnavailable, Unreadable)):
        case.lines()


def test_a_redemption_at_its_own_till_is_told_with_a_reference(case: Case) -> None:
    registered, (headers, body) = case.at_till()
    (event,) = case.operator.parse(headers, body)
    assert isinstance(event, Redeemed)
    assert (event.cheque_id, event.structure_id) == (registered.cheque_id, case.structure)
    assert event.amount_cents == 1000
    assert event.redeemed_at.tzinfo
    assert event.reference


def test_a_redemption_at_its_own_till_and_its_payment_are_on_the_statement(case: Case) -> None:
    case.needs(case.operator.own_till, "has no till")
    registered = case.register()
    case.push(case.affiliate(), registered)
    case.books.redeem_at_till(str(case.structure), registered.code, None)
    (redeemed,) = [line for line in case.lines() if isinstance(line, Redeemed)]
    assert (redeemed.cheque_id, redeemed.structure_id) == (registered.cheque_id, case.structure)
    case.books.pay()
    (payment,) = [line for line in case.lines() if isinstance(line, Paid)]
    assert list(payment.redemptions) == [redeemed.reference]


def test_message_and_statement_say_the_same(case: Case) -> None:
    _, (headers, body) = case.at_till()
    assert case.operator.parse(headers, body) == [line for line in case.lines() if isinstance(line, Redeemed)]


def test_a_payment_names_what_it_pays(case: Case) -> None:
    registered, (headers, body) = case.at_till()
    declared = case.register()
    declaration = case.about("declare", declared)
    case.push(declared)
    case.push(declaration)
    (redeemed,) = case.operator.parse(headers, body)
    case.books.pay()
    (payment,) = case.operator.parse(*case.message())
    assert isinstance(payment, Paid)
    assert isinstance(redeemed, Redeemed)
    assert set(payment.redemptions) == {redeemed.reference, declaration.reference}
    assert payment.payment_reference
    assert registered.reference not in payment.redemptions


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda headers, body: (headers, body + b"\n"),
        lambda headers, body: (headers, body.replace(b"1000", b"9000")),
        lambda headers, body: ({}, body),
        lambda headers, body: ({**_lower(headers), "webhook-timestamp": "1614265330"}, body),
        lambda headers, body: ({**_lower(headers), "webhook-timestamp": "never"}, body),
        lambda headers, body: ({**_lower(headers), "webhook-signature": "v1,é"}, body),
        lambda headers, body: ({**_lower(headers), "webhook-signature": "v1"}, body),
        lambda headers, body: ({**_lower(headers), "webhook-id": "another"}, body),
        lambda headers, body: (headers, b"\xff" + body),
    ],
)
def test_a_message_that_was_touched_is_not_believed(case: Case, spoil: Callable[..., Message]) -> None:
    _, message = case.at_till()
    with pytest.raises(BadSignature):
        case.operator.parse(*spoil(*message))


def test_a_message_is_believed_however_the_headers_are_written(case: Case) -> None:
    _, (headers, body) = case.at_till()
    assert case.operator.parse(_lower(headers), body) == case.operator.parse(headers, body)
    assert case.operator.verify(headers, body) == _lower(headers)["webhook-id"]


def test_members_that_nobody_knows_are_passed_over(case: Case) -> None:
    _, (_, body) = case.at_till()
    assert case.operator.read(body.replace(b'"amount_cents"', b'"a_novelty": 1, "amount_cents"')) == case.operator.read(
        body
    )


@pytest.mark.parametrize("spoilt", [b"", b"[]", b"{", b"\xff", b"null", b'{"type": 3}', b'{"data": {}}'])
def test_a_message_that_makes_no_sense_is_unreadable(case: Case, spoilt: bytes) -> None:
    with pytest.raises(Unreadable):
        case.operator.read(spoilt)


def test_a_message_that_lacks_something_says_what(case: Case) -> None:
    _, (_, body) = case.at_till()
    with pytest.raises(Unreadable, match="amount_cents"):
        case.operator.read(body.replace(b'"amount_cents"', b'"amount"'))


def test_a_kind_of_message_that_nobody_knows_is_named_and_never_taken_for_nothing(case: Case) -> None:
    case.needs(case.sends_messages, "sends no messages")
    with pytest.raises(UnknownKind, match=r"^payment\.returned: "):
        case.operator.read(b'{"type": "payment.returned", "data": {}}')


@pytest.mark.parametrize("kind", ["7K3M-2Q9P-XW4T-8HJN-C", "two words", "x" * 200, "é\n"])
def test_a_kind_that_is_no_plain_word_is_not_repeated(case: Case, kind: str) -> None:
    case.needs(case.sends_messages, "sends no messages")
    with pytest.raises(UnknownKind) as caught:
        case.operator.read(json.dumps({"type": kind, "data": {}}).encode())
    assert kind not in str(caught.value)


def test_nothing_secret_is_shown_or_logged(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    order = case.register()
    case.push(order)
    case.push(order)
    secrets = [value for name, value in case.settings.items() if "SECRET" in name or "KEY" in name]
    shown = f"{caplog.text} {order!r} {case.operator!r}"
    for secret in [*secrets, *filter(None, [order.code])]:
        assert secret not in shown


def test_what_cannot_be_sent_shows_no_code(case: Case) -> None:
    case.needs(case.operator.needs_codes, "is told no code")
    order = case.register(valid_until=clock.today())
    case.books.faults.order("unavailable", 1, 7)
    with pytest.raises(OperatorUnavailable) as caught:
        case.push(order)
    assert str(order.code) not in f"{caught.value!r} {caught.value.__cause__!r}"
