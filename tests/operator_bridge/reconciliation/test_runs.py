"""Runs of reconciliation: asked for, of the night, taken up again, doubted, and what persons make of them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from demo.simulators.docaposte import Simulator
from services.operator_bridge.reconciliation import auto_resolution, runs
from shared.values import clock
from shared.values.ids import new_id
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.reconciliation.differing import cheques, contract, lose, reconcile, the_difference

__all__ = ["cheques", "contract"]


def test_the_same_lines_twice_are_no_difference(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register._order += simulator.register._order[:2]
    run = reconcile(office, contract)
    assert (run["differences"], run["theirs"]["registered"]["number"]) == ({}, 3)


def test_a_person_resolves_a_difference_with_a_note(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    theirs = simulator.register.cheques[str(cheques[0])]
    theirs.value_cents = 900
    reconcile(office, contract)
    path = f"/v1/discrepancies/{the_difference(office)['discrepancy_id']}/resolution"
    assert office.post(path, {"note": " "}).status_code == 422
    answer = office.post(path, {"note": "They corrected it by a credit note of 12 March."})
    assert answer.status_code == 200, answer.json
    found = the_difference(office)
    assert (found["state"], found["resolved_by"], found["resolver"]) == ("resolved", "person", "test")
    assert found["note"] == "They corrected it by a credit note of 12 March."
    assert office.post(path, {"note": "again"}).status_code == 409
    assert office.post(f"/v1/discrepancies/{new_id()}/resolution", {"note": "none"}).status_code == 404


def test_what_a_person_accepted_stays_closed_until_it_changes(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    theirs = simulator.register.cheques[str(cheques[0])]
    theirs.value_cents = 900
    reconcile(office, contract)
    office.post(f"/v1/discrepancies/{the_difference(office)['discrepancy_id']}/resolution", {"note": "accepted"})
    assert reconcile(office, contract)["waiting"] == 0
    theirs.value_cents = 800
    assert reconcile(office, contract)["waiting"] == 1
    found = the_difference(office)
    assert (found["state"], found["note"], found["theirs"]["value_cents"]) == ("waiting", None, 800)
    (earlier,) = found["history"]
    assert (earlier["note"], earlier["theirs"]["value_cents"]) == ("accepted", 900)


def test_a_difference_that_the_operator_corrects_is_closed_by_agreement(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    theirs = simulator.register.cheques[str(cheques[0])]
    theirs.value_cents = 900
    reconcile(office, contract)
    theirs.value_cents = 1000
    assert reconcile(office, contract)["resolved"] == 1
    assert the_difference(office)["resolved_by"] == "agreement"


def test_where_the_whole_statement_must_be_doubted_no_policy_acts(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue(1001)
    office.push_all(contract)
    simulator.register._order.clear()
    run = reconcile(office, contract)
    assert (run["withheld"], run["settled"], run["waiting"]) == (True, 0, 1001)
    assert office.orders() == {"accepted": 1001}
    assert not auto_resolution.doubtful(1000, 5)
    assert auto_resolution.doubtful(20_001, 2_000_000)


def test_the_same_run_taken_up_twice_changes_nothing(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register.cheques[str(cheques[0])].value_cents = 900
    simulator.register.redeem_at_till(str(office.structure), None, str(cheques[1]))
    run = reconcile(office, contract)
    before = office.rows("SELECT * FROM discrepancy ORDER BY discrepancy_id")
    runs.run(office.bridge.runtime, UUID(run["reconciliation_id"]))
    assert office.rows("SELECT * FROM discrepancy ORDER BY discrepancy_id") == before
    assert len(office.published("redemption.reported")) == 1


def test_a_run_whose_worker_died_is_taken_up_again(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    lose(simulator, cheques[0])
    run = reconcile(office, contract)
    office.execute("UPDATE reconciliation SET state = 'running', finished_at = NULL")
    with office.bridge.runtime.transaction() as session:
        assert runs.due(session) == [UUID(run["reconciliation_id"])]
    runs.run(office.bridge.runtime, UUID(run["reconciliation_id"]))
    assert office.get(f"/v1/reconciliations/{run['reconciliation_id']}")["state"] == "done"
    assert the_difference(office)["state"] == "settling"


def test_of_two_runs_at_once_one_waits_for_the_other(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    """Each would keep a worker for long, and two of them are all the workers that there are."""
    first, second = (requested(office, contract_id) for contract_id in (contract, office.contract(code="other")))
    simulator.faults.order("slow", 2, 0.5)
    with ThreadPoolExecutor(2) as threads:
        ran = list(threads.map(lambda run_id: runs.run(office.bridge.runtime, run_id), (first, second)))
    assert sorted(ran) == [False, True]
    assert states(office) == ["done", "requested"]
    for run_id in (first, second):
        runs.run(office.bridge.runtime, run_id)
    assert states(office) == ["done", "done"]


def requested(office: Office, contract: UUID) -> UUID:
    with office.bridge.runtime.transaction() as session:
        return runs.request(session, contract).reconciliation_id


def states(office: Office) -> list[str]:
    return [row.state for row in office.rows("SELECT state FROM reconciliation ORDER BY state")]


def test_a_run_asked_for_fails_when_the_operator_does_not_answer_and_one_of_the_night_is_tried_again(
    office: Office, simulator: Simulator, contract: UUID
) -> None:
    simulator.faults.order("error", 100, 0)
    for night, state in ((None, "failed"), (date(2026, 3, 1), "requested")):
        office.execute("DELETE FROM reconciliation")
        office.execute(
            "INSERT INTO reconciliation (contract_id, night) VALUES (:one, :night)", one=contract, night=night
        )
        ((run_id,),) = office.rows("SELECT reconciliation_id FROM reconciliation")
        runs.run(office.bridge.runtime, run_id)
        found = office.get(f"/v1/reconciliations/{run_id}")
        assert (found["state"], found["attempts"]) == (state, 1)
        assert "does not give its statement" in found["error"]


@pytest.mark.parametrize(("hour", "nights"), [(2, 0), (3, 1), (23, 1)])
def test_the_night_asks_for_each_contract_once(office: Office, contract: UUID, hour: int, nights: int) -> None:
    office.contract(code="drafted", state="draft")
    for _ in range(2):
        with office.bridge.runtime.transaction() as session:
            runs.request_nightly(session, datetime(2026, 3, 1, hour, tzinfo=clock.PARIS))
    found = office.rows("SELECT contract_id, night FROM reconciliation")
    assert found == [(contract, date(2026, 3, 1))] * nights


def test_an_operator_without_a_statement_has_nothing_to_compare(office: Office) -> None:
    contract = office.contract(operator="regie")
    office.issue(2)
    office.push_all(contract)
    run = reconcile(office, contract)
    assert (run["compared"], run["differences"]) == (False, {})


def test_a_run_of_no_contract_is_refused(office: Office) -> None:
    assert office.post("/v1/reconciliations", {"contract_id": str(new_id())}).status_code == 404


def test_a_worker_is_woken_when_the_run_is_committed_and_not_before(office: Office, contract: UUID) -> None:
    """A worker that is woken earlier finds no run, and nobody wakes it again for minutes."""
    runtime, woken = office.bridge.runtime, "souche:wake:operator_bridge.reconcile:*"
    found: list[int] = []

    def look(_: sa.Connection) -> None:
        found.append(len(list(runtime.redis.scan_iter(woken))))

    runtime.redis.flushall()
    sa.event.listen(runtime.engine, "commit", look)
    try:
        headers = office.bridge.headers("admin", key="wake")
        body = {"contract_id": str(contract)}
        assert office.bridge.client.post("/v1/reconciliations", json=body, headers=headers).status_code == 202
    finally:
        sa.event.remove(runtime.engine, "commit", look)
    assert found
    assert set(found) == {0}
    assert len(list(runtime.redis.scan_iter(woken))) == 1
    runtime.redis.flushall()


def test_another_day_is_late_and_today_is_not(office: Office, contract: UUID, cheques: list[UUID]) -> None:
    office.redeem(cheques[:1])
    office.execute("UPDATE redemption SET redeemed_at = now() - :age", age=timedelta(days=60))
    office.push_all(contract)
    assert reconcile(office, contract)["differences"] == {}


@pytest.fixture
def moved(office: Office, contract: UUID, cheques: list[UUID]) -> UUID:
    """A contract whose cheques another operator has now; the first was redeemed and declared to this one before."""
    office.redeem(cheques[:1])
    office.push_all(contract)
    office.execute("UPDATE link SET state = 'closed'")
    office.execute("UPDATE redemption SET state = 'due', contract_id = NULL, reference = NULL")
    return contract


def test_what_another_operator_has_now_is_no_difference(office: Office, moved: UUID) -> None:
    assert reconcile(office, moved)["differences"] == {}


def test_what_another_operator_has_now_and_is_spent_at_the_old_one_is_a_difference(
    office: Office, simulator: Simulator, moved: UUID, cheques: list[UUID]
) -> None:
    simulator.register._order.pop(2)
    simulator.register.cheques[str(cheques[1])].redemption = "TILL-9"
    assert reconcile(office, moved)["differences"] == {"redeemed_there_not_here": 1}
