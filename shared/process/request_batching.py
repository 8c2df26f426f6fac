"""Batches of requests: simultaneous queries of several threads run as one statement.

One thread runs the statement for all that wait, and wakes them with their answers; the first of those that arrived
meanwhile leads the next batch. Nobody waits for a batch to fill. Most of a statement's cost is fixed (setting up its
plan, writing its commit to disk), so the busier a process is, the less each request costs.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import psycopg

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")

_BATCH_SIZE = 32


class _Waiting(Generic[_Request, _Answer]):
    def __init__(self, request: _Request) -> None:
        self.request = request
        self.answer: _Answer | None = None
        self.leads = False
        self.woken = threading.Lock()
        self.woken.acquire()


class RequestBatcher(Generic[_Request, _Answer]):
    """The requests of one kind of the threads of one process.

    `run` answers several at once, in their order, with None for a request that must be run alone.
    """

    def __init__(self, run: Callable[[Sequence[_Request]], Sequence[_Answer | None]]) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[_Request, _Answer]] = []
        self._has_leader = False

    def submit(self, request: _Request) -> _Answer | None:
        """The answer; None where the request must be run alone: it does not go with the others, or all failed."""
        mine = _Waiting[_Request, _Answer](request)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._has_leader = not self._has_leader, True
        if not mine.leads:
            mine.woken.acquire()
        if mine.leads:
            self._lead(mine)
        return mine.answer

    def _lead(self, mine: _Waiting[_Request, _Answer]) -> None:
        with self._lock:
            batch, self._waiting = self._waiting[:_BATCH_SIZE], self._waiting[_BATCH_SIZE:]
        try:
            answers = self._run([waiting.request for waiting in batch])
            for waiting, answer in zip(batch, answers, strict=True):
                waiting.answer = answer
        except psycopg.Error:
            pass  # whose fault it was shows when each is run alone
        finally:
            self._wake([waiting for waiting in batch if waiting is not mine])

    def _wake(self, others: Sequence[_Waiting[_Request, _Answer]]) -> None:
        with self._lock:
            following = self._waiting[:1]
            self._has_leader = bool(following)
        for waiting in following:
            waiting.leads = True
        for waiting in [*following, *others]:
            waiting.woken.release()
