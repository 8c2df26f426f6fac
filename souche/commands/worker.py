"""`souche worker` and `souche beat`: the processes that run background tasks."""

import gc
import importlib
from typing import Any

import click
from celery import beat as celery_beat
from celery import signals

from shared.observability import logs, tracing
from shared.process.celery import LONG_QUEUES, sweeps
from shared.process.runtime import Runtime
from shared.settings.settings import SERVICES, load
from souche.commands import health, recall


@click.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.option("--concurrency", type=click.IntRange(1), default=2, show_default=True, help="Tasks at once.")
@click.option(
    "--jobs",
    type=click.Choice(("all", "short", "long")),
    default="all",
    show_default=True,
    help="Run a worker for the short jobs and one for the long ones, and no short job waits behind long ones.",
)
def worker(service: str, concurrency: int, jobs: str) -> None:
    """Run the Celery worker of SERVICE: it takes from the queues of that service, and from no other."""
    runtime = _runtime(service)
    recall.before_work(runtime.settings)
    runtime.celery.set_current()
    importlib.import_module(f"services.{service}.tasks")
    # Each child traces after its fork: the thread that sends spans does not survive one.
    signals.worker_process_init.connect(lambda **_: tracing.begin(runtime.settings), weak=False)
    signals.worker_process_shutdown.connect(lambda **_: tracing.end(), weak=False)
    # The worker's own loop sends this every two seconds, as long as it runs and the broker takes it.
    signals.heartbeat_sent.connect(lambda **_: health.beat(), weak=False)
    gc.freeze()  # what is loaded by now stays: the children need not search it for garbage (see `serve.py`)
    queues = {"short": [service], "long": [LONG_QUEUES[service]]}.get(jobs, [service, LONG_QUEUES[service]])
    runtime.celery.worker_main(
        [
            "worker",
            f"--queues={','.join(queues)}",
            f"--concurrency={concurrency}",
            f"--hostname={LONG_QUEUES[service] if jobs == 'long' else service}@%h",
            f"--loglevel={runtime.settings.log_level}",
            "--without-gossip",
            "--without-mingle",
        ]
    )


@click.command()
def beat() -> None:
    """Run the clock of all three services; a second one does no harm, as every tick may come twice."""
    runtime = _runtime("operator_bridge")  # beat needs the broker's address and no secret: this service holds no keys
    runtime.celery.conf.beat_schedule = _schedule(runtime)
    runtime.celery.conf.beat_scheduler = Clock
    runtime.celery.Beat(loglevel=runtime.settings.log_level, quiet=True).run()


class Clock(celery_beat.Scheduler):
    """Beat's scheduler, which keeps its schedule in memory and shows that it ticks."""

    max_interval = 10  # seconds: however far the next tick is, beat comes round this often, and is seen to live

    def tick(self, *args: Any, **options: Any) -> float:
        """Sends what is due, and says in how many seconds to come back."""
        pause: float = super().tick(*args, **options)
        health.beat()
        return pause


def _runtime(service: str) -> Runtime:
    settings = load(service)
    logs.configure(service, settings.log_level)
    return Runtime(settings)


def _schedule(runtime: Runtime) -> dict[str, Any]:
    entries = dict(sweeps(runtime.settings))
    for service in SERVICES:
        own = importlib.import_module(f"services.{service}.tasks").BEAT
        entries |= {f"{service}: {name}": entry for name, entry in own.items()}
    return entries
