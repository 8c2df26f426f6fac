"""An operator that answers by files, and lets a cheque be spent once it knows the payment order."""

import shutil
from collections.abc import Iterator, Mapping
from uuid import UUID

import pytest

from demo.simulators import aptic
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.switching import switchover
from tests.operator_bridge.conftest import Office


@pytest.fixture(scope="module")
def folder() -> Iterator[aptic.Simulator]:
    simulator = aptic.Simulator(aptic.Account.generate())
    yield simulator
    shutil.rmtree(simulator.account.folder)


@pytest.fixture(scope="module")
def operator_settings(folder: aptic.Simulator, simulated: dict[str, str]) -> Mapping[str, str]:
    return {**simulated, **folder.account.settings()}


@pytest.fixture
def contract(office: Office, folder: aptic.Simulator) -> Iterator[UUID]:
    folder.forget()
    yield office.contract(operator=aptic.CODE)
    folder.faults.clear()


def exchange(office: Office, folder: aptic.Simulator, contract: UUID) -> None:
    """Drops files, has them worked off and reads what came back, until nothing moves any more."""
    while office.push(contract):
        folder.work_off()
        statement_polling.poll(office.bridge.runtime, contract)


def activate(office: Office, contract: UUID, **body: object) -> int:
    answer = office.post(f"/v1/contracts/{contract}/activations", {"payment_order": "2026-001234", **body})
    assert answer.status_code == 201, answer.json
    ordered: int = answer.json["ordered"]
    return ordered


def test_a_cheque_is_registered_once_it_is_activated(office: Office, folder: aptic.Simulator, contract: UUID) -> None:
    office.issue(3)
    exchange(office, folder, contract)
    assert office.orders("register") == {"accepted": 3}
    assert office.links() == {"wanted": 3}
    assert office.published("cheques.registered") == []
    assert activate(office, contract) == 3
    assert activate(office, contract) == 0
    exchange(office, folder, contract)
    assert office.links() == {"registered": 3}
    assert set(folder.register.active.values()) == {"2026-001234"}
    assert sum(len(event["cheque_ids"]) for event in office.published("cheques.registered")) == 3
    assert activate(office, contract) == 0


def test_a_payment_order_may_pay_for_some_cheques_alone(
    office: Office, folder: aptic.Simulator, contract: UUID
) -> None:
    first, _ = office.issue(2)
    assert activate(office, contract, cheque_ids=[str(first)]) == 1
    exchange(office, folder, contract)
    assert office.links() == {"registered": 1, "wanted": 1}


@pytest.mark.slow
def test_a_redemption_waits_for_the_activation_and_not_the_other_way_round(
    office: Office, folder: aptic.Simulator, contract: UUID
) -> None:
    office.affiliate(contract)
    cheques = office.issue()
    office.redeem(cheques)
    exchange(office, folder, contract)
    assert office.orders("declare") == {"pending": 1}
    activate(office, contract)
    exchange(office, folder, contract)
    assert office.orders("declare") == {"accepted": 1}
    assert len(office.published("redemptions.confirmed")) == 1


def test_an_answer_that_comes_a_day_later_settles_what_was_dropped(
    office: Office, folder: aptic.Simulator, contract: UUID
) -> None:
    office.issue(2)
    office.push(contract)
    statement_polling.poll(office.bridge.runtime, contract)
    assert office.orders() == {"unknown": 2}
    folder.work_off()
    office.execute("UPDATE contract SET polled_at = now() + interval '20 hours'")
    assert statement_polling.poll(office.bridge.runtime, contract).settled == 2


def test_a_file_that_was_lost_is_dropped_again_and_worked_off_once(
    office: Office, folder: aptic.Simulator, contract: UUID
) -> None:
    office.issue(2)
    folder.faults.order("time_out_after_doing", 1, 0)
    exchange(office, folder, contract)
    assert office.orders() == {"unknown": 2}
    office.execute("UPDATE operator_order SET sent_at = sent_at - interval '2 days'")
    assert statement_polling.poll(office.bridge.runtime, contract).sent_again == 2
    exchange(office, folder, contract)
    assert office.orders() == {"accepted": 2}
    assert len(folder.register.cheques) == 2


@pytest.mark.slow
def test_a_share_that_is_away_loses_nothing(office: Office, folder: aptic.Simulator, contract: UUID) -> None:
    office.issue(2)
    folder.faults.order("unavailable", 1, 60)
    office.push(contract)
    assert office.orders() == {"pending": 2}
    folder.faults.clear()
    exchange(office, folder, contract)
    assert office.orders() == {"accepted": 2}


@pytest.mark.slow
def test_a_monthly_statement_is_compared_as_of_its_day(office: Office, folder: aptic.Simulator, contract: UUID) -> None:
    office.affiliate(contract)
    cheques = office.issue(4)
    exchange(office, folder, contract)
    assert office.post(f"/v1/contracts/{contract}/comparison").json["compared"] is False
    activate(office, contract)
    office.redeem(cheques[:1])
    exchange(office, folder, contract)
    folder.faults.order("wrong_amounts", 1, 0)
    folder.state_all()
    office.cancel(cheques[3:])
    office.issue()
    activate(office, contract)
    exchange(office, folder, contract)
    compared = office.post(f"/v1/contracts/{contract}/comparison").json
    assert compared["totals"]["their_cheques"] == 4
    assert [(each["kind"], each["count"]) for each in compared["differences"]] == [("amount_differs", 1)]
    folder.state_all()
    assert office.post(f"/v1/contracts/{contract}/comparison").json["count"] == 0


@pytest.mark.slow
def test_what_happened_at_its_till_and_was_paid_is_read_from_the_statement(
    office: Office, folder: aptic.Simulator, contract: UUID
) -> None:
    office.affiliate(contract)
    first, second = office.issue(2)
    activate(office, contract)
    (redemption,) = office.redeem([first])
    exchange(office, folder, contract)
    folder.redeem_at_till(str(office.structure), None, str(second))
    folder.pay()
    folder.state_all()
    statement_polling.poll(office.bridge.runtime, contract)
    (report,) = office.published("redemption.reported")
    assert report["cheque_id"] == str(second)
    (paid,) = office.published("redemptions.paid")
    assert paid["redemption_ids"] == [str(redemption)]


@pytest.mark.slow
def test_what_a_statement_left_out_is_on_the_next_and_counts_once(
    office: Office, folder: aptic.Simulator, contract: UUID
) -> None:
    office.affiliate(contract)
    first, second = office.issue(2)
    activate(office, contract)
    office.redeem([first])
    exchange(office, folder, contract)
    folder.redeem_at_till(str(office.structure), None, str(second))
    folder.pay()
    folder.faults.order("missing_events", 1, 0)
    for reports in (0, 1, 1):
        folder.state_all()
        statement_polling.poll(office.bridge.runtime, contract)
        assert len(office.published("redemption.reported")) == reports
        assert len(office.published("redemptions.paid")) == reports


@pytest.mark.slow
def test_an_operator_that_dies_in_the_middle_of_a_file_leaves_everything_to_be_moved(
    office: Office, folder: aptic.Simulator, contract: UUID
) -> None:
    office.issue(4)
    folder.faults.order("die", 1, 0)
    office.push(contract)
    folder.work_off()
    assert len(folder.register.cheques) == 2
    assert office.post(f"/v1/contracts/{contract}/polls").status_code == 503
    office.issue()
    office.push(contract)
    assert office.orders() == {"unknown": 4, "pending": 1}
    regie = office.contract("regie", "draft", "regie")
    body = {"from_contract_id": str(contract), "to_contract_id": str(regie), "mode": "failure"}
    switch = UUID(office.post("/v1/switches", body).json["switch_id"])
    while not switchover.advance(office.bridge.runtime, switch).finished_at:
        office.push_all(regie)
    assert office.links() == {"stranded": 5, "registered": 5}


def test_other_operators_need_no_activation(office: Office) -> None:
    contract = office.contract()
    answer = office.post(f"/v1/contracts/{contract}/activations", {"payment_order": "2026-001234"})
    assert answer.status_code == 409
    assert answer.json["type"].endswith("needs-no-activation")
    office.issue()
    office.push(contract)
    assert office.links() == {"registered": 1}
