"""Sending webhooks as an operator does: signed by Standard Webhooks, in the background, tried again until accepted."""

import itertools
import json
import queue
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import requests
from standardwebhooks import Webhook

from demo.simulators.faults import Faults

_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SENDERS = 2
_TIMEOUT_SECONDS = 10.0
_WRONG_SECRET = "whsec_" + "A" * 32


@dataclass(frozen=True)
class _Message:
    identifier: str
    body: str
    attempt: int = 0


class Sender:
    """Sends messages to one address, signed with one secret; `old_secret` is the one that it replaces."""

    def __init__(self, url: str, secret: str, faults: Faults, old_secret: str = "") -> None:
        self.secret = secret
        self.old_secret = old_secret
        self.silent = False
        self._held_up: _Message | None = None
        self._faults = faults
        self.delivered = 0
        self._url = url
        self._numbers = itertools.count()
        self._waiting: queue.PriorityQueue[tuple[float, int, _Message]] = queue.PriorityQueue()
        for _ in range(_SENDERS):
            threading.Thread(target=self._run, name="webhooks", daemon=True).start()

    def send(self, kind: str, data: Mapping[str, Any]) -> None:
        """Sends a message some time soon; returns at once."""
        if self.silent or self._faults.happens("lose_webhooks"):
            return
        found = {} if self._faults.happens("malformed_webhooks") else data
        body = json.dumps({"type": kind, "timestamp": datetime.now(UTC).isoformat(), "data": found})
        for _ in range(2 if self._faults.happens("repeat_webhooks") else 1):
            self._line_up(_Message(f"msg_{uuid4().hex}", body))

    def _line_up(self, message: _Message) -> None:
        """Sends a message, and after it one that is to come out of order."""
        if self._held_up is None and self._faults.happens("disorder_webhooks"):
            self._disorder(message, self._faults.seconds("disorder_webhooks"))
            return
        late = self._faults.seconds("late_webhooks") if self._faults.happens("late_webhooks") else 0.0
        self._put(message, late)
        if self._held_up:
            self._put(self._held_up, late + 0.1)
            self._held_up = None

    def _disorder(self, message: _Message, within: float) -> None:
        if within:
            self._put(message, random.uniform(0.0, within))  # noqa: S311 (which comes first is no secret)
        else:
            self._held_up = message

    def deliver(self, identifier: str, body: str, *, secret: str | None = None, at: datetime | None = None) -> int:
        """Sends one message now, and gives the status of the answer."""
        moment = at or datetime.now(UTC)
        signature = Webhook(secret or self.secret).sign(identifier, moment, body)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": identifier,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": signature,
        }
        return requests.post(self._url, data=body.encode(), headers=headers, timeout=_TIMEOUT_SECONDS).status_code

    @property
    def waiting(self) -> int:
        """How many messages are not delivered yet."""
        return self._waiting.unfinished_tasks

    def _put(self, message: _Message, pause: float) -> None:
        self._waiting.put((time.monotonic() + pause, next(self._numbers), message))

    def _run(self) -> None:
        while True:
            due, number, message = self._waiting.get()
            if due > time.monotonic():
                time.sleep(0.05)
                self._waiting.put((due, number, message))
            else:
                self._try(message)
            self._waiting.task_done()

    def _try(self, message: _Message) -> None:
        try:
            accepted = self.deliver(message.identifier, message.body, secret=self._key()) < 300
        except requests.RequestException:
            accepted = False
        if accepted:
            self.delivered += 1
        elif message.attempt < len(_PAUSES):
            self._put(_Message(message.identifier, message.body, message.attempt + 1), _PAUSES[message.attempt])

    def _key(self) -> str:
        if self._faults.happens("bad_signature"):
            return _WRONG_SECRET
        return self.old_secret if self._faults.happens("old_key") and self.old_secret else self.secret
