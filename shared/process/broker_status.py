"""The broker as it is seen from outside a task: whether it answers, and how many tasks wait there.

Where it is the Redis of the doorbell, the runtime's connection is used; for another (RabbitMQ) one is opened each time.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from kombu import Connection
from kombu.exceptions import OperationalError

from shared.process.celery import QUEUES
from shared.process.runtime import Runtime

_TIMEOUT_SECONDS = 2.0


class BrokerDown(Exception):
    """The broker does not answer."""


def answers(runtime: Runtime) -> bool:
    """Whether rings get through: to Redis, which has the bells' keys, and to the broker if that is another."""
    try:
        runtime.redis.ping()
        if not _is_redis(runtime):
            with _connected(runtime):
                pass
    except (redis.RedisError, BrokerDown):
        return False
    return True


def waiting(runtime: Runtime) -> Mapping[str, int]:
    """The number of tasks that wait, by queue, without those that nobody has made yet; raises BrokerDown."""
    if _is_redis(runtime):
        try:
            return {queue: int(runtime.redis.llen(queue)) for queue in QUEUES}
        except redis.RedisError as error:
            raise BrokerDown(str(error)) from error
    with _connected(runtime) as connection:
        return {queue: depth for queue in QUEUES if (depth := _depth(connection, queue)) is not None}


def _is_redis(runtime: Runtime) -> bool:
    return runtime.settings.broker_url == runtime.settings.redis_url


@contextmanager
def _connected(runtime: Runtime) -> Iterator[Connection]:
    connection: Any = runtime.celery.connection_for_read(connect_timeout=_TIMEOUT_SECONDS)
    try:
        connection.connect()  # one try and no reconnecting: the caller wants the state of now
        yield connection
    except (*connection.connection_errors, *connection.channel_errors, OperationalError, OSError) as error:
        raise BrokerDown(type(error).__name__) from error
    finally:
        connection.release()


def _depth(connection: Connection, queue: str) -> int | None:
    """How many messages are ready in a queue; a question about one that does not exist closes the channel."""
    channel: Any = connection.channel()
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return None
    finally:
        channel.close()
