"""For an operator that takes one thing a call: several calls at a time, each on a connection that is kept alive.

How much may have been done is decided call by call. The first that fails has no further one begun: what was not begun
has no receipt, and surely was not done; what was under way then ends as it may.
"""

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from services.operator_bridge.interface import (
    NoAnswer,
    OperatorRefused,
    OperatorUnavailable,
    Order,
    Receipt,
    Unreadable,
)

_T = TypeVar("_T")
_R = TypeVar("_R")
MAX_CALLS = 8
"""How many calls are made at a time."""
_AHEAD = 32 * MAX_CALLS

_Failure = OperatorUnavailable | NoAnswer | Unreadable


def answers(ask: Callable[[_T], _R], questions: Iterable[_T]) -> Iterator[_R]:
    """The answer to each question, in their order; questions are read as a stream. Raises what `ask` raises."""
    rest = iter(questions)
    here = contextvars.copy_context()

    def in_this_context(question: _T) -> _R:
        """Log lines and traces belong to the same request in every thread."""
        return here.copy().run(ask, question)

    with ThreadPoolExecutor(MAX_CALLS) as pool:
        while part := list(islice(rest, _AHEAD)):
            yield from pool.map(in_this_context, part)


def receipts(call: Callable[[Order], str | None], orders: Sequence[Order]) -> Iterator[Receipt]:
    """A receipt for each order that was done, refused, or perhaps done; `call` gives the cheque's number if it has one.

    Raises OperatorUnavailable at the end where orders were left: those without a receipt were surely not done.
    """
    sending = _Sending(call)
    for outcome in answers(sending.send, orders):
        if outcome:
            yield outcome
    if sending.failure:
        raise OperatorUnavailable(str(sending.failure), getattr(sending.failure, "retry_after", None))


class _Sending:
    """The calls of one batch."""

    def __init__(self, call: Callable[[Order], str | None]) -> None:
        self._call = call
        self._failed = threading.Event()
        self.failure: _Failure | None = None
        """The first that went wrong."""

    def send(self, order: Order) -> Receipt | None:
        """One order's receipt; none where it was not begun, or where the operator surely did nothing."""
        if self._failed.is_set():
            return None
        try:
            return Receipt(order.reference, "accepted", number=self._call(order))
        except OperatorRefused as refusal:
            return Receipt(order.reference, "refused", str(refusal))
        except (OperatorUnavailable, NoAnswer, Unreadable) as failure:
            self.failure = self.failure or failure
            self._failed.set()
            if isinstance(failure, OperatorUnavailable):
                return None
            return Receipt(order.reference, "unknown", str(failure))
