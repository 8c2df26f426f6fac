"""Prescribers and tills at work, by the documented way in, and a record of every answer they got."""

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import requests

from demo.acts.calls import Identity
from tests.compose.deployment import Deployment

_TIMEOUT = (5.0, 60.0)
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.5


@dataclass
class Load:
    """What is asked of the services, and what came of it."""

    deployment: Deployment
    way_in: Callable[[str], list[str]]
    """The addresses at which a service can be reached now: the proxy's one, or those of all its replicas."""
    stopped: threading.Event = field(default_factory=threading.Event)
    answers: Counter[str] = field(default_factory=Counter)
    redeemed: list[str] = field(default_factory=list)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)
    _granted: deque[tuple[str, str]] = field(default_factory=deque)
    _known: deque[tuple[str, str]] = field(default_factory=deque)
    """Cheques of which the tills have had the news, by code and id."""

    @contextmanager
    def going_on(self, prescribers: int = 1, tills: int = 3) -> Iterator["Load"]:
        """Works until the end of the block."""
        adviser, till = self.deployment.adviser, self.deployment.till
        watcher = Identity("operations")
        roles = [self._carry, *[self._grant] * prescribers, *[self._redeem] * tills]
        callers = [watcher, *[adviser] * prescribers, *[till] * tills]
        threads = [
            threading.Thread(target=self._work, args=(role, self._token(who.role, who.scope)))
            for role, who in zip(roles, callers, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()

    def _token(self, role: str, scope: str | None) -> str:
        return self.deployment.signer.token(role, scope, "load")

    def _work(self, act: Callable[[requests.Session], None], token: str) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            while not self.stopped.is_set():
                try:
                    act(session)
                except Exception as error:
                    self.faults.append(repr(error))
                time.sleep(0.02)

    def _grant(self, session: requests.Session) -> None:
        body = {"programme": "pass", "amount_cents": 5000, "reason": "évaluation"}
        answer = self._post(session, "issuer", "/v1/grants", body)
        if answer is not None and answer.status_code == 201:
            self._granted.extend((each["code"], each["cheque_id"]) for each in answer.json()["cheques"])
        time.sleep(0.2)

    def _redeem(self, session: requests.Session) -> None:
        try:
            code, cheque_id = self._known.popleft()
        except IndexError:
            return
        answer = self._post(session, "redeemer", "/v1/redemptions", {"codes": [code]})
        if answer is not None and answer.status_code == 201:
            self.redeemed.append(cheque_id)

    def _carry(self, session: requests.Session) -> None:
        """Gives the tills the cheques of which the redeemer has had the news."""
        told = len(self._granted)
        head = self._reading(session, "issuer")["head"]
        while not self.stopped.wait(_LOOK_SECONDS):
            cursors = {each["publisher"]: each["position"] for each in self._reading(session, "redeemer")["cursors"]}
            if cursors["issuer"] >= head:
                self._known.extend(self._granted.popleft() for _ in range(told))
                return

    def _reading(self, session: requests.Session, service: str) -> Any:
        """How far a service has read, once somebody says so."""
        while True:
            for address in self.way_in(service):
                with contextlib.suppress(requests.ConnectionError, KeyError, ValueError):
                    return session.get(f"{address}/v1/events/reading", timeout=_TIMEOUT).json()
            time.sleep(_LOOK_SECONDS)

    def _post(self, session: requests.Session, service: str, path: str, body: object) -> requests.Response | None:
        """One request with its key. Where nobody answers it goes to the next address, as a proxy does."""
        headers, began = {"Idempotency-Key": str(uuid4())}, time.monotonic()
        answer = None
        while answer is None and time.monotonic() - began < _PATIENCE_SECONDS:
            for address in self.way_in(service):
                try:
                    answer = session.post(f"{address}{path}", json=body, headers=headers, timeout=_TIMEOUT)
                    break
                except requests.ConnectionError:
                    self.answers[f"{service}: no connection"] += 1
        self.answers[f"{service}: {answer.status_code if answer is not None else 'nobody'}"] += 1
        if answer is not None and answer.status_code >= 400:
            self.faults.append(answer.text)
        self.slowest = max(self.slowest, time.monotonic() - began)
        return answer
