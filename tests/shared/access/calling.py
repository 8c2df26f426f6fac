"""Calling a service with a token in hand."""

import time

from werkzeug.test import TestResponse

from shared.access.revocations import FRESH_SECONDS
from tests.harness import ServiceUnderTest


def call(service: ServiceUnderTest, token: str, path: str = "/v1/grants") -> TestResponse:
    """A GET with this token."""
    return service.app.test_client().get(path, headers={"Authorization": f"Bearer {token}"})


def eventually_refused(service: ServiceUnderTest, token: str, path: str = "/v1/grants") -> TestResponse:
    """The first answer that refuses a token which was taken back, as soon as it has to."""
    deadline = time.monotonic() + FRESH_SECONDS + 5
    while (answer := call(service, token, path)).status_code != 401:
        assert time.monotonic() < deadline, "the token is still taken"
        time.sleep(0.1)
    return answer
