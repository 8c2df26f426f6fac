"""Waiting until every service has read the others' events."""

import time

from shared.eventlog.event_kinds import READERS
from souche.verify.reading import Engines, scalar
from souche.verify.rows import Fault

_POLL_SECONDS = 0.25
_HEAD = "SELECT count(*) FROM event"
_READ = "SELECT count(*) FROM event WHERE position <= :position"
_POSITION = "SELECT position FROM cursor WHERE publisher = :name"
_PARKED = "SELECT count(*) FROM parked_event"


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
    written = scalar(engines[publisher], _HEAD)
    position = scalar(engines[reader], _POSITION, name=publisher) or 0
    return int(written - scalar(engines[publisher], _READ, position=position))
