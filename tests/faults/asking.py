"""How a client asks: again with the same key while no answer comes, as a till does; and it writes down what it is told.

Every so often it throws an answer away before it reads it, or asks once more for what it was answered: the same key
must get the same answer.
"""

import itertools
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import requests

from demo.acts.calls import Calls, Identity
from tests.faults.record import Entry, Record

TIMEOUT = (2.0, 15.0)
TRIES = 4
RETRY_SECONDS = 0.4
LOSES_AN_ANSWER = 0.04
NO_TIME_TO_ANSWER = (2.0, 0.002)
ASKS_ONCE_MORE = 0.04
# What says that nothing was decided: a server error, or a request with the same key still in hand.
UNDECIDED = {500, 502, 503, 504}
IN_HAND = "urn:souche:request-in-hand"


@dataclass(frozen=True)
class Request:
    """What is asked of whom, by whom."""

    kind: str
    service: str
    path: str
    who: Identity
    body: Mapping[str, Any]
    codes: tuple[str, ...] = field(default=(), repr=False)
    subject: str = ""
    repeatable: bool = True
    """Whether the same key is answered the same again; a check is not kept, and cheques change between two of them."""


class Client:
    """Somebody who calls the services, with a name, and chances that come of it."""

    def __init__(self, calls: Calls, record: Record, name: str) -> None:
        self.record = record
        self.chance = random.Random(name)
        self._names = (f"{name}, {number}" for number in itertools.count(1))
        self._calls = calls
        self._session = requests.Session()
        self._session.trust_env = False

    def next_name(self) -> str:
        """A name for something new, which nothing else has."""
        return next(self._names)

    def ask(self, request: Request) -> Entry:
        """Asks until there is an answer, or patience ends; writes down what came of it."""
        entry = Entry(request.kind, str(uuid4()), "unanswered", {}, request.codes, request.subject)
        if self.chance.random() < LOSES_AN_ANSWER:
            self._lose_an_answer(request, entry.key)
        for attempt in range(TRIES):
            if attempt:
                time.sleep(RETRY_SECONDS * 2**attempt)
            if self._settles(entry, request):
                break
        if request.repeatable and entry.outcome == "done" and self.chance.random() < ASKS_ONCE_MORE:
            self._ask_once_more(request, entry)
        self.record.add(entry)
        return entry

    def _settles(self, entry: Entry, request: Request) -> bool:
        answer = self._send(request, entry.key)
        if answer is None:
            return False
        self.record.served(request.service)
        entry.answer = answer.json()
        entry.outcome = "done" if answer.ok else "refused"
        return True

    def _send(self, request: Request, key: str) -> requests.Response | None:
        """The answer, where there is one that decides."""
        self.record.count("requests")
        try:
            answer = self._post(request, key, TIMEOUT)
            told = answer.json()
        except (requests.RequestException, ValueError):
            return None
        if answer.status_code == requests.codes.internal_server_error:
            self.record.blame(f"{request.service} {request.path} answered 500")
        undecided = answer.status_code in UNDECIDED or told.get("type") == IN_HAND
        return None if undecided else answer

    def _lose_an_answer(self, request: Request, key: str) -> None:
        """Hangs up at once: the service may do it or not, and nobody reads its answer."""
        self.record.count("requests")
        self.record.count("answers thrown away")
        try:
            self._post(request, key, NO_TIME_TO_ANSWER)
        except requests.RequestException:
            return

    def _ask_once_more(self, request: Request, entry: Entry) -> None:
        again = self._send(request, entry.key)
        if again is None:
            return
        self.record.count("answers asked for once more")
        if again.json() != entry.answer:
            self.record.blame(f"{request.kind} {entry.key} was answered otherwise when it was asked again")

    def _post(self, request: Request, key: str, timeout: tuple[float, float]) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._calls.token(request.who)}", "Idempotency-Key": key}
        address = self._calls.addresses[request.service] + request.path
        return self._session.post(address, json=request.body, headers=headers, timeout=timeout)

    def post_to(self, address: str, body: Mapping[str, Any]) -> requests.Response | None:
        """Tells something to somebody who is not of ours, once, without a token; their answer, if there is one."""
        self.record.count("requests")
        try:
            answer = self._session.post(address, json=body, timeout=TIMEOUT)
        except requests.RequestException:
            return None
        return None if answer.status_code in UNDECIDED else answer

    def look(self, service: str, path: str, who: Identity) -> bool:
        """Whether a service shows what is at a path."""
        self.record.count("requests")
        headers = {"Authorization": f"Bearer {self._calls.token(who)}"}
        try:
            return self._session.get(self._calls.addresses[service] + path, headers=headers, timeout=TIMEOUT).ok
        except requests.RequestException:
            return False
