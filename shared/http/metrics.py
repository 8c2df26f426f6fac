"""Metrics for Prometheus: are we losing money, are we late, is the operator ill.

Counters and the histogram of requests are each process's own. The gauges are read from the service's tables when they
are asked for (`shared.observability.gauges`). Whichever process answers, it gives the same values sooner or later: take
the `max` of them.
Labels hold states, reasons and names of programmes, contracts and routes; never a code, a person or an id.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import redis
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from shared.access.tokens import ends_at
from shared.database import engine as db
from shared.observability.gauges import KEPT_SECONDS, Gauge, Tables
from shared.process import broker_status, timeouts
from shared.process.broker_status import BrokerDown
from shared.process.runtime import Runtime

# So long one who asks waits for what is being read, and then gets what there is.
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
        "souche_log_events", "Events in the log of this service.", (), "SELECT coalesce(max(position), 0) FROM event"
    ),
    Gauge(
        "souche_log_unnumbered_events",
        "Events that no reader can see yet.",
        (),
        "SELECT count(*) FROM event WHERE position IS NULL",
    ),
    Gauge(
        "souche_log_read",
        "Events of another log that were read.",
        ("publisher",),
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
        "souche_parked_events",
        "Events that wait for their cheque to be known.",
        ("kind",),
        "SELECT kind, count(*) FROM parked_event GROUP BY kind",
    ),
)


class Gauges(Collector):
    """The gauges of one service: of its tables, its token, the broker's queues and the tasks that timed out."""

    def __init__(self, runtime: Runtime, own: Sequence[Gauge]) -> None:
        self._runtime = runtime
        settings = runtime.settings
        # Not of the pool, whose connections are as many as the threads that serve.
        connect = partial(db.connect, settings.database_url, settings.service, 1)
        self._tables = Tables(connect, settings.service, (*_COMMON, *own))
        self._queues_kept: list[Metric] = []
        self._queues_due = 0.0
        self._starting = threading.Lock()
        self._reader: threading.Thread | None = None

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

    def _service_token(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "souche_service_token_ends_seconds",
            "When the token with which this service calls the others ends, in seconds since 1970.",
            labels=("service",),
        )
        settings = self._runtime.settings
        family.add_metric((settings.service,), ends_at(settings.service_token))
        return family

    def _timeouts(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "souche_tasks_timed_out",
            "Tasks that ran into their time limit since Redis was last emptied.",
            labels=("service", "task"),
        )
        try:
            for task, number in timeouts.counts(self._runtime).items():
                family.add_metric((self._runtime.settings.service, task), float(number))
        except redis.RedisError:
            return
        yield family

    def _queues(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily("souche_queue_tasks", "Tasks that wait for a worker.", labels=("queue",))
        try:
            for queue, waiting in broker_status.waiting(self._runtime).items():
                family.add_metric((queue,), float(waiting))
        except BrokerDown:
            return
        yield family


class Metrics:
    """What one application answers to Prometheus."""

    def __init__(self, runtime: Runtime, own: Sequence[Gauge]) -> None:
        self._gauges = Gauges(runtime, own)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        registry = CollectorRegistry()
        registry.register(self._gauges)
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(registry) + generate_latest(REGISTRY)
