"""Tills that go on whatever happens behind them: workshops are paid and cheques checked until they are stopped."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import requests

from demo.acts import spending
from demo.acts.calls import Unexpected
from demo.acts.year import Bar, Cheque, Visit, Year
from shared.values import clock

TILLS = 4
REST_SECONDS = 0.1  # of a till between two customers
FAREWELL_SECONDS = 5.0


class Request(NamedTuple):
    """A till's request: its phase, the time until its answer, and the reason if it was refused."""

    phase: str
    seconds: float
    refusal: str | None


class Traffic:
    """Visits to be paid meanwhile, cheques that somebody only has checked, and how the tills were answered."""

    def __init__(self, year: Year, name: str, visits: Iterable[Visit], spare: Sequence[Cheque]) -> None:
        self.phase = ""
        self.requests: list[Request] = []
        self._year = year
        self._numbered = deque((f"{name} {number}", visit) for number, visit in enumerate(visits))
        self._planned = len(self._numbered)
        self._for_later = 0
        self._spare = itertools.cycle(spare)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._unavailable_before = self._unavailable

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Runs all tills while the block runs."""
        tills = [threading.Thread(target=self._work, name="till", daemon=True) for _ in range(TILLS)]
        for till in tills:
            till.start()
        try:
            yield
        finally:
            self._stopping.set()
            for till in tills:
                till.join(FAREWELL_SECONDS)

    def enter(self, phase: str, *, leaving: float = 0.0) -> None:
        """Another phase begins, which leaves this share of all visits for later ones."""
        self.phase, self._for_later = phase, round(self._planned * leaving)

    def last(self, phase: str, seconds: float, *, leaving: float) -> None:
        """A phase that lasts some seconds, and leaves this share of all visits for later ones."""
        self.enter(phase, leaving=leaving)
        time.sleep(seconds)

    def finish(self, phase: str, bar: Bar) -> None:
        """Makes the visits that are left, as fast as possible."""
        self.enter(phase)
        bar.begin(len(self._numbered))
        self._year.at_once(self._pay, list(self._numbered), bar)

    @property
    def refused(self) -> int:
        """How many requests were refused, or answered only when they were sent again."""
        unavailable = self._unavailable - self._unavailable_before
        return sum(1 for request in self.requests if request.refusal) + unavailable

    @property
    def _unavailable(self) -> int:
        return self._year.calls.unavailable["redeemer"]

    def _work(self) -> None:
        while not self._stopping.wait(REST_SECONDS):
            with self._lock:
                visit = self._numbered.popleft() if len(self._numbered) > self._for_later else None
                cheque = next(self._spare, None)
            if visit:
                self._pay(visit)
            elif cheque:
                self._check(cheque)

    def _pay(self, numbered: tuple[str, Visit]) -> None:
        key, visit = numbered
        answer = self._ask("/v1/redemptions", visit, spending.presented(visit), key)
        self._year.redemptions += [
            (visit.structure, redemption["redemption_id"]) for redemption in answer.get("redemptions", ())
        ]

    def _check(self, cheque: Cheque) -> None:
        till = Visit(self._year.structures[0], [cheque], clock.today())
        self._ask("/v1/checks", till, {"code": cheque.code}, None)

    def _ask(self, path: str, visit: Visit, body: dict[str, Any], key: str | None) -> dict[str, Any]:
        """The answer, or an empty one: no answer and no failure stops a till."""
        phase, begin = self.phase, time.perf_counter()
        answer: dict[str, Any] = {}
        try:
            answer = self._year.calls.post("redeemer", path, visit.structure, body, key=key)
            refusal = answer.get("reason")  # of a check
        except (Unexpected, requests.RequestException) as error:
            refusal = str(error)
        self.requests.append(Request(phase, time.perf_counter() - begin, refusal))
        return answer
