"""What the bridge records of contracts and of what people do to orders."""

from typing import Any

from shared.audit import trail
from tests.operator_bridge.conftest import Office


def entries(office: Office, **query: object) -> list[dict[str, Any]]:
    """What an auditor finds, oldest first."""
    answer = office.bridge.client.get(
        "/v1/audit", query_string={"limit": 500} | query, headers=office.bridge.headers("admin", subject="auditor")
    )
    assert answer.status_code == 200, answer.json
    found: list[dict[str, Any]] = answer.get_json()["items"]
    return found


def test_each_step_of_a_contract_says_who_took_it(office: Office) -> None:
    contract = office.contract(state="draft")
    assert office.post(f"/v1/contracts/{contract}/state", {"state": "live"}).status_code == 200
    made, live = entries(office, object_id=str(contract))
    assert made["after"]["state"] == "draft"
    assert live["action"] == "POST /v1/contracts/<uuid:contract_id>/state"
    assert (live["before"]["state"], live["after"]["state"]) == ("draft", "live")


def test_what_a_task_does_is_the_systems(office: Office) -> None:
    contract = office.contract(state="live")
    with trail.acting(trail.system("operator_bridge.switch")), office.bridge.runtime.transaction() as session:
        session.connection().exec_driver_sql("UPDATE contract SET state = 'draining'")
    entry = entries(office, object_id=str(contract))[-1]
    assert (entry["role"], entry["subject"], entry["action"]) == (
        "system",
        "operator_bridge.switch",
        "operator_bridge.switch",
    )


def test_how_an_operator_answers_is_not_an_act(office: Office) -> None:
    office.contract(state="live")
    before = len(entries(office))
    with office.bridge.runtime.transaction() as session:
        session.connection().exec_driver_sql("UPDATE contract SET failures = 3, last_failure = 'no answer'")
    assert len(entries(office)) == before
