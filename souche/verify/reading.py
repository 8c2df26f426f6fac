"""Reading the schemas of the three services: engines, single figures, long streams, and streams side by side."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from shared.database import engine as db
from shared.settings.settings import SERVICES, ConfigurationError, with_files

BATCH_SIZE = 2_000

Engines = Mapping[str, sa.Engine]
"""An engine by service."""


class Fault(Exception):
    """What does not fit: which row, what it is and what it should be."""


def connect(environ: Mapping[str, str]) -> dict[str, sa.Engine]:
    """An engine for each service's schema; raises ConfigurationError naming the addresses that are missing."""
    settings = with_files(environ)
    names = {service: f"{service.upper()}_DATABASE_URL" for service in SERVICES}
    missing = [name for name in names.values() if name not in settings]
    if missing:
        raise ConfigurationError(f"{', '.join(missing)} must be set: verifying reads the rows of all three services.")
    return {service: db.connect(settings[name], service, 2) for service, name in names.items()}


def scalar(engine: sa.Engine, query: str, **params: Any) -> Any:
    """The first column of the first row of a query."""
    with engine.connect() as connection:
        return connection.execute(sa.text(query), params).scalar()


@contextmanager
def stream(engine: sa.Engine, query: str, **params: str) -> Iterator[Iterable[Any]]:
    """Rows of one query as they come from the server, from one snapshot; it occupies a connection."""
    with engine.connect() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        with connection.execution_options(yield_per=BATCH_SIZE).execute(sa.text(query), params) as rows:
            yield rows


def side_by_side(key: str, *streams: Iterable[Any]) -> Iterator[tuple[UUID, list[Any]]]:
    """Walks streams that are sorted by `key` together: each key once, with each stream's row or None."""
    walking = [iter(stream) for stream in streams]
    rows = [next(stream, None) for stream in walking]
    while any(row is not None for row in rows):
        lowest = min(getattr(row, key) for row in rows if row is not None)
        at = [row if row is not None and getattr(row, key) == lowest else None for row in rows]
        yield lowest, at
        rows = [next(walking[i], None) if at[i] is not None else row for i, row in enumerate(rows)]
