"""The redeemer's Celery tasks: each rings a use case, and may be lost or come twice."""

from celery import shared_task

from services.redeemer.cheques import expiring
from services.redeemer.inbox import HANDLERS
from services.redeemer.payments import closing
from services.redeemer.redemptions import lockout
from shared.audit import hash_chain
from shared.process import slices, table_retention
from shared.process.celery import every
from shared.process.runtime import runtime


@shared_task(name="redeemer.pull")
def pull(publisher: str) -> None:
    """Applies the news of another service."""
    runtime().pull(publisher, HANDLERS)


@shared_task(name="redeemer.expire")
def expire() -> None:
    """Expires the cheques that may no longer be presented."""
    _, unfinished = expiring.expire(runtime(), seconds=slices.SECONDS)
    if unfinished:
        expire.delay()


@shared_task(name="redeemer.issue_statements")
def issue_statements() -> None:
    """Issues last month's statements when it is time, then settles those whose credits cover what is due."""
    if closing.close_last_month(runtime()):
        issue_statements.delay()


@shared_task(name="redeemer.forget_guesses")
def forget_guesses() -> None:
    """Forgets who tried codes in vain, a week later."""
    lockout.forget(runtime())


@shared_task(name="redeemer.prune_tables")
def prune_tables() -> None:
    """Deletes old answers and the ids of old events; what is left is deleted an hour later."""
    table_retention.prune(runtime())


@shared_task(name="redeemer.chain_audit")
def chain_audit() -> None:
    """Chains what was added to the audit trail, and writes its head to the log."""
    hash_chain.tend(runtime().engine, runtime().settings.service)


BEAT = {
    "expire": every(3600, "redeemer.expire"),
    "issue statements": every(3600, "redeemer.issue_statements"),
    "forget guesses": every(3600, "redeemer.forget_guesses"),
    "prune tables": every(3600, "redeemer.prune_tables"),
    "chain audit": every(30, "redeemer.chain_audit"),
}
