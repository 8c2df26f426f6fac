"""What `souche verify` says of logs that were restored from a backup: which events others applied that are not on them.

That is no fault by itself: what the events told may have been taken in again. It says what is known of the gap.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from shared.eventlog.event_kinds import READERS

_WRITTEN = sa.text("SELECT event_id FROM event ORDER BY event_id")
_APPLIED = sa.text("SELECT event_id, occurred_at FROM applied_event WHERE publisher = :publisher ORDER BY event_id")


def remarks(engines: Mapping[str, sa.Engine]) -> list[str]:
    """A sentence for each reader that applied events which are not on their log any more."""
    return [
        _say(publisher, reader, lost)
        for publisher, readers in READERS.items()
        for reader in readers
        if (lost := list(_lost(engines[publisher], engines[reader], publisher)))
    ]


def _say(publisher: str, reader: str, lost: list[datetime]) -> str:
    first, last = (instant.astimezone(UTC).isoformat(" ", "seconds") for instant in (min(lost), max(lost)))
    return (
        f"the log of {publisher} was restored: {len(lost)} events that {reader} applied, of {first} to {last}, are not"
        f" on it. What {publisher} did after that and before it was restored, and nobody had read, nobody knows."
    )


def _lost(publisher: sa.Engine, reader: sa.Engine, name: str) -> Iterator[datetime]:
    """When the events happened that one applied and the other does not have; both are walked in the order of ids."""
    with _stream(publisher, _WRITTEN) as written, _stream(reader, _APPLIED, publisher=name) as applied:
        here = iter(written)
        event_id = next(here, None)
        for row in applied:
            while event_id is not None and event_id[0] < row.event_id:
                event_id = next(here, None)
            if event_id is None or event_id[0] != row.event_id:
                yield row.occurred_at


@contextmanager
def _stream(engine: sa.Engine, query: sa.TextClause, **given: str) -> Iterator[Iterable[Any]]:
    with engine.connect() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        with closing(connection.execution_options(yield_per=2_000).execute(query, given)) as rows:
            yield rows
