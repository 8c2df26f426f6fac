"""The redeemer's Celery tasks: each rings a use case, and may be lost or come twice."""

from celery import shared_task

from services.redeemer import expiring
from services.redeemer.consuming import HANDLERS
from shared.celery import every, runtime


@shared_task(name="redeemer.pull")
def pull(publisher: str) -> None:
    """Applies the news of another service."""
    runtime().pull(publisher, HANDLERS)


@shared_task(name="redeemer.expire")
def expire() -> None:
    """Expires what may no longer be presented."""
    expiring.expire(runtime())


BEAT = {"expire": every(3600, "redeemer.expire")}
