"""Every operator that says how cheques stand can be reconciled with, whatever its way of saying it."""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.reconciliation import runs
from tests.operator_bridge.conftest import Office

WITH_SIMULATOR = [code for code in lookup.codes() if importlib.util.find_spec(f"demo.simulators.{code}")]


@pytest.fixture(params=WITH_SIMULATOR)
def other(request: pytest.FixtureRequest) -> str:
    """An operator's code."""
    return str(request.param)


@pytest.fixture
def other_simulator(other: str) -> Any:
    module = importlib.import_module(f"demo.simulators.{other}")
    return module.Simulator(module.Account.generate(), "http://127.0.0.1:9/nobody")


@pytest.fixture
def operator_settings(other_simulator: Any) -> Iterator[Mapping[str, str]]:
    with other_simulator.running() as settings:
        yield settings


def work_off(office: Office, simulator: Any, contract: UUID) -> None:
    """Sends what is due and hears what comes of it, of an operator that takes its time as of one that does not."""
    for _ in range(2):
        office.push_all(contract)
        if hasattr(simulator, "work_off"):
            simulator.work_off()
        statement_polling.poll(office.bridge.runtime, contract)
    if hasattr(simulator, "state_all"):
        simulator.state_all()


def test_an_operator_in_step_has_no_difference(office: Office, other: str, other_simulator: Any) -> None:
    contract = office.contract(operator=other)
    office.affiliate(contract)
    cheques = office.issue(4)
    work_off(office, other_simulator, contract)
    if lookup.adapter(other).activates:
        office.post(f"/v1/contracts/{contract}/activations", {"payment_order": "2026-001234"})
        work_off(office, other_simulator, contract)
    office.redeem(cheques[:1])
    office.cancel(cheques[1:2])
    office.tell("cheques.blocked", {"cheque_ids": cheques[2:3], "reason": "lost"})
    work_off(office, other_simulator, contract)
    requested = office.post("/v1/reconciliations", {"contract_id": str(contract)}).json
    runs.run(office.bridge.runtime, UUID(requested["reconciliation_id"]))
    run = office.get(f"/v1/reconciliations/{requested['reconciliation_id']}")
    assert (run["state"], run["compared"], run["differences"]) == ("done", True, {})
    assert sum(status["number"] for status in run["theirs"].values()) == 4
