"""Planned stops and the circuit: nothing is sent meanwhile, nothing is lost, and everybody can see why."""

import os
import threading
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from demo.simulators.docaposte import Simulator
from services.operator_bridge import tasks
from services.operator_bridge.contracts import lifecycle
from services.operator_bridge.orders import queue
from services.operator_bridge.orders.queue import OPENS_AFTER
from shared.values.ids import new_id
from souche.commands.operator import operator
from tests.operator_bridge.conftest import Office
from tests.serving import served

REASON = "maintenance on Sunday morning"


@pytest.fixture
def stopped(office: Office) -> UUID:
    """A held contract with an affiliated structure, everything before settled."""
    contract = office.contract()
    office.affiliate(contract)
    office.push_all(contract)
    assert office.post(f"/v1/contracts/{contract}/hold", {"reason": REASON}).status_code == 200
    return contract


def tick(office: Office) -> None:
    """What beat has a worker do every few seconds."""
    with office.bridge.runtime.transaction() as session:
        lifecycle.hold_new(session)


def release(office: Office, contract: UUID) -> None:
    assert office.post(f"/v1/contracts/{contract}/release").status_code == 200


def test_nothing_is_sent_under_a_held_contract_and_the_release_sends_it_all(
    office: Office, simulator: Simulator, stopped: UUID
) -> None:
    calls = simulator.register.calls
    cheques = office.issue(3)
    redemptions = office.redeem(cheques[:2])
    office.reverse(redemptions[1], cheques[1])
    office.cancel(cheques[2:])
    assert office.push(stopped) == 0
    tick(office)
    assert office.push(stopped) == 0
    assert office.orders() == {"accepted": 1, "held": 7}
    assert simulator.register.calls == calls
    release(office, stopped)
    office.push_all(stopped)
    assert office.orders() == {"accepted": 8}
    statuses = [simulator.register.cheques[str(each)].status for each in cheques]
    assert statuses == ["redeemed", "registered", "cancelled"]


def test_what_waits_when_the_stop_is_made_is_held_at_once(office: Office) -> None:
    contract = office.contract()
    office.issue(2)
    office.post(f"/v1/contracts/{contract}/hold", {"reason": REASON})
    assert office.orders() == {"held": 2}
    release(office, contract)
    assert office.orders() == {"pending": 2}


def test_callers_are_shown_why(office: Office, stopped: UUID) -> None:
    office.issue()
    tick(office)
    shown = office.get(f"/v1/contracts/{stopped}")
    assert shown["held_reason"] == REASON
    assert datetime.fromisoformat(shown["held_at"]).tzinfo
    (order,) = office.get("/v1/orders?state=held")["items"]
    assert order["reason"] == REASON
    office.post(f"/v1/contracts/{stopped}/hold", {"reason": "it takes longer"})
    again = office.get(f"/v1/contracts/{stopped}")
    assert (again["held_reason"], again["held_at"]) == ("it takes longer", shown["held_at"])
    assert office.get("/v1/orders?state=held")["items"][0]["reason"] == "it takes longer"
    release(office, stopped)
    assert office.get(f"/v1/contracts/{stopped}")["held_reason"] is None
    assert office.get("/v1/orders?state=pending")["items"][0]["reason"] is None


def test_an_operator_that_is_held_is_still_heard(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.affiliate(contract)
    (cheque,) = office.issue()
    office.push_all(contract)
    office.post(f"/v1/contracts/{contract}/hold", {"reason": REASON})
    simulator.register.redeem_at_till(str(office.structure), None, str(cheque))
    office.post(f"/v1/contracts/{contract}/polls")
    assert len(office.published("redemption.reported")) == 1


@pytest.mark.slow
def test_what_was_on_its_way_when_the_stop_was_made_is_settled_and_not_sent_again(
    office: Office, simulator: Simulator
) -> None:
    contract = office.contract()
    office.issue(2)
    simulator.faults.order("time_out_after_doing", 1, 1.5)
    office.push(contract)
    office.post(f"/v1/contracts/{contract}/hold", {"reason": REASON})
    assert office.orders() == {"unknown": 2}
    calls = simulator.register.calls
    office.post(f"/v1/contracts/{contract}/polls")
    assert office.orders() == {"accepted": 2}
    assert simulator.register.calls == calls


@pytest.mark.slow
def test_a_refusal_voids_what_is_held_behind_it(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    cheques = office.issue()
    simulator.faults.order("refuse", 1, 0)
    simulator.faults.order("time_out_after_doing", 1, 1.5)
    office.push(contract)
    office.redeem(cheques)
    office.post(f"/v1/contracts/{contract}/hold", {"reason": REASON})
    office.post(f"/v1/contracts/{contract}/polls")
    assert office.orders() == {"refused": 2}


def test_a_held_contract_wakes_no_push(office: Office, stopped: UUID) -> None:
    office.issue()
    with office.bridge.runtime.transaction() as session:
        assert queue.contracts_due(session) == []
        assert queue.claim(session, stopped, 10, lease=7) == []
        assert queue.next_turn(session, stopped) is None


def test_a_stop_waits_for_what_is_being_claimed(office: Office) -> None:
    contract = office.contract()
    office.issue(2)
    with office.bridge.runtime.transaction() as session:
        claimed = queue.claim(session, contract, 1, lease=7)
        stopping = threading.Thread(target=office.post, args=(f"/v1/contracts/{contract}/hold", {"reason": REASON}))
        stopping.start()
        stopping.join(0.3)
        assert stopping.is_alive()
    stopping.join()
    assert len(claimed) == 1
    assert office.orders() == {"sent": 1, "held": 1}


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}])
def test_a_stop_needs_a_reason(office: Office, body: dict[str, str]) -> None:
    contract = office.contract()
    assert office.post(f"/v1/contracts/{contract}/hold", body).status_code == 422
    assert office.get(f"/v1/contracts/{contract}")["held_at"] is None


def test_a_contract_that_is_over_or_unknown_is_not_held(office: Office) -> None:
    contract = office.contract(state="live")
    office.post(f"/v1/contracts/{contract}/state", {"state": "failed"})
    answer = office.post(f"/v1/contracts/{contract}/hold", {"reason": REASON})
    assert (answer.status_code, answer.json["type"]) == (409, "urn:souche:contract-over")
    for verb in ("hold", "release"):
        assert office.post(f"/v1/contracts/{new_id()}/{verb}", {"reason": REASON}).status_code == 404


def test_a_release_of_what_is_not_held_changes_nothing(office: Office) -> None:
    contract = office.contract()
    office.issue()
    release(office, contract)
    assert office.orders() == {"pending": 1}


def test_one_held_contract_does_not_stop_another(office: Office, stopped: UUID) -> None:
    other = office.contract(operator="regie", code="other")
    office.issue(2)
    office.push_all(other)
    assert office.orders("register") == {"accepted": 2}


@pytest.fixture
def command_line(office: Office) -> Iterator[Office]:
    """The bridge where the command line finds it."""
    with served(office.bridge.app, office.bridge.settings.peers["operator_bridge"]):
        yield office


def run(office: Office, *arguments: str) -> Result:
    given = {**dict.fromkeys(os.environ, None), **office.bridge.environ, "SOUCHE_TOKEN": office.bridge.token("admin")}
    return CliRunner().invoke(operator, arguments, env=given)


def test_an_operator_is_held_and_released_from_the_command_line(command_line: Office) -> None:
    office = command_line
    contracts = [office.contract(code="one"), office.contract(code="two"), office.contract(operator="regie", code="x")]
    result = run(office, "hold", "docaposte", "--reason", REASON)
    assert result.exit_code == 0, result.output
    assert result.output == f"one is held: {REASON}\ntwo is held: {REASON}\n"
    assert REASON in run(office, "contracts").output
    assert run(office, "release", "two").output == "two is no longer held\n"
    held = [office.get(f"/v1/contracts/{each}")["held_reason"] for each in contracts]
    assert held == [REASON, None, None]


def test_a_stop_from_the_command_line_needs_a_reason_and_somebody_to_stop(command_line: Office) -> None:
    assert run(command_line, "hold", "docaposte").exit_code == 2
    result = run(command_line, "hold", "nobody", "--reason", REASON)
    assert result.exit_code == 1
    assert "nobody" in result.output


def fail(office: Office, simulator: Simulator, contract: UUID, fault: str, times: int) -> None:
    """Has so many calls fail, one after another."""
    simulator.faults.order(fault, times, 0)
    for _ in range(times):
        office.execute("UPDATE contract SET next_push_at = now()")
        assert office.push(contract, 0) > 0


@pytest.mark.parametrize("fault", ["unavailable", "error"])
def test_the_circuit_opens_after_repeated_failure_and_a_probe_closes_it(
    office: Office, simulator: Simulator, fault: str
) -> None:
    contract = office.contract()
    assert office.get(f"/v1/contracts/{contract}")["circuit"] == "closed"
    for _ in range(OPENS_AFTER):
        office.issue(3)
        fail(office, simulator, contract, fault, 1)
    shown = office.get(f"/v1/contracts/{contract}")
    assert (shown["circuit"], shown["failures"]) == ("open", OPENS_AFTER)
    assert shown["last_failure"] == {"unavailable": "HTTP 503", "error": "HTTP 500"}[fault]
    assert shown["circuit_opened_at"]

    office.issue(3)
    simulator.faults.order(fault, 1, 0)
    assert office.push(contract, 0) == 1
    assert office.get(f"/v1/contracts/{contract}")["circuit"] == "open"
    assert office.push(contract, 0) == 1
    closed = office.get("/v1/contracts")["items"][0]
    assert (closed["circuit"], closed["failures"], closed["last_failure"]) == ("closed", 0, None)
    assert closed["circuit_opened_at"] is None
    office.execute("UPDATE operator_order SET sent_at = sent_at - interval '2 minutes'")
    office.post(f"/v1/contracts/{contract}/polls")
    office.push_all(contract)
    assert office.orders() == {"accepted": 3 * OPENS_AFTER + 3}


def test_failures_with_an_answer_between_them_open_no_circuit(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue()
    for _ in range(2):
        fail(office, simulator, contract, "unavailable", OPENS_AFTER - 1)
        office.push_all(contract)
        office.issue()
    assert office.get(f"/v1/contracts/{contract}")["circuit"] == "closed"


def test_a_refusal_is_an_answer(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue()
    fail(office, simulator, contract, "unavailable", OPENS_AFTER)
    simulator.faults.order("refuse", 1, 0)
    office.push(contract)
    assert office.get(f"/v1/contracts/{contract}")["circuit"] == "closed"


def test_the_longer_an_operator_fails_the_less_often_it_is_called(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue()
    simulator.faults.order("error", 1000, 0)
    waits = []
    for _ in range(OPENS_AFTER + 2):
        office.execute("UPDATE operator_order SET state = 'pending'")
        office.push(contract, 0)
        waits.append(office.rows("SELECT extract(epoch FROM next_push_at - now()) FROM contract")[0][0])
    assert waits[0] < 2
    assert 16 <= waits[-2] <= 60
    assert 30 <= waits[-1] <= 90


def test_every_few_seconds_new_orders_of_a_held_contract_are_shown_as_held(office: Office, stopped: UUID) -> None:
    office.bridge.runtime.celery.set_current()
    office.issue()
    tasks.wake_pushes()
    assert office.orders("register") == {"held": 1}
