"""For an operator that takes one thing a call: several calls at a time, each on a connection that is kept alive.

How much may have been done is decided call by call. The first that fails has no further one begun: what was not begun
has no receipt, and surely was not done; what was under way then ends as it may. An answer, or a number, that cannot be
read is the outcome of its own order, which is unknown, and stops no other, unless nothing at all can be read.
"""

import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from services.operator_bridge.interface import (
    OperatorFailure,
    OperatorRefused,
    OperatorUnavailable,
    Order,
    Receipt,
    Unreadable,
)

_T = TypeVar("_T")
_R = TypeVar("_R")
MAX_CALLS = 8
_AHEAD = 32 * MAX_CALLS


def answers(ask: Callable[[_T], _R], questions: Iterable[_T]) -> Iterator[_R]:
    """The answer to each question, in their order; questions are read as a stream. Raises what `ask` raises."""
    rest = iter(questions)
    here = contextvars.copy_context()

    def in_this_context(question: _T) -> _R:  # log lines and traces belong to the same request in every thread
        return here.copy().run(ask, question)

    with ThreadPoolExecutor(MAX_CALLS) as pool:
        while part := list(islice(rest, _AHEAD)):
            yield from pool.map(in_this_context, part)


def receipts(call: Callable[[Order], str | None], orders: Sequence[Order]) -> Iterator[Receipt]:
    """A receipt for each order that was done, refused, or perhaps done; `call` gives the cheque's number if it has one.

    Raises OperatorUnavailable at the end where orders were left: those without a receipt were surely not done.
    """
    failures: list[OperatorFailure] = []
    unreadable: list[OperatorFailure] = []

    def send(order: Order) -> Receipt | None:
        if failures:
            return None
        try:
            return Receipt(order.reference, "accepted", number=call(order))
        except OperatorRefused as refusal:
            return Receipt(order.reference, "refused", str(refusal))
        except Unreadable as fault:
            unreadable.append(fault)
            return Receipt(order.reference, "unknown", str(fault))
        except OperatorFailure as failure:
            failures.append(failure)
            unavailable = isinstance(failure, OperatorUnavailable)
            return None if unavailable else Receipt(order.reference, "unknown", str(failure))

    yield from filter(None, answers(send, orders))
    if len(unreadable) == len(orders) > 1:
        failures += unreadable
    if failures:
        raise OperatorUnavailable(str(failures[0]), getattr(failures[0], "retry_after", None))
