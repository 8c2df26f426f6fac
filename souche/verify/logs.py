"""The event logs and audit trails of the services: who is behind, what a restored log lacks, which trail is whole.

That a log was restored is no fault by itself, as the effects of its lost events may have been recovered since.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from shared.audit import hash_chain
from shared.audit.hash_chain import Anchor, Broken
from shared.eventlog.event_kinds import READERS
from souche.verify.reading import Engines, Fault, scalar, side_by_side, stream

_POLL_SECONDS = 0.25
_HEAD = "SELECT count(*) FROM event"
_UNREAD = "SELECT count(*) FROM event WHERE (position <= :position) IS NOT TRUE"
_POSITION = "SELECT position FROM cursor WHERE publisher = :name"
_PARKED = "SELECT count(*) FROM parked_event"
_WRITTEN = "SELECT event_id FROM event ORDER BY event_id"
_APPLIED = "SELECT event_id, occurred_at FROM applied_event WHERE publisher = :publisher ORDER BY event_id"


def heads(engines: Engines) -> list[int]:
    """How many events each service has written."""
    return [scalar(engine, _HEAD) for engine in engines.values()]


def wait_until_read(engines: Engines, seconds: float) -> None:
    """Returns when every service has read all events; raises Fault naming who is behind after so many seconds."""
    deadline = time.monotonic() + seconds
    while behind := _behind(engines):
        if time.monotonic() >= deadline:
            raise Fault("; ".join(behind))
        time.sleep(_POLL_SECONDS)


def _behind(engines: Engines) -> list[str]:
    unread = [
        f"{reader} has {number} events of {publisher} still to read"
        for publisher, readers in READERS.items()
        for reader in readers
        if (number := _unread(engines, publisher, reader)) > 0
    ]
    parked = [
        f"{service} has {number} events parked for cheques that it does not have"
        for service, engine in engines.items()
        if (number := scalar(engine, _PARKED))
    ]
    return unread + parked


def _unread(engines: Engines, publisher: str, reader: str) -> int:
    return int(scalar(engines[publisher], _UNREAD, position=scalar(engines[reader], _POSITION, name=publisher) or 0))


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


def audit_heads(engines: Engines, anchors: Sequence[Anchor]) -> list[Anchor]:
    """The heads of all hash chains of audit trails, computed again after waiting entries were chained.

    Raises Broken, which names the service and the first entry that does not fit.
    """
    heads = []
    for service, engine in engines.items():
        hash_chain.chain(engine, service)
        try:
            heads.append(hash_chain.verify(engine, service, anchors))
        except Broken as broken:
            raise Broken(f"{service}: {broken}") from None
    return heads
