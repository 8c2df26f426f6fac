"""Metrics for Prometheus: are we losing money, are we late, is the operator ill.

Counters and the histogram of requests are each process's own. The gauges are of the service's tables, so all processes
answer the same sooner or later: take the `max`. A value is kept for half a minute, or for a hundred times as long as it
took to read: counting millions of cheques takes a hundredth of one core. Labels hold states, reasons and names of
programmes, contracts and routes; never a code, a person or an id.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import redis
import sqlalchemy as sa
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from psycopg.errors import QueryCanceled
from sqlalchemy.exc import DBAPIError

from shared.access.tokens import ends_at
from shared.database import engine as db
from shared.observability.logs import logger
from shared.process import broker_status, timeouts
from shared.process.broker_status import BrokerDown
from shared.process.runtime import Runtime

KEPT_SECONDS = 30.0
_KEPT_FOR_EACH_SECOND = 100.0
# Counting ten million rows takes seconds; what takes longer than this is not worth it.
_STATEMENT_TIMEOUT = "60s"
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


@dataclass(frozen=True)
class Gauge:
    """A gauge of a service's tables: its last column is the value, those before it are the labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    query: str


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
        # Not of the pool, which has as many connections as threads that serve.
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
        return _family(
            "souche_service_token_ends_seconds",
            "When the token with which this service calls the others ends, in seconds since 1970.",
            ("service",),
            [((settings.service,), ends_at(settings.service_token))],
        )

    def _timeouts(self) -> Iterator[Metric]:
        with suppress(redis.RedisError):
            service, counts = self._runtime.settings.service, timeouts.counts(self._runtime)
            yield _family(
                "souche_tasks_timed_out",
                "Tasks that ran into their time limit since Redis was last emptied.",
                ("service", "task"),
                [((service, task), number) for task, number in counts.items()],
                CounterMetricFamily,
            )

    def _queues(self) -> Iterator[Metric]:
        with suppress(BrokerDown):
            samples = [((queue,), waiting) for queue, waiting in broker_status.waiting(self._runtime).items()]
            yield _family("souche_queue_tasks", "Tasks that wait for a worker.", ("queue",), samples)


class Tables:
    """The last readings of a service's tables: one thread reads, by a new engine for each round, and any may look."""

    def __init__(self, connect: Callable[[], sa.Engine], service: str, gauges: Sequence[Gauge]) -> None:
        self._connect = connect
        self._service = service
        self._due = dict.fromkeys(gauges, 0.0)
        self._kept: dict[str, Metric] = {}
        self._took: dict[str, float] = {}
        self._up: bool | None = None

    def families(self) -> Iterator[Metric]:
        """Every gauge that could be read, how long each took, and whether all could be, once all were tried."""
        if self._up is not None:
            samples = [((self._service,), self._up)]
            yield _family("souche_gauges_up", "Whether the tables could be read.", ("service",), samples)
        took = [((self._service, name), seconds) for name, seconds in list(self._took.items())]
        yield _family("souche_gauge_read_seconds", "How long it took to read.", ("service", "gauge"), took)
        yield from list(self._kept.values())

    def read_due(self) -> None:
        """Reads what was read too long ago."""
        due = [gauge for gauge, instant in self._due.items() if time.monotonic() > instant]
        if not due:
            return
        engine = self._connect()
        try:
            answers = [self._read(engine, gauge) for gauge in due]
        finally:
            engine.dispose()
        self._up = all(answers)

    def _read(self, engine: sa.Engine, gauge: Gauge) -> bool:
        """Reads one gauge; False where the tables cannot be read. One that takes too long is left out for a while."""
        began = time.monotonic()
        try:
            with engine.begin() as connection:
                connection.execute(sa.text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"))
                began = time.monotonic()  # to connect is no work of the gauge's
                rows = connection.execute(sa.text(gauge.query)).all()
            samples = [((self._service, *map(str, labels)), value or 0) for *labels, value in rows]
            self._kept[gauge.name] = _family(gauge.name, gauge.help, ("service", *gauge.labels), samples)
        except DBAPIError as error:
            self._kept.pop(gauge.name, None)
            logger().error("metrics_unreadable", gauge=gauge.name, error=type(error.orig).__name__)
            if not isinstance(error.orig, QueryCanceled):
                return False
        took = self._took[gauge.name] = time.monotonic() - began
        self._due[gauge] = time.monotonic() + max(KEPT_SECONDS, took * _KEPT_FOR_EACH_SECOND)
        return True


def _family(
    name: str,
    help_: str,
    labels: Sequence[str],
    samples: Iterable[tuple[Sequence[str], float]],
    kind: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily,
) -> Metric:
    """A gauge or a counter and its samples, each the values of the labels and a number."""
    found = kind(name, help_, labels=labels)
    for values, number in samples:
        found.add_metric(values, float(number))
    return found
