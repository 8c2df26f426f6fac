"""A process that is killed between its work and its answer leaves all of it or nothing, and a retry does it once."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import Client, TestResponse

from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.repeating.conftest import Place
from tests.repeating.creating import Ask


def killed(place: Place, prepare: Callable[[], None], ask: Callable[[], object]) -> None:
    """Sends a request in a process of its own, which must be killed on the way."""
    child = os.fork()
    if not child:
        try:
            place.service.runtime.engine.dispose(close=False)  # the connections are the other process's
            prepare()
            ask()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"it ended by itself: {status}"
    assert os.WTERMSIG(status) == signal.SIGKILL


def die(*_: Any) -> None:
    """The end of this process."""
    os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """A service whose process dies with its answer in hand."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = b"".join(self._application(environ, start_response))
        die()
        return [body]


def ask_dying(service: ServiceUnderTest, ask: Ask, key: str) -> None:
    """Sends a request, and has the process die once all is done and nobody was told."""
    headers = service.headers(ask.role, ask.scope, key=key)
    if isinstance(ask.body, bytes):
        Client(Dying(service.app)).post(ask.path, data=ask.body, content_type="text/csv", headers=headers)
    Client(Dying(service.app)).post(ask.path, json=ask.body or {}, headers=headers)


def asked_again(service: ServiceUnderTest, ask: Ask, key: str) -> TestResponse:
    """The answer to who repeats a request as he is told to: PostgreSQL takes a moment to notice who is gone."""
    for _ in range(100):
        answer = ask.send(service, key)
        if "request-in-hand" not in answer.text:
            break
        time.sleep(0.1)
    return answer


def test_killed_before_it_is_kept_nothing_is_done(place: Place) -> None:
    engine = place.service.runtime.engine
    for path, create in place.creators.items():
        if path == "/v1/redemptions":
            continue  # one statement that is its own transaction: there is no before
        ask, key = create(), str(new_id())
        before = place.contents()
        killed(place, lambda: sa.event.listen(engine, "commit", die), partial(ask.send, place.service, key))
        assert place.contents() == before, path
        answer = asked_again(place.service, ask, key)
        assert answer.status_code < HTTPStatus.MULTIPLE_CHOICES, (path, answer.text)
        done = place.contents()
        assert ask.send(place.service, key).data == answer.data, path
        assert place.contents() == done, path


def test_killed_before_it_answers_it_is_done_once_and_answered_to_whoever_asks_again(place: Place) -> None:
    for path, create in place.creators.items():
        ask, key = create(), str(new_id())
        before = place.contents()
        killed(place, lambda: None, partial(ask_dying, place.service, ask, key))
        done = place.contents()
        if path not in UNMOVED:
            assert done != before, path
        answer = asked_again(place.service, ask, key)
        assert answer.status_code < HTTPStatus.MULTIPLE_CHOICES, (path, answer.text)
        assert place.contents() == done, path


# With nothing that waits for them, they find nothing to do.
UNMOVED = frozenset(
    {
        "/v1/contracts/{contract_id}/activations",
        "/v1/contracts/{contract_id}/adoptions",
        "/v1/orders/retries",
    }
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no processes to fork"),
]
