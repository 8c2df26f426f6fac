"""`souche reconcile` against a bridge over HTTP, whose worker is a thread here."""

import csv
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from demo.simulators.docaposte import Simulator
from services.operator_bridge.reconciliation import runs as reconciling
from souche.cli import main
from tests.operator_bridge.conftest import Office
from tests.serving import served


@pytest.fixture
def contract(office: Office, service_addresses: Mapping[str, str]) -> Iterator[UUID]:
    """A contract with three registered cheques, its bridge served."""
    found = office.contract()
    office.issue(3)
    office.push_all(found)
    with served(office.bridge.app, service_addresses["operator_bridge"]):
        yield found


@pytest.fixture
def worker(office: Office) -> Iterator[None]:
    """Takes up the runs that are due."""
    ended = threading.Event()

    def work() -> None:
        runtime = office.bridge.runtime
        while not ended.wait(0.05):
            with runtime.transaction() as session:
                runs = reconciling.due(session)
            for run in runs:
                reconciling.run(runtime, run)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    ended.set()
    thread.join()


def souche(office: Office, *arguments: str) -> Result:
    environ = dict.fromkeys((name for name in os.environ if name.startswith("SOUCHE_")), None)
    return CliRunner().invoke(main, ["reconcile", *arguments], env=environ | dict(office.bridge.environ))


@pytest.mark.usefixtures("contract", "worker")
def test_registers_in_step_exit_with_zero(office: Office) -> None:
    result = souche(office)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].split()[:2] == ["contract", "done"]


@pytest.mark.usefixtures("contract", "worker")
def test_what_waits_is_named_listed_resolved_and_exported(office: Office, simulator: Simulator, tmp_path: Path) -> None:
    next(iter(simulator.register.cheques.values())).value_cents = 900
    result = souche(office, "--contract", "contract")
    assert result.exit_code == 1
    assert "contract: 1 amount_differs" in result.output

    listed = souche(office, "list")
    assert "amount_differs" in listed.output
    difference = listed.output.splitlines()[-1].split()[0]

    resolved = souche(office, "resolve", difference, "--note", "a credit note came")
    assert (resolved.exit_code, "is resolved" in resolved.output) == (0, True)
    assert souche(office, "resolve", difference, "--note", "again").exit_code == 1

    target = tmp_path / "discrepancies.csv"
    assert souche(office, "export", "discrepancies", "--to", str(target)).exit_code == 0
    with target.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["discrepancy_id"], row["note"]) == (difference, "a credit note came")
    assert souche(office).exit_code == 0


@pytest.mark.usefixtures("contract", "worker")
def test_a_statement_that_cannot_be_had_exits_with_two(office: Office, simulator: Simulator) -> None:
    simulator.faults.order("error", 100, 0)
    result = souche(office)
    assert result.exit_code == 2
    assert "does not give its statement" in result.output


@pytest.mark.usefixtures("contract")
def test_a_run_that_no_worker_takes_up_in_time_is_said_to_wait(office: Office) -> None:
    result = souche(office, "--wait", "0")
    assert (result.exit_code, "requested" in result.output) == (2, True)


@pytest.mark.usefixtures("contract")
def test_a_contract_that_there_is_not_is_named(office: Office) -> None:
    result = souche(office, "--contract", "nobodys")
    assert (result.exit_code, "There is no contract nobodys" in result.output) == (1, True)
