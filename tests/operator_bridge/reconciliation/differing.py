"""A bridge and an operator whose books differ: how that is compared, and what there is to compare."""

from typing import Any
from uuid import UUID

import pytest

from demo.simulators.docaposte import Simulator
from services.operator_bridge.reconciliation import runs
from tests.operator_bridge.conftest import Office

Run = dict[str, Any]


def reconcile(office: Office, contract: UUID) -> Run:
    """Asks for a run, does it as the worker would, and gives it as it is served."""
    answer = office.post("/v1/reconciliations", {"contract_id": str(contract)})
    assert answer.status_code == 202, answer.json
    run_id = answer.json["reconciliation_id"]
    runs.run(office.bridge.runtime, UUID(run_id))
    found: Run = office.get(f"/v1/reconciliations/{run_id}")
    assert found["state"] == "done", found
    return found


def differences(office: Office, **chosen: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in chosen.items())
    found: list[dict[str, Any]] = office.get(f"/v1/discrepancies?{query}")["items"]
    return found


def the_difference(office: Office) -> dict[str, Any]:
    (found,) = differences(office)
    return found


def lose(simulator: Simulator, cheque: UUID) -> None:
    """The operator loses a cheque with all that it was told of it, as one does that restores an old backup."""
    held = simulator.register.cheques.pop(str(cheque))
    simulator.register._order.remove(held)
    simulator.register.numbers = {
        code: number for code, number in simulator.register.numbers.items() if number != held.number
    }
    simulator.register.outcomes.clear()


@pytest.fixture
def contract(office: Office) -> UUID:
    """A contract whose operator knows the structure."""
    found = office.contract()
    office.affiliate(found)
    return found


@pytest.fixture
def cheques(office: Office, contract: UUID) -> list[UUID]:
    """Three registered cheques."""
    issued = office.issue(3)
    office.push_all(contract)
    return issued
