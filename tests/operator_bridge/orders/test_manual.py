"""What a person has sent again: orders that got no answer too often, and what an operator refused by mistake."""

from uuid import UUID, uuid4

import pytest

from demo.simulators import docaposte
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.register.models import MAX_UNANSWERED
from services.operator_bridge.switching import switchover
from shared.values.ids import new_id
from tests.operator_bridge.conftest import Office

NOTE = {"note": "they found their mistake, ticket 4711"}


@pytest.fixture
def contract(office: Office) -> UUID:
    contract_id = office.contract()
    office.affiliate(contract_id)
    office.push_all(contract_id)
    return contract_id


def order(office: Office, state: str, kind: str = "register") -> str:
    (found,) = office.get(f"/v1/orders?state={state}&kind={kind}")["items"]
    return str(found["order_id"])


def leave_stuck(office: Office, contract: UUID) -> None:
    """Everything sent was done, and never answered."""
    office.execute(
        "UPDATE operator_order SET state = 'unknown', lost = :lost WHERE kind = 'register'", lost=MAX_UNANSWERED
    )
    statement_polling.poll(office.bridge.runtime, contract)
    office.execute("UPDATE link SET state = 'wanted'")
    office.execute(
        "UPDATE operator_order SET state = 'unknown', lost = :lost WHERE kind = 'register'", lost=MAX_UNANSWERED
    )


def test_a_stuck_order_is_sent_again_under_its_reference_and_done_once(
    office: Office, contract: UUID, simulator: docaposte.Simulator
) -> None:
    office.issue()
    office.push_all(contract)
    leave_stuck(office, contract)
    stuck = order(office, "unknown")
    assert office.push(contract) == 0
    answer = office.post(f"/v1/orders/{stuck}/retry", NOTE)
    assert answer.status_code == 201, answer.json
    assert answer.json["order_id"] == stuck
    assert answer.json["retries"][0]["note"] == NOTE["note"]
    office.push_all(contract)
    assert office.orders("register") == {"accepted": 1}
    assert office.links() == {"registered": 1}
    assert len(simulator.register.cheques) == 1


def test_all_that_is_stuck_is_sent_again_at_once(office: Office, contract: UUID) -> None:
    office.issue(5)
    office.push_all(contract)
    leave_stuck(office, contract)
    assert len(office.get("/v1/orders?stuck=true")["items"]) == 5
    assert office.post("/v1/orders/retries", NOTE | {"contract_id": str(uuid4())}).json == {"retried": 0}
    assert office.post("/v1/orders/retries", NOTE).json == {"retried": 5}
    assert office.post("/v1/orders/retries", NOTE).json == {"retried": 0}
    office.push_all(contract)
    assert office.orders("register") == {"accepted": 5}


def test_what_was_refused_by_mistake_is_registered_and_what_is_due_on_it_declared(
    office: Office, contract: UUID, simulator: docaposte.Simulator
) -> None:
    before, after = office.issue(2)
    office.redeem([before])
    simulator.faults.order("refuse", 2, 0)
    office.push_all(contract)
    office.redeem([after])
    office.push_all(contract)
    assert office.links() == {"refused": 2}
    balances = office.get("/v1/balances")
    assert balances["redemptions_without_contract"] == [{"state": "due", "number": 1, "cents": 1000}]
    (without,) = balances["cheques_without_operator"]
    assert (without["state"], without["number"], without["cents"]) == ("redeemed", 2, 2000)
    simulator.faults.clear()
    for refused in office.get("/v1/orders?state=refused&kind=register")["items"]:
        again = office.post(f"/v1/orders/{refused['order_id']}/retry", NOTE).json
        assert again["order_id"] != refused["order_id"]
        assert again["retries"][0]["of"] == refused["order_id"]
        assert office.post(f"/v1/orders/{refused['order_id']}/retry", NOTE).status_code == 409
    office.push_all(contract)
    assert office.links() == {"registered": 2}
    assert {row.state for row in office.rows("SELECT state FROM redemption")} == {"confirmed"}
    assert sum(len(told["redemption_ids"]) for told in office.published("redemptions.confirmed")) == 2
    assert office.get("/v1/balances")["cheques_without_operator"] == []


def test_a_redemption_that_was_refused_by_mistake_is_declared_again(
    office: Office, contract: UUID, simulator: docaposte.Simulator
) -> None:
    cheques = office.issue()
    office.push_all(contract)
    office.redeem(cheques)
    simulator.faults.order("refuse", 1, 0)
    office.push_all(contract)
    refused = order(office, "refused", "declare")
    assert office.post(f"/v1/orders/{refused}/retry", NOTE).status_code == 201
    assert office.post(f"/v1/orders/{refused}/retry", NOTE).status_code == 409
    office.push_all(contract)
    (redemption,) = office.rows("SELECT state FROM redemption")
    assert redemption.state == "confirmed"
    assert office.post(f"/v1/orders/{refused}/retry", NOTE).status_code == 409


def test_what_an_operator_refused_is_paid_by_the_regie(
    office: Office, contract: UUID, simulator: docaposte.Simulator
) -> None:
    before, after, unspent = office.issue(3)
    office.redeem([before])
    simulator.faults.order("refuse", 3, 0)
    office.push_all(contract)
    office.redeem([after])
    regie = office.contract("regie", "draft", "regie")
    assert office.post(f"/v1/contracts/{regie}/adoptions").status_code == 409
    office.execute("UPDATE contract SET state = 'draining' WHERE contract_id = :id", id=regie)  # it takes no new ones
    assert office.post(f"/v1/contracts/{regie}/adoptions").json == {"adopted": 3}
    assert office.post(f"/v1/contracts/{regie}/adoptions").json == {"adopted": 0}
    office.push_all(regie)
    assert {(row.state, row.contract_id) for row in office.rows("SELECT state, contract_id FROM redemption")} == {
        ("confirmed", regie)
    }
    links = office.rows("SELECT state FROM link WHERE cheque_id = :id ORDER BY state", id=unspent)
    assert [row.state for row in links] == ["refused", "registered"]
    assert office.get("/v1/balances")["cheques_without_operator"] == []


def test_what_is_settled_or_of_a_contract_that_is_silent_is_not_sent_again(office: Office, contract: UUID) -> None:
    office.issue()
    office.push_all(contract)
    accepted = order(office, "accepted")
    answer = office.post(f"/v1/orders/{accepted}/retry", NOTE)
    assert (answer.status_code, answer.json["type"]) == (409, "urn:souche:not-retried")
    assert office.post(f"/v1/orders/{new_id()}/retry", NOTE).status_code == 404
    assert office.post(f"/v1/orders/{accepted}/retry", {"note": " "}).status_code == 422
    leave_stuck(office, contract)
    office.post(f"/v1/contracts/{contract}/hold", {"reason": "a long evening"})
    assert office.post(f"/v1/orders/{accepted}/retry", NOTE).json["type"] == "urn:souche:contract-silent"
    assert office.post("/v1/orders/retries", NOTE).json == {"retried": 0}


def test_what_was_to_be_sent_again_is_no_other_operators_before_its_outcome_is_known(
    office: Office, contract: UUID
) -> None:
    cheques = office.issue()
    office.push_all(contract)
    office.redeem(cheques)
    office.push_all(contract)
    office.execute("UPDATE operator_order SET state = 'unknown', lost = 5 WHERE kind = 'declare'")
    office.execute("UPDATE redemption SET state = 'due'")
    assert office.post("/v1/orders/retries", NOTE).json == {"retried": 1}
    regie = office.contract("regie", "draft", "regie")
    body = {"from_contract_id": str(contract), "to_contract_id": str(regie), "mode": "handover"}
    switch = UUID(office.post("/v1/switches", body).json["switch_id"])
    switchover.advance(office.bridge.runtime, switch)
    (redemption,) = office.rows("SELECT state, contract_id FROM redemption")
    assert (redemption.state, redemption.contract_id) == ("confirmed", contract)
