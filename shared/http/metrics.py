"""Metrics for Prometheus: are we losing money, are we late, is the operator ill.

Counters and the histogram of requests are each process's own. The gauges are of the service's tables, so all processes
answer the same sooner or later: take the `max`. Labels hold states, reasons and names of programmes, contracts and
routes; never a code, a person or an id.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import redis
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from shared.access.tokens import ends_at
from shared.database import engine as db
from shared.observability.gauges import KEPT_SECONDS, Gauge, Tables, family
from shared.process import broker_status, timeouts
from shared.process.broker_status import BrokerDown
from shared.process.runtime import Runtime

# How long an answer waits for values that are being read; after it, it has the older ones.
_PATIENCE_SECONDS = 3.0

REQUESTS = Histogram(
    "souche_request_seconds",
    "Time from a request's arrival to its answer.",
    ("service", "method", "route", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REFUSALS = Counter(
    "souche_refusals",
    "Refused requests by their problem, cheques refused at a till by their reason.",
    ("service", "reason"),
)


# What every service has: its own log, and how far it has read those of the others.
_COMMON = (
    Gauge(
        "souche_log_events", "Events in the log of this service.", (),
        "SELECT coalesce(max(position), 0) FROM event",
    ),
    Gauge(
        "souche_log_unnumbered_events", "Events that no reader can see yet.", (),
        "SELECT count(*) FROM event WHERE position IS NULL",
    ),
    Gauge(
        "souche_log_read", "Events of another log that were read.", ("publisher",),
        "SELECT publisher, position FROM cursor",
    ),
    Gauge(
        "souche_event_lag_seconds",
        "From an event's happening to its effect here: of a hundred of the last five minutes, the slowest but one.",
        ("publisher",),
        """SELECT publisher, percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM applied_at - occurred_at))
           FROM applied_event WHERE applied_at > now() - interval '5 minutes' GROUP BY publisher""",
    ),
    Gauge(
        "souche_parked_events", "Events that wait for their cheque to be known.", ("kind",),
        "SELECT kind, count(*) FROM parked_event GROUP BY kind",
    ),
)  # fmt: skip


class Metrics(Collector):
    """The metrics of one application; it collects the gauges of tables, queues, tasks that timed out and the token."""

    def __init__(self, runtime: Runtime, own: Sequence[Gauge]) -> None:
        self._runtime = runtime
        settings = runtime.settings
        # An engine of its own: the pool has as many connections as threads that serve.
        connect = partial(db.connect, settings.database_url, settings.service, 1)
        self._tables = Tables(connect, settings.service, (*_COMMON, *own))
        self._queues_kept: list[Metric] = []
        self._queues_due = 0.0
        self._starting = threading.Lock()
        self._reader: threading.Thread | None = None

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        registry = CollectorRegistry()
        registry.register(self)
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(registry) + generate_latest(REGISTRY)

    def collect(self) -> Iterable[Metric]:
        """The gauges as they were last read; those that are due are read now, and waited for a little."""
        self._read_beside().join(_PATIENCE_SECONDS)
        return [*self._tables.families(), *self._queues_kept, self._service_token()]

    def _read_beside(self) -> threading.Thread:
        """The thread that reads what is due: one at a time, whoever asks."""
        with self._starting:
            if self._reader is None or not self._reader.is_alive():
                self._reader = threading.Thread(target=self._read, name="gauges", daemon=True)
                self._reader.start()
            return self._reader

    def _read(self) -> None:
        self._tables.read_due()
        if time.monotonic() > self._queues_due:
            self._queues_kept = [*self._queues(), *self._timeouts()]
            self._queues_due = time.monotonic() + KEPT_SECONDS

    def _service_token(self) -> Metric:
        settings = self._runtime.settings
        return family(
            "souche_service_token_ends_seconds",
            "When the token with which this service calls the others ends, in seconds since 1970.",
            ("service",),
            [((settings.service,), ends_at(settings.service_token))],
        )

    def _timeouts(self) -> Iterator[Metric]:
        with suppress(redis.RedisError):
            service, counts = self._runtime.settings.service, timeouts.counts(self._runtime)
            yield family(
                "souche_tasks_timed_out",
                "Tasks that ran into their time limit since Redis was last emptied.",
                ("service", "task"),
                [((service, task), number) for task, number in counts.items()],
                CounterMetricFamily,
            )

    def _queues(self) -> Iterator[Metric]:
        with suppress(BrokerDown):
            samples = [((queue,), waiting) for queue, waiting in broker_status.waiting(self._runtime).items()]
            yield family("souche_queue_tasks", "Tasks that wait for a worker.", ("queue",), samples)
