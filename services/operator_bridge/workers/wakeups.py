"""Waking this service's own worker: a task that says there is work, once however often it is woken.

Waking never fails and loses nothing that counts: what there is to do is in PostgreSQL, and beat looks for it too.
"""

from contextlib import suppress
from functools import partial

import redis
from kombu.exceptions import OperationalError
from sqlalchemy.orm import Session

from shared.database.engine import after_commit
from shared.observability.logs import logger
from shared.process.runtime import Runtime

# A task that was lost must not keep its work asleep for longer than this.
_SILENCE_SECONDS = 10


def wake(runtime: Runtime, task: str, *args: str) -> None:
    """Sends a task of this service, unless the same is waiting to be taken up."""
    try:
        if runtime.redis.set(_key(task, args), 1, nx=True, ex=_SILENCE_SECONDS):
            runtime.celery.send_task(task, args=args)
    except (redis.RedisError, OperationalError, OSError) as error:
        logger().warning("wake_unheard", task=task, error=type(error).__name__)


def wake_after_commit(session: Session, runtime: Runtime, task: str, *args: str) -> None:
    """Sends a task once the transaction is committed, as before that its worker would find nothing."""
    after_commit(session, partial(wake, runtime, task, *args))


def acknowledge(runtime: Runtime, task: str, *args: str) -> None:
    """Called by a task before it looks for its work: what comes from now on wakes it again."""
    with suppress(redis.RedisError):
        runtime.redis.delete(_key(task, args))


def _key(task: str, args: tuple[str, ...]) -> str:
    return ":".join(("souche:wake", task, *args))
