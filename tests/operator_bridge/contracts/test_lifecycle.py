"""Contracts over HTTP: their states, their operators' settings, what is told of them; and what stands where."""

from uuid import UUID

import pytest

from services.operator_bridge import create_app
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.register import transitions
from shared.settings import settings
from shared.settings.settings import ConfigurationError
from shared.values.ids import new_id
from tests.operator_bridge.conftest import PROGRAMME, Office


def test_each_change_of_a_contract_is_told(office: Office) -> None:
    contract = office.contract(state="draft")
    for state in ("live", "draining", "ended"):
        assert office.post(f"/v1/contracts/{contract}/state", {"state": state}).json["state"] == state
    assert [each["state"] for each in office.published("contract.changed")] == ["draft", "live", "draining", "ended"]
    assert UUID(office.published("contract.changed")[0]["contract_id"]) == contract


@pytest.mark.parametrize(("origin", "state"), [("draft", "ended"), ("draft", "draining"), ("live", "draft")])
def test_a_contract_takes_no_step_that_is_not_in_the_table(office: Office, origin: str, state: str) -> None:
    contract = office.contract(state=origin)
    answer = office.post(f"/v1/contracts/{contract}/state", {"state": state})
    assert answer.status_code == 409
    assert answer.json["type"] == "urn:souche:illegal-transition"


def test_the_same_state_again_changes_nothing(office: Office) -> None:
    contract = office.contract()
    assert office.post(f"/v1/contracts/{contract}/state", {"state": "live"}).status_code == 200
    assert len(office.published("contract.changed")) == 2


def test_there_is_no_contract_with_an_operator_that_does_not_exist(office: Office) -> None:
    body = {"code": "c", "operator": "nobody", "programme": PROGRAMME, "starts_on": "2025-01-01"}
    answer = office.post("/v1/contracts", body)
    assert answer.status_code == 422
    assert answer.json["type"] == "urn:souche:unknown-operator"


def test_a_code_is_given_to_one_contract(office: Office) -> None:
    office.contract(code="one")
    body = {"code": "one", "operator": "regie", "programme": PROGRAMME, "starts_on": "2025-01-01"}
    assert office.post("/v1/contracts", body).status_code == 409


def test_contracts_are_listed_and_shown(office: Office) -> None:
    contract = office.contract()
    assert [UUID(each["contract_id"]) for each in office.get("/v1/contracts")["items"]] == [contract]
    assert office.get(f"/v1/contracts/{contract}")["operator"] == "docaposte"
    assert office.post(f"/v1/contracts/{new_id()}/polls").status_code == 404


def test_operators_are_listed_with_what_they_can_do_and_no_secret(office: Office) -> None:
    answer = office.bridge.client.get("/v1/operators", headers=office.bridge.headers("operations"))
    found = {each["code"]: each for each in office.get("/v1/operators")}
    assert set(found) == set(lookup.codes())
    assert found["regie"]["own_till"] is False
    assert found["docaposte"]["own_till"] is True
    assert found["docaposte"]["configured"] is True
    for name, value in office.bridge.settings.operators.items():
        assert value not in answer.text or name.endswith("_TIMEOUT_SECONDS")


def test_balances_show_links_redemptions_and_orders_by_state(office: Office) -> None:
    contract = office.contract()
    office.affiliate(contract)
    cheques = office.issue(3)
    office.redeem(cheques[:1])
    office.push_all(contract)
    (balance,) = office.get("/v1/balances")["contracts"]
    assert balance["links"] == [{"state": "registered", "number": 3, "cents": 3000}]
    assert balance["redemptions"] == [{"state": "confirmed", "number": 1, "cents": 1000}]
    assert balance["orders"] == [{"state": "accepted", "number": 5}]


def test_orders_are_listed_by_state_kind_and_contract(office: Office) -> None:
    contract = office.contract()
    office.issue(3)
    assert len(office.get(f"/v1/orders?state=pending&kind=register&contract_id={contract}")["items"]) == 3
    assert office.get("/v1/orders?state=accepted")["items"] == []
    first = office.get("/v1/orders?limit=2")
    assert len(first["items"]) == 2
    assert len(office.get(f"/v1/orders?after={first['next']}")["items"]) == 1


def test_an_operator_with_half_its_settings_stops_the_process(office: Office) -> None:
    given = dict(office.bridge.environ)
    del given["OPERATOR_DOCAPOSTE_CLIENT_SECRET"]
    with pytest.raises(ConfigurationError, match="OPERATOR_DOCAPOSTE_CLIENT_SECRET"):
        create_app(settings.load("operator_bridge", given))


def test_a_setting_of_no_operator_stops_the_process(office: Office) -> None:
    given = {**office.bridge.environ, "OPERATOR_NOBODY_URL": "http://localhost"}
    with pytest.raises(ConfigurationError, match="OPERATOR_NOBODY_URL"):
        create_app(settings.load("operator_bridge", given))


def test_no_state_leads_nowhere_that_is_not_a_state() -> None:
    for table in (transitions.CONTRACT, transitions.LINK, transitions.ORDER, transitions.REDEMPTION):
        assert {state for following in table.values() for state in following} <= set(table)
    assert set(transitions.UNFINISHED) == {"pending", "held", "sent", "unknown"}
