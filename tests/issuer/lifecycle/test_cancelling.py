"""Cancelling a part of a grant: some cheques, or an amount that unspent cheques come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from services.issuer.cheques.models import Cheque
from services.issuer.lifecycle.cancelling import adding_up
from shared.values.ids import new_id
from tests.issuer.office import Office, cancelled, ids, problem, redeemed, told


@pytest.fixture
def desk(office: Office) -> Office:
    """An office with money."""
    office.envelope(100_000)
    return office


def cancel(office: Office, **what: object) -> TestResponse:
    return office.post("/v1/cancellations", {"reason": "Changement."} | what, "prescriber", office.prescriber)


def test_an_amount_is_cancelled_from_the_youngest_unspent_cheques(desk: Office) -> None:
    grant = desk.grant(amount_cents=8_000)
    desk.tell(redeemed(ids(grant)[7:]))
    asked = desk.made(cancel(desk, grant_id=grant["grant_id"], amount_cents=3_000), 202)
    assert [line["cheque_id"] for line in asked["cheques"]] == ids(grant)[4:7]
    assert {line["outcome"] for line in asked["cheques"]} == {"requested"}
    desk.tell(cancelled(asked["cancellation_id"], ids(grant)[4:7]))
    assert desk.engaged() == [5_000]
    assert desk.states(grant) == ["spendable"] * 4 + ["cancelled"] * 3 + ["redeemed"]


def test_two_who_cancel_an_amount_do_not_take_the_same_cheques(desk: Office) -> None:
    grant = desk.grant()
    for left in (3_000, 1_000):
        desk.made(cancel(desk, grant_id=grant["grant_id"], amount_cents=2_000), 202)
        answer = cancel(desk, grant_id=grant["grant_id"], amount_cents=4_000)
        assert problem(answer) == (409, "amount-not-divisible")
        assert told(answer)["available_cents"] == left
    asked = [cheque_id for told in desk.events("cancellation.requested") for cheque_id in told["cheque_ids"]]
    assert len(set(asked)) == len(asked) == 4


def test_an_amount_that_no_cheques_come_to_is_refused_with_what_is_left(desk: Office) -> None:
    grant = desk.grant()
    answer = cancel(desk, grant_id=grant["grant_id"], amount_cents=1_500)
    assert problem(answer) == (409, "amount-not-divisible")
    assert (told(answer)["available_cents"], told(answer)["values_cents"]) == (5_000, [1_000])
    assert desk.events("cancellation.requested") == []


def test_an_amount_is_of_a_grant(desk: Office) -> None:
    grant = desk.grant()
    assert problem(cancel(desk, cheque_ids=ids(grant), amount_cents=1_000)) == (422, "invalid")
    assert problem(cancel(desk, amount_cents=1_000)) == (422, "invalid")
    other = desk.prescriber_named("other")
    body = {"grant_id": grant["grant_id"], "amount_cents": 1_000, "reason": "?"}
    assert problem(desk.post("/v1/cancellations", body, "prescriber", other)) == (404, "not-found")


@given(st.lists(st.integers(1, 40), max_size=7), st.integers(1, 120))
def test_cheques_that_come_to_an_amount_are_found_if_there_are_any(values: list[int], amount: int) -> None:
    cheques = [Cheque(id=new_id(), value_cents=value) for value in values]
    worth = {cheque.id: cheque.value_cents for cheque in cheques}
    chosen = adding_up(cheques, amount)
    sums = {0}
    for value in values:
        sums |= {sum_ + value for sum_ in sums}
    assert (chosen is not None) == (amount in sums)
    if chosen is not None:
        assert sum(worth[cheque_id] for cheque_id in chosen) == amount
        assert len(set(chosen)) == len(chosen)
