"""Tasks that ran into their time limit: each is logged, and counted in Redis, where the web servers find the counts.

Whoever empties Redis has them counted from 0 again, as a counter of Prometheus may.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import redis
from celery import Task
from celery.worker.request import Request

from shared.observability.logs import logger

if TYPE_CHECKING:
    from shared.process.celery import App
    from shared.process.runtime import Runtime


class TimedRequest(Request):
    """A task in hand, whose soft time limit is watched by the parent of the process that works on it."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Called at the soft limit, and again at the hard one where the task did not end."""
        if soft:
            logger().error("task_timed_out", task=self.name, task_id=self.id, seconds=timeout)
            _count(cast("App", self.app).runtime, self.name)
        super().on_timeout(soft, timeout)


class TimedTask(Task[Any, Any]):
    """A task that is counted where it runs into its time limit."""

    abstract = True
    Request = f"{__name__}:{TimedRequest.__name__}"


def _count(runtime: "Runtime", task: str) -> None:
    try:
        runtime.redis.hincrby(_key(runtime), task, 1)
    except redis.RedisError as error:
        logger().warning("timeout_not_counted", task=task, error=type(error).__name__)


def counts(runtime: "Runtime") -> Mapping[str, int]:
    """How often each task of the service ran into its time limit; raises RedisError."""
    found = cast(Mapping[bytes, bytes], runtime.redis.hgetall(_key(runtime)))
    return {task.decode(): int(number) for task, number in found.items()}


def _key(runtime: "Runtime") -> str:
    return f"souche:timed_out:{runtime.settings.service}"
