"""Gauges that are read from a service's tables by a thread of their own, and kept.

A value is kept for half a minute, or for a hundred times as long as reading it took. So asking often costs nothing, and
counting millions of cheques takes a hundredth of one core, however many they become.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from psycopg.errors import QueryCanceled
from sqlalchemy.exc import DBAPIError

from shared.observability.logs import logger

KEPT_SECONDS = 30.0
_KEPT_FOR_EACH_SECOND = 100.0
# Counting ten million rows takes seconds; what takes longer than this is not worth it.
_STATEMENT_TIMEOUT = "60s"


@dataclass(frozen=True)
class Gauge:
    """A gauge of a service's tables: its last column is the value, those before it are the labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    query: str


class Tables:
    """The last readings of a service's tables. One thread reads; any may look.

    `connect` makes an engine for one round of reading, apart from the pool that serves requests.
    """

    def __init__(self, connect: Callable[[], sa.Engine], service: str, gauges: Sequence[Gauge]) -> None:
        self._connect = connect
        self._service = service
        self._due = dict.fromkeys(gauges, 0.0)
        self._kept: dict[str, Metric] = {}
        self._took: dict[str, float] = {}
        self._up: bool | None = None

    def families(self) -> Iterator[Metric]:
        """Every gauge that could be read, how long each took, and whether all could be, once all were tried."""
        service = self._service
        if self._up is not None:
            samples = [((service,), self._up)]
            yield family("souche_gauges_up", "Whether the tables could be read.", ("service",), samples)
        took = [((service, name), seconds) for name, seconds in list(self._took.items())]
        yield family("souche_gauge_read_seconds", "How long it took to read.", ("service", "gauge"), took)
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
            self._kept[gauge.name] = family(gauge.name, gauge.help, ("service", *gauge.labels), samples)
        except DBAPIError as error:
            self._kept.pop(gauge.name, None)
            logger().error("metrics_unreadable", gauge=gauge.name, error=type(error.orig).__name__)
            if not isinstance(error.orig, QueryCanceled):
                return False
        took = self._took[gauge.name] = time.monotonic() - began
        self._due[gauge] = time.monotonic() + max(KEPT_SECONDS, took * _KEPT_FOR_EACH_SECOND)
        return True


def family(
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
