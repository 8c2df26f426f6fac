"""The doorbell and the queue behind it: rings are few, nobody waits for them, and losing them loses nothing."""

import json
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
import redis
import structlog
from celery.contrib.testing.worker import start_worker
from msgspec import ValidationError

from shared.database import engine
from shared.eventlog import log
from shared.eventlog.doorbell import Doorbell, failures
from shared.observability import logs
from shared.process.runtime import Runtime
from shared.settings import settings
from shared.values.ids import new_id
from tests.shared.conftest import Logs
from tests.shared.eventlog.test_log import block, tell


@pytest.fixture
def broker(logs: Logs) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(logs.environ["REDIS_URL"]) as client:
        client.flushall()
        yield client


@pytest.fixture
def publisher(logs: Logs, broker: redis.Redis) -> Runtime:
    return logs.runtime("issuer")


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def waiting(broker: redis.Redis, queue: str) -> int:
    return int(broker.llen(queue))


def test_many_commits_ring_each_reader_once_until_it_answers(
    publisher: Runtime, broker: redis.Redis, logs: Logs
) -> None:
    cheque = new_id()
    tell(publisher, cheque, *map(str, range(50)))
    assert eventually(lambda: waiting(broker, "redeemer") == 1 and waiting(broker, "operator_bridge") == 1)
    assert waiting(broker, "issuer") == 0
    logs.runtime("redeemer").bell.answer("issuer")
    tell(publisher, cheque, "more")
    assert eventually(lambda: waiting(broker, "redeemer") == 2)
    assert waiting(broker, "operator_bridge") == 1


def test_a_transaction_that_appends_nothing_or_is_rolled_back_does_not_ring(
    publisher: Runtime, broker: redis.Redis
) -> None:
    with publisher.transaction():
        pass
    cheque = new_id()
    with pytest.raises(ValidationError):
        append_then_fail(publisher, cheque)
    assert not eventually(lambda: waiting(broker, "redeemer") > 0, 0.2)


def test_a_ring_waits_for_the_commit_and_not_for_a_savepoint(publisher: Runtime) -> None:
    """Rung for earlier, a reader finds nothing yet, and is not rung for again."""
    cheque = new_id()
    rung: list[str] = []
    with engine.sessions(publisher.engine, lambda: rung.append("events")).begin() as session:
        engine.after_commit(session, lambda: rung.append("callback"))
        with session.begin_nested():
            log.append(session, "cheques.blocked", cheque, block(cheque, "nested"))
        assert rung == []
    assert rung == ["events", "callback"]


def append_then_fail(publisher: Runtime, cheque: UUID) -> None:
    with publisher.transaction() as session:
        log.append(session, "cheques.blocked", cheque, block(cheque, "whole"))
        log.append(session, "cheques.blocked", cheque, {})


def test_a_wiped_broker_is_rung_again(publisher: Runtime, broker: redis.Redis) -> None:
    tell(publisher, new_id(), "before")
    assert eventually(lambda: waiting(broker, "redeemer") == 1)
    broker.flushall()
    tell(publisher, new_id(), "after")
    assert eventually(lambda: waiting(broker, "redeemer") == 1)


def test_a_commit_does_not_wait_for_a_broker_that_is_down(logs: Logs) -> None:
    down = Runtime(settings.load("issuer", logs.environ | {"REDIS_URL": "redis://127.0.0.1:1/0"}))
    began = time.monotonic()
    tell(down, new_id(), "a", "b", "c")
    assert time.monotonic() - began < 1.0
    assert log.page(down.engine, 0, 10).head == 3


def test_a_ring_carries_the_request_that_it_came_of(publisher: Runtime, broker: redis.Redis) -> None:
    with structlog.contextvars.bound_contextvars(request_id="request-42"):
        tell(publisher, new_id(), "news")
    assert eventually(lambda: waiting(broker, "redeemer") == 1)
    message = json.loads(broker.lindex("redeemer", 0) or b"{}")
    assert message["headers"]["souche_request_id"] == "request-42"


def test_a_request_id_travels_with_a_task_and_is_gone_after_it(publisher: Runtime, broker: redis.Redis) -> None:
    seen: list[str | None] = []
    app = publisher.celery

    @app.task(name="issuer.look")
    def look() -> None:
        seen.append(logs.current_request_id())

    with structlog.contextvars.bound_contextvars(request_id="request-7"):
        look.apply_async(queue="issuer")
    message = json.loads(broker.lindex("issuer", 0) or b"{}")
    assert message["headers"]["souche_request_id"] == "request-7"
    with start_worker(app, pool="solo", queues=["issuer"], perform_ping_check=False):
        assert eventually(lambda: bool(seen), 10)
    assert seen == ["request-7"]
    assert logs.current_request_id() is None


def test_the_thread_that_rings_outlives_an_error_that_nobody_foresaw(publisher: Runtime, broker: redis.Redis) -> None:
    sent: list[str] = []

    def send(reader: str, _: str) -> None:
        sent.append(reader)
        if len(sent) == 1:
            raise KeyError(reader)

    bell = Doorbell("test", ("redeemer",), broker, send)
    bell.ring()
    assert eventually(lambda: len(sent) == 1)
    broker.flushall()
    bell.ring()
    assert eventually(lambda: len(sent) == 2, 10)
    assert failures().labels("test")._value.get() == 1
