"""The bridge's tasks: each signals that there is work, and a use case finds it in PostgreSQL."""

from collections.abc import Callable, Iterable
from uuid import UUID

from celery import shared_task
from sqlalchemy.orm import Session

from services.operator_bridge.contracts import lifecycle, linking
from services.operator_bridge.inbound import statement_polling, webhook_inbox
from services.operator_bridge.inbound.consuming import HANDLERS
from services.operator_bridge.orders import queue, sending
from services.operator_bridge.reconciliation import balances
from services.operator_bridge.reconciliation import runs as reconciling
from services.operator_bridge.switching import switchover
from services.operator_bridge.workers import leases, wakeups
from shared.audit import hash_chain
from shared.process import table_retention
from shared.process.celery import every
from shared.process.runtime import runtime
from shared.values import clock

# The time for which one task sends or links, well under the time limit; the next task does the rest.
_SLICE_SECONDS = 15.0


@shared_task(name="operator_bridge.pull")
def pull(publisher: str) -> None:
    """Applies the events of another service, and sends the orders that follow from them."""
    if runtime().pull(publisher, HANDLERS):
        wake_pushes()


@shared_task(name="operator_bridge.wake_pushes")
def wake_pushes() -> None:
    """Wakes a push for every contract with orders to send, after what dead workers left was swept up."""
    with runtime().transaction() as session:
        queue.sweep(session)
        lifecycle.hold_new(session)
    _wake_all("operator_bridge.push", queue.contracts_due)


@shared_task(name="operator_bridge.push")
def push(contract_id: str) -> None:
    """Sends the orders of one contract, unless another worker does: one is enough, and others have other work."""
    wakeups.acknowledge(runtime(), "operator_bridge.push", contract_id)
    with leases.alone(runtime(), f"push:{contract_id}") as first:
        if first:
            sending.push(runtime(), UUID(contract_id), _SLICE_SECONDS)
    if first:
        wake_pushes()  # what came after the last look and before the lock was let go, or was too much for one task


@shared_task(name="operator_bridge.link")
def link(contract_id: str) -> None:
    """Links a contract's programme for a while, unless another worker does; the next task goes on."""
    wakeups.acknowledge(runtime(), "operator_bridge.link", contract_id)
    with leases.alone(runtime(), f"link:{contract_id}") as first:
        finished = not first or linking.link(runtime(), UUID(contract_id), _SLICE_SECONDS)
    if not finished:
        wakeups.wake(runtime(), "operator_bridge.link", contract_id)
    wake_pushes()


@shared_task(name="operator_bridge.link_all")
def link_all() -> None:
    """Goes on with the linking of programmes that was left unfinished."""
    _wake_all("operator_bridge.link", linking.unfinished)


@shared_task(name="operator_bridge.apply")
def apply() -> None:
    """Applies the messages that wait."""
    wakeups.acknowledge(runtime(), "operator_bridge.apply")
    webhook_inbox.apply_waiting(runtime())


@shared_task(name="operator_bridge.prune_messages")
def prune_messages() -> None:
    """Deletes applied messages that are older than they are to be kept; what is left is deleted an hour later."""
    webhook_inbox.prune(runtime())


@shared_task(name="operator_bridge.poll", soft_time_limit=240, time_limit=270)
def poll(contract_id: str) -> None:
    """Reads one contract's statement, unless another process does."""
    wakeups.acknowledge(runtime(), "operator_bridge.poll", contract_id)
    statement_polling.try_poll(runtime(), UUID(contract_id))


@shared_task(name="operator_bridge.poll_all")
def poll_all() -> None:
    """Wakes the reading of every statement."""
    _wake_all("operator_bridge.poll", statement_polling.contracts_to_poll)


@shared_task(name="operator_bridge.repair")
def repair() -> None:
    """Wakes the reading of the statements that show the outcome of unanswered orders."""
    _wake_all("operator_bridge.poll", statement_polling.contracts_to_repair)


# Longer than other tasks may take: a statement of millions is streamed. A message that is delivered again meanwhile
# finds the lease taken and ends.
@shared_task(name="operator_bridge.reconcile", soft_time_limit=3000, time_limit=3300)
def reconcile(reconciliation_id: str) -> None:
    """Compares one contract's statement with our register and has policy settle what is safe."""
    wakeups.acknowledge(runtime(), "operator_bridge.reconcile", reconciliation_id)
    if reconciling.run(runtime(), UUID(reconciliation_id)):
        _wake_all("operator_bridge.reconcile", reconciling.due)
    wake_pushes()


@shared_task(name="operator_bridge.reconcile_due")
def reconcile_due() -> None:
    """Requests the night's runs, wakes those that are due, and keeps the day's balance after them."""
    with runtime().transaction() as session:
        reconciling.request_nightly(session, clock.now())
    # The first that is taken up runs, the others find it at work and are woken when it ends.
    _wake_all("operator_bridge.reconcile", reconciling.due)
    balances.keep_if_due(runtime())


@shared_task(name="operator_bridge.switch", soft_time_limit=240, time_limit=270)
def switch(switch_id: str) -> None:
    """Takes one switch on as far as it goes now."""
    wakeups.acknowledge(runtime(), "operator_bridge.switch", switch_id)
    with leases.alone(runtime(), f"switch:{switch_id}") as first:
        if first:
            switchover.advance(runtime(), UUID(switch_id))
    wake_pushes()


@shared_task(name="operator_bridge.switch_all")
def switch_all() -> None:
    """Wakes every switch that is not done."""
    _wake_all("operator_bridge.switch", switchover.running)


@shared_task(name="operator_bridge.prune_tables")
def prune_tables() -> None:
    """Deletes old answers and the ids of old events; what is left is deleted an hour later."""
    table_retention.prune(runtime())


@shared_task(name="operator_bridge.chain_audit")
def chain_audit() -> None:
    """Chains what was added to the audit trail, and writes its head to the log."""
    hash_chain.tend(runtime().engine, runtime().settings.service)


def _wake_all(task: str, find: Callable[[Session], Iterable[UUID]]) -> None:
    """Wakes a task for everything that has work for it."""
    with runtime().transaction() as session:
        found = find(session)
    for subject in found:
        wakeups.wake(runtime(), task, str(subject))


BEAT = {
    "take switches on": every(2, "operator_bridge.switch_all"),
    "wake pushes": every(5, "operator_bridge.wake_pushes"),
    "link programmes": every(5, "operator_bridge.link_all"),
    "apply messages": every(5, "operator_bridge.apply"),
    "repair unknown orders": every(10, "operator_bridge.repair"),
    "read statements": every(3600, "operator_bridge.poll_all"),
    # Often, and once a night by what PostgreSQL has: a tick that is lost at its hour would lose the night.
    "reconcile": every(300, "operator_bridge.reconcile_due"),
    "prune messages": every(3600, "operator_bridge.prune_messages"),
    "prune tables": every(3600, "operator_bridge.prune_tables"),
    "chain audit": every(30, "operator_bridge.chain_audit"),
}
