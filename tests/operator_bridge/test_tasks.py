"""The tasks: woken once however often, alone where one is enough, and finding their work in PostgreSQL."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from demo.simulators.docaposte import Simulator
from demo.stack.embedded import free_port
from services.operator_bridge import tasks
from services.operator_bridge.reconciliation import runs
from services.operator_bridge.tasks import BEAT
from services.operator_bridge.workers import leases, wakeups
from shared.process.celery import LONG_QUEUES
from shared.process.runtime import Runtime
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.operator_bridge.conftest import Office

QUEUE = "operator_bridge"


@pytest.fixture
def runtime(bridge: ServiceUnderTest) -> Iterator[Runtime]:
    """The runtime that the tasks find, as in a worker."""
    bridge.runtime.celery.set_current()
    yield bridge.runtime
    bridge.runtime.redis.flushall()


def waiting(runtime: Runtime) -> int:
    """How many tasks wait, but for rings: those of the tests before may come late."""
    messages: Any = runtime.redis.lrange(QUEUE, 0, -1)
    return sum(not json.loads(message)["headers"]["task"].endswith(".pull") for message in messages)


def test_a_task_is_woken_once_until_it_is_taken_up(runtime: Runtime) -> None:
    for _ in range(3):
        wakeups.wake(runtime, "operator_bridge.apply")
    assert waiting(runtime) == 1
    wakeups.acknowledge(runtime, "operator_bridge.apply")
    wakeups.wake(runtime, "operator_bridge.apply")
    assert waiting(runtime) == 2


def _a_retry(office: Office) -> tuple[str, dict[str, Any]]:
    office.execute("UPDATE operator_order SET state = 'unknown'")
    (row,) = office.rows("SELECT order_id FROM operator_order LIMIT 1")
    return f"/v1/orders/{row.order_id}/retry", {"note": "they asked for it"}


def _all_retries(office: Office) -> tuple[str, dict[str, Any]]:
    return "/v1/orders/retries", {"note": "they asked for it"}


def _a_run(office: Office) -> tuple[str, dict[str, Any]]:
    return "/v1/reconciliations", {"contract_id": str(_contract(office))}


def _an_activation(office: Office) -> tuple[str, dict[str, Any]]:
    office.execute("UPDATE contract SET operator = 'aptic'")
    return f"/v1/contracts/{_contract(office)}/activations", {"payment_order": "M-1"}


def _an_adoption(office: Office) -> tuple[str, dict[str, Any]]:
    return f"/v1/contracts/{_contract(office)}/adoptions", {}


def _a_switch(office: Office) -> tuple[str, dict[str, Any]]:
    contracts = {"from_contract_id": str(_contract(office)), "to_contract_id": str(office.contract("regie", code="r"))}
    return "/v1/switches", {**contracts, "mode": "failure", "creditor": "Département"}


def _contract(office: Office) -> Any:
    return office.rows("SELECT contract_id FROM contract ORDER BY contract_id LIMIT 1")[0].contract_id


@pytest.mark.parametrize("prepare", [_a_retry, _all_retries, _a_run, _an_activation, _an_adoption, _a_switch])
def test_who_is_woken_by_a_repeatable_request_finds_what_it_did(
    runtime: Runtime,
    office: Office,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Office], tuple[str, dict[str, Any]]],
) -> None:
    office.contract()
    office.issue()
    path, body = prepare(office)
    runtime.redis.flushall()
    key, found = str(new_id()), []

    def send_task(name: str, **_: Any) -> None:
        committed = office.rows("SELECT 1 FROM idempotent_answer WHERE key = :key", key=key)
        found.append((name, len(committed)))

    monkeypatch.setattr(runtime.celery, "send_task", send_task)
    headers = office.bridge.headers("admin") | {"Idempotency-Key": key}
    answer = office.bridge.client.post(path, json=body, headers=headers)
    assert answer.status_code in (201, 202), answer.json
    assert [seen for name, seen in found if name.startswith("operator_bridge.")] == [1]


def test_waking_without_a_broker_is_no_failure_and_keeps_nobody_waiting(bridge: ServiceUnderTest) -> None:
    deaf = Runtime(dataclasses.replace(bridge.settings, redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    began = time.monotonic()
    for _ in range(5):
        wakeups.wake(deaf, "operator_bridge.apply")
    assert time.monotonic() - began < 5.0


def test_one_worker_at_a_time_pushes_to_a_contract(runtime: Runtime, office: Office) -> None:
    contract = office.contract()
    office.issue()
    with leases.alone(runtime, f"push:{contract}") as first:
        assert first
        tasks.push(str(contract))
        assert office.orders() == {"pending": 1}
    tasks.push(str(contract))
    assert office.orders() == {"accepted": 1}


def test_what_is_due_is_found_whatever_became_of_the_messages(runtime: Runtime, office: Office) -> None:
    contract = office.contract()
    office.issue()
    runtime.redis.flushall()
    tasks.wake_pushes()
    assert waiting(runtime) == 1
    tasks.push(str(contract))
    runtime.redis.flushall()
    tasks.wake_pushes()
    assert waiting(runtime) == 0


def test_a_push_that_has_not_done_with_it_all_wakes_the_next(runtime: Runtime, office: Office) -> None:
    contract = office.contract()
    office.affiliate(contract)
    cheques = office.issue()
    office.redeem(cheques)
    runtime.redis.flushall()
    tasks.push(str(contract))
    assert office.orders() == {"accepted": 3}
    assert waiting(runtime) == 0


def test_unknown_orders_have_the_statement_read(runtime: Runtime, office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue()
    runtime.redis.flushall()
    tasks.repair()
    assert waiting(runtime) == 0
    simulator.faults.order("error", 1, 0)
    office.push(contract)
    tasks.repair()
    assert waiting(runtime) == 1
    tasks.poll(str(contract))
    tasks.poll_all()
    assert waiting(runtime) == 2


def test_a_statement_that_cannot_be_had_is_no_failure_of_the_task(
    runtime: Runtime, office: Office, simulator: Simulator
) -> None:
    contract = office.contract()
    simulator.faults.order("error", 1, 0)
    tasks.poll(str(contract))


def test_a_comparison_that_ended_wakes_those_that_found_it_at_work(runtime: Runtime, office: Office) -> None:
    contracts = office.contract(), office.contract(code="other")
    with runtime.transaction() as session:
        first, second = (runs.request(session, contract).reconciliation_id for contract in contracts)
    with leases.alone(runtime, "reconcile"):
        tasks.reconcile(str(second))
    runtime.redis.flushall()
    tasks.reconcile(str(first))
    (message,) = cast(Any, runtime.redis.lrange(LONG_QUEUES[QUEUE], 0, -1))
    assert str(second) in json.loads(message)["headers"]["argsrepr"]
    tasks.reconcile(str(second))
    assert office.rows("SELECT state FROM reconciliation") == [("done",), ("done",)]


def test_every_tick_is_a_task_of_this_service(runtime: Runtime) -> None:
    for entry in BEAT.values():
        assert entry["task"] in runtime.celery.tasks
        queue = runtime.celery.amqp.router.route({}, entry["task"])["queue"]
        assert queue.name in (QUEUE, LONG_QUEUES[QUEUE])
