"""A declaration without an answer, then a handover: the old operator pays it or the new one, never both."""

from collections.abc import Iterator, Mapping
from uuid import UUID, uuid4

import pytest

from demo.simulators import govstack
from services.operator_bridge.register.models import MAX_UNANSWERED
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.switching.town import Operator, Town

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def vouchers() -> govstack.Simulator:
    return govstack.Simulator(govstack.Account.generate())


@pytest.fixture(scope="module")
def giver(vouchers: govstack.Simulator) -> Iterator[dict[str, str]]:
    with vouchers.running() as settings:
        yield settings | {"OPERATOR_GOVSTACK_TIMEOUT_SECONDS": "1"}


@pytest.fixture
def operator_settings(operator: Operator, giver: dict[str, str]) -> Mapping[str, str]:
    return operator.account.settings(f"http://127.0.0.1:{operator.port}") | giver


@pytest.fixture
def town(office: Office, operator: Operator, vouchers: govstack.Simulator) -> Town:
    """Ten cheques with an operator without a statement, and another to hand over to."""
    vouchers.forget()
    return settled(Town(office, operator), govstack.CODE)


def settled(town: Town, code: str) -> Town:
    town.old, town.new = town.office.contract(code, code="old"), town.office.contract(state="draft", code="new")
    town.office.affiliate(town.old)
    town.open = town.office.issue(10)
    town.office.push_all(town.old)
    return town


def lose(town: Town, vouchers: govstack.Simulator, fault: str) -> UUID:
    """Declares one redemption and hears no answer; gives the order."""
    vouchers.faults.order(fault, 1, 1.5)
    town.office.redeem(town.open[:1])
    town.office.push(town.old, 0.1)
    return unknown(town)


def unknown(town: Town) -> UUID:
    (row,) = town.office.rows("SELECT order_id FROM operator_order WHERE state = 'unknown'")
    return UUID(str(row.order_id))


def wait_for_the_lag(town: Town) -> None:
    town.office.execute("UPDATE operator_order SET sent_at = sent_at - interval '2 minutes' WHERE state = 'unknown'")


def paid_by(town: Town, vouchers: govstack.Simulator) -> tuple[int, int]:
    """How many redemptions the old operator pays, and how many the new."""
    theirs = [voucher.status for voucher in vouchers.register.vouchers.values()].count("Consumed")
    return theirs, [cheque.status for cheque in town.operator.simulator.register.cheques.values()].count("redeemed")


@pytest.mark.parametrize(("fault", "paid"), [("time_out_after_doing", (1, 0)), ("error", (0, 1))])
def test_what_became_of_a_lost_declaration_is_asked_before_it_is_declared_to_another(
    town: Town, vouchers: govstack.Simulator, fault: str, paid: tuple[int, int]
) -> None:
    lose(town, vouchers, fault)
    assert town.ask("handover").status_code == 201
    if paid == (0, 1):  # it may still be on its way
        assert not town.advance()
        assert town.watch()["step"] == "last_statement"
        wait_for_the_lag(town)
    report = town.finish()["report"]
    town.office.push_all(town.old)
    assert (report["left_to_pay"]["number"], report["declared_again"]["number"]) == paid
    assert paid_by(town, vouchers) == paid
    assert report["differences"] == 0


def test_a_stuck_declaration_is_asked_for_too(town: Town, vouchers: govstack.Simulator) -> None:
    lose(town, vouchers, "error")
    town.office.execute("UPDATE operator_order SET lost = :lost WHERE state = 'unknown'", lost=MAX_UNANSWERED)
    wait_for_the_lag(town)
    assert town.ask("handover").status_code == 201
    town.finish()
    assert paid_by(town, vouchers) == (0, 1)


@pytest.mark.parametrize("done", [True, False])
def test_while_the_operator_cannot_be_asked_the_switch_waits_for_a_persons_word(
    town: Town, vouchers: govstack.Simulator, done: bool
) -> None:
    order = lose(town, vouchers, "time_out_after_doing" if done else "error")
    wait_for_the_lag(town)
    vouchers.faults.order("unavailable", 10_000, 1)
    assert town.ask("handover").status_code == 201
    assert [town.advance() for _ in range(3)] == [False] * 3
    assert town.watch()["step"] == "last_statement"
    answer = town.office.post(f"/v1/orders/{order}/outcome", {"done": done, "note": "they told us on the telephone"})
    assert answer.status_code == 200, answer.json
    assert answer.json["vouched"][0]["note"] == "they told us on the telephone"
    vouchers.faults.clear()
    town.finish()
    assert paid_by(town, vouchers) == ((1, 0) if done else (0, 1))
    again = town.office.post(f"/v1/orders/{order}/outcome", {"done": not done, "note": "or not"})
    assert again.status_code == 409


def test_an_order_with_an_outcome_or_none_at_all_is_not_vouched_for(town: Town) -> None:
    outcome = {"done": True, "note": "surely"}
    (accepted, *_) = town.office.get("/v1/orders?state=accepted&kind=register")["items"]
    assert town.office.post(f"/v1/orders/{accepted['order_id']}/outcome", outcome).status_code == 409
    assert town.office.post(f"/v1/orders/{uuid4()}/outcome", outcome).status_code == 404


def test_a_number_that_only_the_operator_knows_is_not_vouched_for(town: Town, vouchers: govstack.Simulator) -> None:
    vouchers.faults.order("error", 1, 0)
    town.office.issue(1)
    town.office.push(town.old, 0.1)
    answer = town.office.post(f"/v1/orders/{unknown(town)}/outcome", {"done": True, "note": "surely"})
    assert answer.status_code == 409
    assert answer.json["type"].endswith("number-unknown")
