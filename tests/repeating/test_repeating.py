"""Every request that creates is done once, however often it comes: draft-ietf-httpapi-idempotency-key-header-07."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from shared.http import idempotency, openapi
from shared.values.ids import new_id
from tests.repeating.conftest import Place
from tests.repeating.creating import Ask

# They create, and take no key: why stands beside each.
KEYLESS = {
    "/v1/oauth/token": "a token is made anew each time, and the one before stays as it is",
}
# Their answer is a secret and is shown once: tests/shared/access has what a repeat is told.
SHOWN_ONCE = {"/v1/oauth/clients/{client_id}/secrets"}

pytestmark = pytest.mark.slow


def slug(answer: TestResponse) -> tuple[int, str]:
    """The status and the short name of a refusal."""
    return answer.status_code, str((answer.get_json() or {}).get("type", "")).removeprefix("urn:souche:")


def made(answer: TestResponse) -> bytes:
    """What was answered to a request that was done."""
    assert 200 <= answer.status_code < 300, answer.text
    body: bytes = answer.data
    return body


def test_every_route_that_creates_takes_a_key_and_is_tried_here(place: Place) -> None:
    document = place.service.client.get("/openapi.json").get_json()
    posts = {path: item["post"] for path, item in document["paths"].items() if "post" in item}
    keyed = {
        path
        for path, operation in posts.items()
        if any(one.get("name") == idempotency.HEADER for one in operation.get("parameters", ()))
    }
    assert keyed - SHOWN_ONCE == set(place.creators)
    creating = {path for path, operation in posts.items() if "201" in operation["responses"]}
    assert creating - keyed <= set(KEYLESS)


def test_the_same_request_again_gets_the_same_bytes_and_changes_nothing(place: Place) -> None:
    for path, create in place.creators.items():
        ask, key = create(), str(new_id())
        first = ask.send(place.service, key)
        body, before = made(first), place.contents()
        again = ask.send(place.service, key)
        assert (again.status_code, again.data, again.content_type) == (first.status_code, body, first.content_type), (
            path
        )
        assert place.contents() == before, path


def test_another_request_under_the_same_key_is_refused_even_where_it_would_be_wrong(place: Place) -> None:
    for path, create in place.creators.items():
        ask, other, key = create(), create(), str(new_id())
        made(ask.send(place.service, key))
        before = place.contents()
        if other != ask:
            assert slug(other.send(place.service, key)) == (422, "idempotency-key-reused"), path
        wrong = Ask(ask.path, {"surprise": 1} if not isinstance(ask.body, bytes) else b"?", ask.role, ask.scope)
        if path != "/v1/redemptions":  # there the answer is not kept beside what was done: it is what was done
            assert slug(wrong.send(place.service, key)) == (422, "idempotency-key-reused"), path
        assert place.contents() == before, path


def test_a_key_is_its_callers_own(place: Place) -> None:
    for path, create in place.creators.items():
        key = str(new_id())
        first, second = create(), create()
        scoped = path == "/v1/redemptions"  # there a structure is one caller, whichever of its tills asks
        made(first.send(place.service, key))
        answer = second.send(place.service, key, subject="somebody else")
        if scoped:
            assert slug(answer) == (422, "idempotency-key-reused")
        else:
            assert answer.status_code < 300, (path, answer.text)


def test_without_the_key_that_a_route_requires_nothing_is_done(place: Place) -> None:
    document = place.service.client.get("/openapi.json").get_json()
    for path, create in place.creators.items():
        [header] = [
            one for one in document["paths"][path]["post"]["parameters"] if one.get("name") == idempotency.HEADER
        ]
        ask = create()
        before = place.contents()
        answer = ask.send(place.service, None)
        if header["required"]:
            assert slug(answer) == (400, "idempotency-key-missing"), path
            assert place.contents() == before, path
        elif path != "/v1/grants/bulk":  # its lines need references then
            made(answer)


def test_a_key_that_cannot_be_kept_is_refused(place: Place) -> None:
    for path, create in place.creators.items():
        ask = create()
        before = place.contents()
        assert ask.send(place.service, "k" * (idempotency.MAX_LENGTH + 1)).status_code == 422, path
        assert place.contents() == before, path


@contextmanager
def answers_held_back(place: Place) -> Iterator[sa.Connection]:
    """While it lasts, what is done cannot be kept, and no cheque can be spent: requests stay in hand."""
    with place.service.runtime.engine.connect() as connection, connection.begin():
        connection.execute(sa.text("LOCK TABLE idempotent_answer IN SHARE MODE"))
        if place.service.settings.service == "redeemer":
            connection.execute(sa.text("SELECT FROM cheque FOR UPDATE"))
        yield connection


def waiting(connection: sa.Connection) -> bool:
    """Whether a request waits for what is held."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    return bool(connection.scalar(sa.text(query)))


def test_while_the_first_is_in_hand_the_second_is_told_so(place: Place) -> None:
    for path, create in place.creators.items():
        ask, key = create(), str(new_id())
        with ThreadPoolExecutor(1) as pool:
            with answers_held_back(place) as connection:
                first = pool.submit(ask.send, place.service, key)
                deadline = time.monotonic() + 5
                while not waiting(connection):
                    assert time.monotonic() < deadline, (path, first.result().text if first.done() else "")
                    time.sleep(0.01)
                second = ask.send(place.service, key)
                assert slug(second) == (409, "request-in-hand"), path
                assert second.headers["Retry-After"], path
            body = made(first.result())
        assert ask.send(place.service, key).data == body, path


def test_of_many_at_once_one_is_done(place: Place) -> None:
    for path, create in place.creators.items():
        ask, key, together = create(), str(new_id()), threading.Barrier(6)

        def send(ask: Ask = ask, key: str = key, together: threading.Barrier = together) -> TestResponse:
            together.wait()
            return ask.send(place.service, key)

        with ThreadPoolExecutor(6) as pool:
            answers = [one.result() for one in [pool.submit(send) for _ in range(6)]]
        done = {answer.data for answer in answers if answer.status_code < 300}
        assert len(done) == 1, path
        refused = {slug(answer) for answer in answers if answer.status_code >= 300}
        assert refused <= {(409, "request-in-hand")}, (path, refused)
        assert ask.send(place.service, key).data in done, path


def test_the_key_is_in_the_document(place: Place) -> None:
    document = place.service.client.get("/openapi.json").get_json()
    assert document["openapi"] == openapi.settings(place.service.settings.service)["OPENAPI_VERSION"]
    for path in place.creators:
        assert {"400", "409", "422"} <= set(document["paths"][path]["post"]["responses"]), path
