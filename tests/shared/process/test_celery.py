"""Which queue a task waits in, and what becomes of one that runs into its time limit."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis

from demo.stack import children
from shared.process import celery, timeouts
from shared.process.runtime import Runtime
from shared.settings.settings import load
from tests.faults.town import eventually
from tests.shared.process import napping
from tests.shared.process.napping import NAP, QUEUE

ROOT = Path(__file__).parents[3]


def waits_in(environ: Mapping[str, str], task: str) -> str:
    """The queue into which each service's application sends a task."""
    apps = [celery.create(load(service, environ)) for service in ("issuer", "redeemer")]
    [queue] = {app.amqp.router.route({}, task)["queue"].name for app in apps}
    return str(queue)


@pytest.mark.parametrize("task", sorted(celery.LONG_TASKS))
def test_a_long_job_waits_in_a_queue_of_its_own(environ: Mapping[str, str], task: str) -> None:
    assert waits_in(environ, task) == f"{task.partition('.')[0]}.long"


@pytest.mark.parametrize("task", ["issuer.pull", "redeemer.pull", "operator_bridge.push", "operator_bridge.apply"])
def test_other_tasks_wait_in_the_queue_of_their_service(environ: Mapping[str, str], task: str) -> None:
    assert waits_in(environ, task) == task.partition(".")[0]


@pytest.fixture
def worker(environ: Mapping[str, str], tmp_path: Path) -> Iterator[Path]:
    """The log of a worker."""
    command, log = [sys.executable, "-m", napping.__name__], tmp_path / "worker.log"
    process: subprocess.Popen[bytes] = children.spawn(command, log=log, env=os.environ | environ, cwd=ROOT)
    yield log
    children.kill(process)


@pytest.mark.slow
def test_a_task_that_ran_into_its_time_limit_is_counted_and_logged(environ: Mapping[str, str], worker: Path) -> None:
    runtime = Runtime(load(QUEUE, environ))
    assert timeouts.counts(runtime) == {}
    for seconds in (0.0, 30.0):
        runtime.celery.send_task(NAP, (str(worker.with_name("begun")), seconds), soft_time_limit=1)
    assert eventually(lambda: timeouts.counts(runtime) == {NAP: 1}, 30)
    assert "task_timed_out" in worker.read_text(encoding="utf-8")


def test_counts_that_cannot_be_had_are_an_error_of_redis(environ: Mapping[str, str]) -> None:
    away = {**environ, "REDIS_URL": "redis://127.0.0.1:1/0", "BROKER_URL": "redis://127.0.0.1:1/0"}
    with pytest.raises(redis.RedisError):
        timeouts.counts(Runtime(load(QUEUE, away)))
