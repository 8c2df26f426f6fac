"""Metrics for Prometheus: are we losing money, are we late, is the operator ill.

Counters and the histogram of requests are each process's own. The gauges are read from the service's tables when they
are asked for, and then kept for half a minute: whichever process is asked, it tells the same, and asking often costs
nothing. Labels hold states, reasons and names of programmes, contracts and routes; never a code, a person or an id.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import redis
import sqlalchemy as sa
from flask import Response, current_app
from flask_smorest import Blueprint
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.auth import ends_at, roles
from shared.config import SERVICES
from shared.logs import logger
from shared.runtime import Runtime

_KEPT_SECONDS = 30.0
# Counting ten million rows takes a second or two; what takes longer is not worth it.
_STATEMENT_TIMEOUT = "10s"

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

blueprint = Blueprint("metrics", __name__, description="For Prometheus.")


@dataclass(frozen=True)
class Gauge:
    """A gauge of a service's tables: its last column is the value, those before it are the labels."""

    name: str
    help: str
    labels: Sequence[str]
    query: str


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
        "souche_parked_events",
        "Events that wait for their cheque to be known.",
        ("kind",),
        "SELECT kind, count(*) FROM parked_event GROUP BY kind",
    ),
)


class Gauges(Collector):
    """Reads the gauges of one service, at most twice a minute."""

    def __init__(self, runtime: Runtime, own: Sequence[Gauge]) -> None:
        self._runtime = runtime
        self._gauges = (*_COMMON, *own)
        self._reading = threading.Lock()
        self._kept: list[GaugeMetricFamily] = []
        self._kept_until = 0.0

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges as they were at the last reading, or now where that is too long ago."""
        with self._reading:
            if time.monotonic() > self._kept_until:
                self._kept = list(self._read())
                self._kept_until = time.monotonic() + _KEPT_SECONDS
            return self._kept

    def _read(self) -> Iterator[GaugeMetricFamily]:
        service = self._runtime.settings.service
        up = GaugeMetricFamily("souche_gauges_up", "Whether the tables could be read.", labels=("service",))
        try:
            with self._runtime.engine.begin() as connection:
                connection.execute(sa.text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"))
                found = [_family(service, gauge, connection) for gauge in self._gauges]
            up.add_metric((service,), 1)
        except (OperationalError, PoolTimeout) as error:
            logger().error("metrics_unreadable", error=type(error).__name__)
            found = []
            up.add_metric((service,), 0)
        yield up
        yield from found
        yield from self._queues()
        yield self._service_token()

    def _service_token(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "souche_service_token_ends_seconds",
            "When the token with which this service calls the others ends, in seconds since 1970.",
            labels=("service",),
        )
        settings = self._runtime.settings
        family.add_metric((settings.service,), ends_at(settings.service_token))
        return family

    def _queues(self) -> Iterator[GaugeMetricFamily]:
        """The lengths of the queues, where the broker is the Redis that we ring at."""
        settings = self._runtime.settings
        if settings.broker_url != settings.redis_url:
            return
        family = GaugeMetricFamily("souche_queue_tasks", "Tasks that wait for a worker.", labels=("queue",))
        try:
            for queue in SERVICES:
                family.add_metric((queue,), float(self._runtime.redis.llen(queue)))
        except redis.RedisError:
            return
        yield family


def _family(service: str, gauge: Gauge, connection: sa.Connection) -> GaugeMetricFamily:
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=("service", *gauge.labels))
    for row in connection.execute(sa.text(gauge.query)):
        *labels, value = row
        family.add_metric((service, *(str(label) for label in labels)), float(value or 0))
    return family


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


@blueprint.route("/metrics")
@roles("operations", "admin", "service")
@blueprint.response(200, description="Prometheus text format.", content_type="text/plain")
def metrics() -> Response:
    """Counts and gauges for Prometheus, which sends a token of role operations."""
    found: Metrics = current_app.extensions["souche.metrics"]
    return Response(found.text(), content_type=CONTENT_TYPE_LATEST)
