"""A worker with one task, which takes its time."""

import time
from pathlib import Path

from celery import shared_task

from shared.process.runtime import Runtime
from shared.settings.settings import load

QUEUE = "redeemer"
NAP = "redeemer.nap"


@shared_task(name=NAP)
def nap(begun: str, seconds: float) -> None:
    """Leaves a file when it begins."""
    Path(begun).touch()
    time.sleep(seconds)


if __name__ == "__main__":
    app = Runtime(load(QUEUE)).celery
    app.set_current()
    app.worker_main(["worker", f"--queues={QUEUE}", "--concurrency=2", "--without-gossip", "--without-mingle"])
