"""Waiting for the bodies of requests, however slowly they are sent.

A thread that waits for a body serves nobody else. So at most half of a process's threads wait for one caller, and for
all callers without a token together. Beyond that number a request waits for a moment, in case the bodies before it are
only just arriving, and is refused.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app, request

from shared.problems import Unavailable

STRANGERS = "whoever shows no token"
_A_MOMENT = 1.0


class TooSlow(Unavailable, slug="slow-bodies", title="Too many requests are still being sent"):
    """Too many bodies have been on their way for too long for another to be waited for."""


class SlowBodies:
    """The callers whose bodies one process waits for, and since when."""

    def __init__(self, threads: int) -> None:
        self._most = max(1, threads // 2)
        self._changed = threading.Condition()
        self._since: dict[str, list[float]] = {}

    @contextmanager
    def waited_for(self, who: str) -> Iterator[None]:
        """Takes one of the caller's places; raises TooSlow where bodies that do not arrive take all of them."""
        with self._changed:
            while len(taken := self._since.get(who, ())) >= self._most:
                left = max(taken) + _A_MOMENT - time.monotonic()
                if left <= 0:
                    headers = {"Retry-After": "5"}
                    detail = "Send the whole request at once, or later."
                    raise TooSlow(detail, headers=headers, error="temporarily_unavailable")
                self._changed.wait(left)
            self._since.setdefault(who, []).append(began := time.monotonic())
        try:
            yield
        finally:
            with self._changed:
                self._since[who].remove(began)
                if not self._since[who]:
                    del self._since[who]
                self._changed.notify_all()


def read(who: str) -> bytes:
    """The body of the request in hand, which this caller sends; raises TooSlow."""
    slow: SlowBodies = current_app.extensions["souche"].slow_bodies
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return b""
    with slow.waited_for(who):
        return request.get_data(cache=True)
