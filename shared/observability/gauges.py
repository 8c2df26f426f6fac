"""Gauges that are read from a service's tables, beside whoever asks, each as often as it is worth.

What was read is kept for half a minute, or for a hundred times as long as reading it took. So asking often costs
nothing, and counting millions of cheques takes a hundredth of one core, however many they become.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily
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
        self._kept: dict[str, GaugeMetricFamily] = {}
        self._took: dict[str, float] = {}
        self._up: bool | None = None

    def families(self) -> Iterator[GaugeMetricFamily]:
        """Every gauge that could be read, how long each took, and whether all could be, once all were tried."""
        if self._up is not None:
            yield _single("souche_gauges_up", "Whether the tables could be read.", self._service, float(self._up))
        took = GaugeMetricFamily("souche_gauge_read_seconds", "How long it took to read.", labels=("service", "gauge"))
        for name, seconds in list(self._took.items()):
            took.add_metric((self._service, name), seconds)
        yield took
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
                self._kept[gauge.name] = _family(self._service, gauge, connection)
        except DBAPIError as error:
            self._kept.pop(gauge.name, None)
            logger().error("metrics_unreadable", gauge=gauge.name, error=type(error.orig).__name__)
            if not isinstance(error.orig, QueryCanceled):
                return False
        took = self._took[gauge.name] = time.monotonic() - began
        self._due[gauge] = time.monotonic() + max(KEPT_SECONDS, took * _KEPT_FOR_EACH_SECOND)
        return True


def _single(name: str, help_: str, service: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=("service",))
    family.add_metric((service,), value)
    return family


def _family(service: str, gauge: Gauge, connection: sa.Connection) -> GaugeMetricFamily:
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=("service", *gauge.labels))
    for row in connection.execute(sa.text(gauge.query)):
        *labels, value = row
        family.add_metric((service, *(str(label) for label in labels)), float(value or 0))
    return family
