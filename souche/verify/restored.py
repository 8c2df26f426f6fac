"""Logs that were restored from a backup: the events that others applied and that are no longer on them.

That is no fault by itself, as their effects may have been recovered since: it says what is missing.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import sqlalchemy as sa

from shared.eventlog.event_kinds import READERS
from souche.verify.reading import Engines, side_by_side, stream

_WRITTEN = "SELECT event_id FROM event ORDER BY event_id"
_APPLIED = "SELECT event_id, occurred_at FROM applied_event WHERE publisher = :publisher ORDER BY event_id"


def remarks(engines: Engines) -> list[str]:
    """A sentence for each reader that applied events which are no longer on their log."""
    return [
        _remark(publisher, reader, lost)
        for publisher, readers in READERS.items()
        for reader in readers
        if (lost := list(_lost(engines[publisher], engines[reader], publisher)))
    ]


def _remark(publisher: str, reader: str, lost: list[datetime]) -> str:
    first, last = (instant.astimezone(UTC).isoformat(" ", "seconds") for instant in (min(lost), max(lost)))
    return (
        f"the log of {publisher} was restored: {len(lost)} events that {reader} applied, of {first} to {last}, are not"
        f" on it. Later events of {publisher} that no service had read are lost."
    )


def _lost(publisher: sa.Engine, reader: sa.Engine, name: str) -> Iterator[datetime]:
    """The instants of the events that the reader applied and the publisher does not have."""
    with stream(publisher, _WRITTEN) as written, stream(reader, _APPLIED, publisher=name) as applied:
        for _, (event, effect) in side_by_side("event_id", written, applied):
            if event is None:
                yield effect.occurred_at
