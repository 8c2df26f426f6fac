"""An operator that gives cheques numbers of its own: they are kept, used, and shown to nobody."""

import json
from collections.abc import Iterator, Mapping

import pytest

from demo.simulators import govstack
from services.operator_bridge.inbound import statement_polling
from tests.operator_bridge.conftest import Office


@pytest.fixture(scope="module")
def vouchers() -> govstack.Simulator:
    return govstack.Simulator(govstack.Account.generate())


@pytest.fixture(scope="module")
def operator_settings(vouchers: govstack.Simulator, simulated: dict[str, str]) -> Iterator[Mapping[str, str]]:
    with vouchers.running() as settings:
        yield {**simulated, **settings, "OPERATOR_GOVSTACK_TIMEOUT_SECONDS": "1"}


@pytest.fixture(autouse=True)
def _empty_books(vouchers: govstack.Simulator) -> None:
    vouchers.forget()


def test_cheques_are_registered_without_codes_and_redeemed_by_the_operators_numbers(
    office: Office, vouchers: govstack.Simulator
) -> None:
    contract = office.contract(operator=govstack.CODE)
    cheques = office.issue(30)
    office.codes.clear()
    office.push_all(contract)
    assert office.links() == {"registered": 30}
    office.redeem(cheques[:2])
    office.cancel(cheques[2:3])
    office.push_all(contract)
    assert office.orders() == {"accepted": 33}
    statuses = sorted(voucher.status for voucher in vouchers.register.vouchers.values())
    assert statuses == ["Activated"] * 27 + ["Consumed"] * 2 + ["Purged"]


@pytest.mark.slow
def test_an_answer_that_was_lost_makes_no_second_voucher(office: Office, vouchers: govstack.Simulator) -> None:
    contract = office.contract(operator=govstack.CODE)
    office.issue(3)
    vouchers.faults.order("time_out_after_doing", 1, 1.5)
    office.push(contract)
    assert office.orders()["unknown"] >= 1
    office.execute("UPDATE operator_order SET sent_at = sent_at - interval '2 minutes'")
    statement_polling.poll(office.bridge.runtime, contract)
    office.push_all(contract)
    assert office.orders() == {"accepted": 3}
    assert len(vouchers.register.vouchers) == 3


def test_a_funding_account_that_is_empty_refuses_nobody(office: Office, vouchers: govstack.Simulator) -> None:
    contract = office.contract(operator=govstack.CODE)
    cheques = office.issue()
    office.push_all(contract)
    office.redeem(cheques)
    vouchers.faults.order("no_funds", 1, 0)
    office.push(contract, seconds=0.1)
    assert office.orders("declare") == {"pending": 1}
    office.push(contract)
    assert office.orders("declare") == {"accepted": 1}


@pytest.mark.slow
def test_how_each_cheque_stands_is_asked_for_and_compared(office: Office, vouchers: govstack.Simulator) -> None:
    contract = office.contract(operator=govstack.CODE)
    cheques = office.issue(4)
    office.push_all(contract)
    office.redeem(cheques[:1])
    office.push_all(contract)
    compared = office.post(f"/v1/contracts/{contract}/comparison").json
    assert (compared["compared"], compared["count"]) == (True, 0)
    assert compared["totals"]["their_cheques"] == 4
    numbers = {row.number for row in office.rows("SELECT number FROM link WHERE cheque_id = :id", id=cheques[1])}
    vouchers.register.vouchers[int(numbers.pop().split("/")[0])].status = "Blocked"
    compared = office.post(f"/v1/contracts/{contract}/comparison").json
    assert [each["kind"] for each in compared["differences"]] == ["status_differs"]


def test_the_secret_numbers_are_shown_to_nobody(office: Office, vouchers: govstack.Simulator) -> None:
    contract = office.contract(operator=govstack.CODE)
    office.issue(2)
    office.push_all(contract)
    shown = json.dumps(
        [
            office.get("/v1/orders"),
            office.get("/v1/balances"),
            office.get("/v1/contracts"),
            office.post(f"/v1/contracts/{contract}/comparison").json,
            [dict(each) for each in office.published("cheques.registered")],
        ]
    )
    assert not [number for number in vouchers.register.numbers if str(number) in shown]
