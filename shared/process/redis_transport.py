"""kombu's Redis transport, without what ends a Celery worker when Redis goes away.

A channel that is closed twice, or acknowledges after it was closed, raises an AttributeError (kombu#582, kombu 5.7),
and a worker with a task in hand ended whenever Redis was restarted. This one raises ConnectionError: it connects again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from kombu.transport import redis as kombu_redis


class Channel(kombu_redis.Channel):
    """A channel that raises ConnectionError where its connection is gone."""

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """This client of Redis or a new one; raises redis.ConnectionError where the connection was closed."""
        if client is None and getattr(self.connection, "client", None) is None:
            raise redis.ConnectionError("the connection to the broker was closed")
        with super().conn_or_acquire(client) as connected:
            yield connected


class Transport(kombu_redis.Transport):
    """Connections whose channels are these."""

    Channel = Channel
