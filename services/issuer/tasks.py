"""The issuer's work outside requests."""

from celery import shared_task

from services.issuer import expiring_soon, retention
from services.issuer.consuming import HANDLERS
from shared.celery import every, runtime

# Once a day would do, but a day begins anew whenever the clock is restarted; twice posts nothing twice.
BEAT = {
    "warn of expiry": every(3600, "issuer.warn_of_expiry"),
    "forget people": every(3600, "issuer.forget_people"),
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
