"""The database, the broker and the peers of one process of a service, made from its settings on first use.

First use matters: a Celery worker forks, and neither connections nor threads survive a fork.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from typing import Any, TypeVar, cast

import redis
import sqlalchemy as sa
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session, sessionmaker

from shared.audit import trail
from shared.database import engine as db
from shared.eventlog import consumer
from shared.eventlog.doorbell import Doorbell
from shared.eventlog.event_kinds import READERS
from shared.eventlog.peer_client import Peer, PeerRefusesToken, PeerUnavailable
from shared.observability.logs import logger
from shared.process import celery
from shared.process.request_batching import RequestBatcher
from shared.settings.settings import Settings

_A = TypeVar("_A")
_B = TypeVar("_B")

TimeIsUp = SoftTimeLimitExceeded
"""Raised in whatever a worker does once its task has taken as long as it may: it ends the task, nothing else."""

# Redis is never waited for: it only carries rings.
_REDIS_SECONDS = 2.0


class Runtime:
    """The database, the broker and the peers of one process of a service."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._batchers: dict[Any, RequestBatcher[Any, Any]] = {}

    @cached_property
    def engine(self) -> sa.Engine:
        """The service's own schema, through its own role."""
        return db.connect(self.settings.database_url, self.settings.service, self.settings.pool_size)

    @cached_property
    def autocommit_engine(self) -> sa.Engine:
        """The same for single statements of one round trip (`shared.process.prepared_query`), with its own pool."""
        return db.connect_autocommit(self.settings.database_url, self.settings.service, self.settings.pool_size)

    def forget_connections(self) -> None:
        """Makes both pools connect anew, as after a restart of the database; connections in use go on."""
        self.engine.dispose()
        self.autocommit_engine.dispose()

    def batcher(self, run: "Callable[[Runtime, Sequence[_A]], Sequence[_B | None]]") -> RequestBatcher[_A, _B]:
        """The requests that threads make of this function at the same time; there is one batcher for each function."""
        return self._batchers.setdefault(run, RequestBatcher(partial(run, self)))

    @cached_property
    def celery(self) -> celery.App:
        """The Celery application, by which its tasks find this runtime."""
        app = celery.create(self.settings)
        app.runtime = self
        return app

    @cached_property
    def redis(self) -> redis.Redis:
        """The store of the doorbell's keys."""
        return redis.Redis.from_url(
            self.settings.redis_url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
        )

    @cached_property
    def bell(self) -> Doorbell:
        """Rings for those who read this service's log."""
        return Doorbell(self.settings.service, READERS[self.settings.service], self.redis, self._send_pull)

    @cached_property
    def sessions(self) -> sessionmaker[Session]:
        """Sessions that say who acts, and ring the bell after a commit that appended events."""
        return trail.watch(db.sessions(self.engine, self.bell.ring))

    def transaction(self) -> AbstractContextManager[Session]:
        """One transaction: committed at the end of the block, rolled back where it raises."""
        return self.sessions.begin()

    @cached_property
    def peers(self) -> Mapping[str, Peer]:
        """The other services."""
        settings = self.settings
        addresses = {name: address for name, address in settings.peers.items() if name != settings.service}
        return {name: Peer(name, address, settings.service_token) for name, address in addresses.items()}

    def pull(self, publisher: str, handlers: Mapping[str, consumer.Handler]) -> int:
        """Applies new events of another service; returns how many took effect, 0 where it does not answer."""
        self.bell.answer(publisher)
        try:
            return consumer.pull(self.transaction, self.peers[publisher], handlers)
        except PeerRefusesToken as error:
            logger().error("peer_refuses_token", publisher=publisher, error=str(error))
        except PeerUnavailable as error:
            logger().warning("peer_unavailable", publisher=publisher, error=str(error))
        return 0

    def _send_pull(self, reader: str, publisher: str) -> None:
        self.celery.send_task(f"{reader}.pull", args=[publisher])


def runtime() -> Runtime:
    """The runtime of the worker that runs the task in hand."""
    return cast(Runtime, cast(celery.App, current_app).runtime)
