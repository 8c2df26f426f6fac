"""The doorbell: wakes the readers of a log when there are new events.

A ring that is lost loses nothing, as the sweep rings again. So one thread per process rings: no caller waits for the
broker, or notices that it is down. Rings are coalesced twice: in the process, and in Redis by one key per reader,
which the reader deletes before it pulls.
"""

import importlib
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import redis
from kombu.exceptions import OperationalError

from shared.observability import logs, tracing
from shared.observability.logs import logger

# A ring whose task was lost must not silence the next ones for longer than a sweep would take.
_SILENCE_SECONDS = 5
_PAUSE_AFTER_FAILURE_SECONDS = 1.0
# Under load there are always new events: without a rest this thread would take a seventh of the process.
_REST_SECONDS = 0.02


@cache
def failures() -> Any:
    # Not imported above: the web server says where its processes count before prometheus_client is imported.
    return importlib.import_module("prometheus_client").Counter(
        "souche_doorbell_failures", "Rings that an unforeseen error ended: the log has it.", ("service",)
    )


class Doorbell:
    """Rings for the readers of one service's log."""

    def __init__(
        self, publisher: str, readers: Sequence[str], store: redis.Redis, send: Callable[[str, str], None]
    ) -> None:
        self._publisher = publisher
        self._readers = readers
        self._store = store
        self._send = send
        self._wanted = threading.Event()
        self._cause: str | None = None
        self._trace: Any = None
        self._ringer: threading.Thread | None = None
        self._starting = threading.Lock()

    def ring(self) -> None:
        """Rings the readers for events of this request; returns at once."""
        self._cause, self._trace = logs.current_request_id(), tracing.context()
        self._wanted.set()
        if self._ringer is None:
            with self._starting:
                if self._ringer is None:
                    self._ringer = threading.Thread(target=self._run, name="doorbell", daemon=True)
                    self._ringer.start()

    def answer(self, publisher: str) -> None:
        """Called by a reader before it pulls: what is published from now on rings again."""
        try:
            self._store.delete(_key(publisher, self._publisher))
        except redis.RedisError as error:
            logger().warning("doorbell_unanswered", error=type(error).__name__)

    def _run(self) -> None:
        pause = threading.Event()
        while self._wanted.wait():
            self._wanted.clear()
            try:
                with logs.caused_by(self._cause), tracing.resumed(self._trace):
                    self._ring_all()
                pause.wait(_REST_SECONDS)
            except (redis.RedisError, OperationalError, OSError) as error:
                logger().warning("doorbell_unheard", error=type(error).__name__)
                pause.wait(_PAUSE_AFTER_FAILURE_SECONDS)
            except Exception:
                # Nobody starts this thread again: it goes on, whatever the error was.
                logger().exception("doorbell_failed")
                failures().labels(self._publisher).inc()
                pause.wait(_PAUSE_AFTER_FAILURE_SECONDS)

    def _ring_all(self) -> None:
        for reader in self._readers:
            if self._store.set(_key(self._publisher, reader), 1, nx=True, ex=_SILENCE_SECONDS):
                self._send(reader, self._publisher)


def _key(publisher: str, reader: str) -> str:
    return f"souche:bell:{publisher}:{reader}"
