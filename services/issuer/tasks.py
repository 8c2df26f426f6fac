"""The issuer's work outside requests."""

from uuid import UUID

from celery import shared_task

from services.issuer.inbox import HANDLERS
from services.issuer.lifecycle import expiry
from services.issuer.privacy import retention
from shared.audit import hash_chain
from shared.process import slices, table_retention
from shared.process.celery import every
from shared.process.runtime import runtime

# Once a day would do, but a day begins anew whenever the clock is restarted; twice posts nothing twice.
BEAT = {
    "warn of expiry": every(3600, "issuer.warn_of_expiry"),
    "forget people": every(3600, "issuer.forget_people"),
    "prune tables": every(3600, "issuer.prune_tables"),
    "chain audit": every(30, "issuer.chain_audit"),
}


@shared_task(name="issuer.pull")
def pull(publisher: str) -> None:
    """Applies the news of another service."""
    runtime().pull(publisher, HANDLERS)


@shared_task(name="issuer.warn_of_expiry")
def warn_of_expiry(place: str | None = None) -> None:
    """Posts the warnings of what will expire soon; where they are very many, the next task goes on."""
    start = expiry.Place.read(place) if place else None
    _, rest = expiry.warn(runtime(), start=start, seconds=slices.SECONDS)
    if rest:
        warn_of_expiry.delay(str(rest))


@shared_task(name="issuer.forget_people")
def forget_people(after: str = str(UUID(int=0))) -> None:
    """Forgets people whom their programmes have kept long enough; where they are very many, the next task goes on."""
    done = retention.run(runtime(), "beat", after=UUID(after))
    if done.rest:
        forget_people.delay(str(done.rest))


@shared_task(name="issuer.prune_tables")
def prune_tables() -> None:
    """Deletes old answers and the ids of old events; what is left is deleted an hour later."""
    table_retention.prune(runtime())


@shared_task(name="issuer.chain_audit")
def chain_audit() -> None:
    """Chains what was added to the audit trail, and writes its head to the log."""
    hash_chain.tend(runtime().engine, runtime().settings.service)
