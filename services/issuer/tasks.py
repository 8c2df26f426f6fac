"""The issuer's work outside requests."""

from celery import shared_task

from services.issuer import expiring_soon, retention
from services.issuer.consuming import HANDLERS
from shared import audit_chain
from shared.celery import every, runtime

# Once a day would do, but a day begins anew whenever the clock is restarted; twice posts nothing twice.
BEAT = {
    "warn of expiry": every(3600, "issuer.warn_of_expiry"),
    "forget people": every(3600, "issuer.forget_people"),
    "chain audit": every(30, "issuer.chain_audit"),
}


@shared_task(name="issuer.pull")
def pull(publisher: str) -> None:
    """Applies the news of another service."""
    runtime().pull(publisher, HANDLERS)


@shared_task(name="issuer.warn_of_expiry")
def warn_of_expiry() -> None:
    """Posts the warnings of what will expire soon."""
    expiring_soon.warn(runtime())


@shared_task(name="issuer.forget_people")
def forget_people() -> None:
    """Forgets the people whom their programmes have kept long enough."""
    retention.run(runtime(), "beat")


@shared_task(name="issuer.chain_audit")
def chain_audit() -> None:
    """Chains what was added to the audit trail, and writes its head to the log."""
    audit_chain.tend(runtime().engine, runtime().settings.service)
