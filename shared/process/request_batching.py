"""Asking together: what several threads want of the database at the same time is one statement, not as many.

One of them asks for all that wait, and the others wait for it; when it has its answers it wakes them, and the first of
those who came meanwhile asks for the next. Nobody waits for company: who comes alone asks alone, at once. A statement
costs mostly what it costs once (its plan set up, its commit written to the disk), so the busier a process is, the less
each request costs.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import psycopg

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

_MOST = 32


class _Waiting(Generic[_Asked, _Answer]):
    def __init__(self, asked: _Asked) -> None:
        self.asked = asked
        self.answer: _Answer | None = None
        self.leads = False
        self.woken = threading.Lock()
        self.woken.acquire()


class Together(Generic[_Asked, _Answer]):
    """The threads of one process that ask the same kind of thing.

    `ask` answers several at once, in their order, with None for what must be asked alone.
    """

    def __init__(self, ask: Callable[[Sequence[_Asked]], Sequence[_Answer | None]]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[_Asked, _Answer]] = []
        self._led = False

    def ask(self, asked: _Asked) -> _Answer | None:
        """The answer, or None where this is to be asked alone: it does not go with the others, or they all failed."""
        mine = _Waiting[_Asked, _Answer](asked)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._led = not self._led, True
        if not mine.leads:
            mine.woken.acquire()
        if mine.leads:
            self._lead(mine)
        return mine.answer

    def _lead(self, mine: _Waiting[_Asked, _Answer]) -> None:
        with self._lock:
            those, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        try:
            answers = self._ask([each.asked for each in those])
            for each, answer in zip(those, answers, strict=True):
                each.answer = answer
        except psycopg.Error:
            pass  # whose fault it was shows when each asks alone
        finally:
            self._wake([each for each in those if each is not mine])

    def _wake(self, others: Sequence[_Waiting[_Asked, _Answer]]) -> None:
        with self._lock:
            following = self._waiting[:1]
            self._led = bool(following)
        for each in following:
            each.leads = True
        for each in [*following, *others]:
            each.woken.release()
