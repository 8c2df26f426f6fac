"""Which queues the workers take from."""

import importlib
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner

from shared.observability import logs
from shared.process.celery import LONG_TASKS
from shared.settings.settings import SERVICES
from souche.commands import recall, worker


@pytest.mark.parametrize(
    ("options", "queues", "name"),
    [
        ([], "redeemer,redeemer.long", "redeemer"),
        (["--jobs", "short"], "redeemer", "redeemer"),
        (["--jobs", "long"], "redeemer.long", "redeemer.long"),
    ],
)
def test_a_worker_takes_from_the_queues_of_its_jobs(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, options: list[str], queues: str, name: str
) -> None:
    for setting, value in environ.items():
        monkeypatch.setenv(setting, value)
    begun: list[str] = []
    monkeypatch.setattr(Celery, "worker_main", lambda self, arguments: begun.extend(arguments))
    monkeypatch.setattr(Celery, "set_current", lambda self: None)
    monkeypatch.setattr(logs, "configure", lambda *settings: None)
    monkeypatch.setattr(recall, "before_work", lambda settings: None)
    done = CliRunner().invoke(worker.worker, ["redeemer", *options])
    assert done.exit_code == 0, done.output
    assert f"--queues={queues}" in begun
    assert f"--hostname={name}@%h" in begun


def test_every_long_job_is_a_task_of_its_service() -> None:
    tasks: dict[str, Any] = {}
    for service in SERVICES:
        tasks |= vars(importlib.import_module(f"services.{service}.tasks"))
    assert {task.name for task in tasks.values() if hasattr(task, "delay")} >= LONG_TASKS
