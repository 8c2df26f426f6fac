"""kombu's Redis transport, without what ends a Celery worker when Redis goes away.

A channel that is closed twice, or acknowledges after it was closed, looks for Redis' address where it no longer is.
That is an AttributeError (kombu#582, kombu 5.7), after which a worker does not go on: one with a task in hand ended
whenever Redis was restarted. Here the channel says what is so, its connection is gone, and the worker connects again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from kombu.transport import redis as kombu_redis


class Channel(kombu_redis.Channel):
    """A channel that says so where its connection is gone."""

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """That client of Redis or a new one; raises redis.ConnectionError where the connection was closed."""
        if client is None and getattr(self.connection, "client", None) is None:
            raise redis.ConnectionError("the connection to the broker was closed")
        with super().conn_or_acquire(client) as connected:
            yield connected


class Transport(kombu_redis.Transport):
    """Connections whose channels are these."""

    Channel = Channel
