"""Tasks that ran into their time limit: logged, and counted in Redis, where the web servers find the counts."""

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
    """A task in hand; the parent of the process that works on it watches its soft time limit."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Called at the soft limit, and again at the hard one where the task did not end."""
        if soft:
            logger().error("task_timed_out", task=self.name, task_id=self.id, seconds=timeout)
            runtime: Runtime = cast("App", self.app).runtime
            try:
                runtime.redis.hincrby(_key(runtime), self.name, 1)
            except redis.RedisError as error:
                logger().warning("timeout_not_counted", task=self.name, error=type(error).__name__)
        super().on_timeout(soft, timeout)


class TimedTask(Task[Any, Any]):
    """A task that is counted where it runs into its time limit."""

    abstract = True
    Request = f"{__name__}:{TimedRequest.__name__}"


def counts(runtime: "Runtime") -> Mapping[str, int]:
    """How often each task of the service ran into its time limit; raises RedisError."""
    found = cast(Mapping[bytes, bytes], runtime.redis.hgetall(_key(runtime)))
    return {task.decode(): int(number) for task, number in found.items()}


def _key(runtime: "Runtime") -> str:
    return f"souche:timed_out:{runtime.settings.service}"
