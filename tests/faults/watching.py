"""How long it takes until everybody agrees again: counted in the tables, beside the services."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from shared.eventlog.event_kinds import READERS
from shared.settings.settings import SERVICES

_POLL_SECONDS = 0.2


@dataclass
class Wait:
    """From the end of an injury until everything told by then was read by all, and every order by then was settled."""

    injury: str
    since: float
    heads: dict[str, int] | None = None
    last_order: int = 0
    agreed: float | None = None


class Watch:
    """Watches over the logs and the orders."""

    def __init__(self, owner_url: str) -> None:
        self._engine = sa.create_engine(owner_url, poolclass=sa.NullPool, connect_args={"connect_timeout": 2})
        self.waits: list[Wait] = []
        self._done = threading.Event()

    def begin(self, injury: str) -> None:
        """An injury has ended: from now on."""
        self.waits.append(Wait(injury, time.monotonic()))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks again and again for the length of the block."""
        thread = threading.Thread(target=self._run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _run(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            open_waits = [wait for wait in self.waits if wait.agreed is None]
            if not open_waits:
                continue
            try:
                with self._engine.connect() as connection:
                    for wait in open_waits:
                        self._look(connection, wait)
            except DBAPIError:
                continue

    def _look(self, connection: sa.Connection, wait: Wait) -> None:
        if wait.heads is None:
            wait.heads = {service: _number(connection, f"SELECT count(*) FROM {service}.event") for service in SERVICES}
            wait.last_order = _number(
                connection, "SELECT coalesce(max(sequence), 0) FROM operator_bridge.operator_order"
            )
            return
        read = all(
            _number(
                connection, f"SELECT coalesce(max(position), 0) FROM {reader}.cursor WHERE publisher = '{publisher}'"
            )
            >= wait.heads[publisher]
            for publisher in SERVICES
            for reader in READERS[publisher]
        )
        unsettled = _number(
            connection,
            "SELECT count(*) FROM operator_bridge.operator_order WHERE state IN ('pending', 'sent', 'unknown', 'held')"
            f" AND sequence <= {wait.last_order}",
        )
        if read and not unsettled:
            wait.agreed = time.monotonic()


def _number(connection: sa.Connection, query: str) -> int:
    return int(connection.execute(sa.text(query)).scalar_one())
