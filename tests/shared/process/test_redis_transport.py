"""A real worker, whose Redis is killed and started again while it has a task in hand."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from demo.stack import children
from demo.stack.embedded import EmbeddedRedis
from shared.process import celery
from shared.settings.settings import load
from tests.faults.town import eventually
from tests.shared.process import napping
from tests.shared.process.napping import NAP, QUEUE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis.start(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def settings(environ: Mapping[str, str], broker: EmbeddedRedis) -> dict[str, str]:
    return {**environ, "REDIS_URL": broker.url, "BROKER_URL": broker.url}


@pytest.fixture
def worker(settings: Mapping[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", napping.__name__]
    process = children.spawn(command, log=tmp_path / "worker.log", env=os.environ | settings, cwd=ROOT)
    yield process
    children.kill(process)


@pytest.mark.slow
def test_a_worker_with_a_task_in_hand_outlives_its_broker(
    settings: Mapping[str, str], broker: EmbeddedRedis, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Once with a task that goes on for long, then with tasks that end while nobody hears of it."""
    app = celery.create(load(QUEUE, settings))
    for number, seconds in enumerate((30.0, 0.12, 0.12)):
        begun = tmp_path / f"nap-{number}"
        app.send_task(NAP, (str(begun), seconds), queue=QUEUE)
        assert eventually(begun.exists, 30)
        time.sleep(0.1)
        broker.kill()
        time.sleep(1)
        broker.process = EmbeddedRedis.start(broker.directory, broker.port).process
    after = tmp_path / "nap-after"
    app.send_task(NAP, (str(after), 0.0), queue=QUEUE)
    assert eventually(after.exists, 30)
    assert worker.poll() is None
