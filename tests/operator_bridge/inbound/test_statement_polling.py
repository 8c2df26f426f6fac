"""Reading a statement: one reader of a contract at a time, whoever it is."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from demo.simulators.docaposte import Simulator
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.workers import leases
from tests.operator_bridge.conftest import Office


@pytest.fixture
def contract(office: Office) -> UUID:
    return office.contract()


def poll(office: Office, contract: UUID) -> Any:
    headers = office.bridge.headers("admin")
    return office.bridge.app.test_client().post(f"/v1/contracts/{contract}/polls", headers=headers)


def test_a_statement_that_a_worker_reads_is_not_read_by_the_web_too(office: Office, contract: UUID) -> None:
    with leases.alone(office.bridge.runtime, f"poll:{contract}"):
        answer = poll(office, contract)
        statement_polling.try_poll(office.bridge.runtime, contract)
    assert (answer.status_code, answer.json["type"]) == (503, "urn:souche:statement-being-read")
    assert office.rows("SELECT polled_at FROM contract") == [(None,)]
    assert poll(office, contract).status_code == 200


def test_of_two_who_read_a_statement_at_once_one_does(office: Office, simulator: Simulator, contract: UUID) -> None:
    poll(office, contract)
    simulator.faults.order("slow", 1, 0.5)
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: poll(office, contract).status_code, range(2)))
    assert sorted(answers) == [200, 503]
