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
AT_ONCE = 8
"""So many calls at a time."""
_AHEAD = 32 * AT_ONCE

_Failure = OperatorUnavailable | NoAnswer | Unreadable


def each(ask: Callable[[_T], _R], given: Iterable[_T]) -> Iterator[_R]:
    """What is answered for each, in their order; what is given is read as a stream. Raises what `ask` raises."""
    rest = iter(given)
    here = contextvars.copy_context()

    def for_us(one: _T) -> _R:
        """The request in hand is the same in every thread."""
        return here.copy().run(ask, one)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        while part := list(islice(rest, _AHEAD)):
            yield from pool.map(for_us, part)


def receipts(call: Callable[[Order], str | None], orders: Sequence[Order]) -> Iterator[Receipt]:
    """A receipt for each order that was done, refused, or perhaps done; `call` gives the cheque's number if it has one.

    Raises OperatorUnavailable at the end where orders were left: those without a receipt were surely not done.
    """
    sending = _Sending(call)
    for outcome in each(sending.send, orders):
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
