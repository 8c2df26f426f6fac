"""All balances from the rows of all three services, cheque by cheque.

For every programme, envelope and contract: issued = pending + spendable + redeemed + cancelled + expired + blocked, in
number and in cents. The three services are read as three streams in the order of the cheques' ids and compared side by
side, so memory stays flat and they may live in three databases.
"""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from souche.verify import journal, rows, statements
from souche.verify.reading import Engines
from souche.verify.rows import Fault
from souche.verify.waiting import heads, wait_until_read

_TRIES = 5


@dataclass
class Tally:
    """Number and cents per state, for one programme, envelope or contract."""

    number: Counter[str] = field(default_factory=Counter)
    cents: Counter[str] = field(default_factory=Counter)

    def add(self, state: str, value_cents: int) -> None:
        """Counts one cheque."""
        self.number[state] += 1
        self.cents[state] += value_cents


Books = dict[tuple[str, str], Tally]
"""Tallies by kind (`programme`, `envelope`, `contract`) and name."""


def check_at_rest(engines: Engines, wait: float, everything: bool = False) -> Books:
    """The books, once all events are read; raises Fault, which names the first difference, or `everything`.

    Rows that are read before and after a change differ without a fault: they are compared again while events are added.
    """
    for _ in range(_TRIES):
        wait_until_read(engines, wait)
        before = heads(engines)
        try:
            return check(engines, everything)
        except Fault:
            if heads(engines) == before:
                raise
    raise Fault("the services were at work while they were read: verify when they rest")


class _Faults:
    """Stops at the first fault, or collects all of them."""

    def __init__(self, everything: bool) -> None:
        self._everything = everything
        self._found: list[str] = []

    def passes(self, check: Callable[..., None], *arguments: Any) -> bool:
        """Whether a check passes; raises its Fault unless all are collected."""
        try:
            check(*arguments)
        except Fault as fault:
            if not self._everything:
                raise
            self._found.append(str(fault))
            return False
        return True

    def close(self) -> None:
        """Raises Fault with all that were collected."""
        if self._found:
            raise Fault("\n  ".join([f"{len(self._found)} differences", *self._found]))


def check(engines: Engines, everything: bool = False) -> Books:
    """The books of the three services; raises Fault, which names the first row that does not fit, or `everything`."""
    books: Books = {}
    faults = _Faults(everything)
    with rows.cheques(engines) as cheques:
        for cheque_id, (issued, spendable, registered) in cheques:
            if faults.passes(rows.check_cheque, cheque_id, issued, spendable, registered):
                _count(books, issued, spendable, registered)
    with rows.redemptions(engines) as redemptions:
        for redemption_id, (owed, declared) in redemptions:
            faults.passes(rows.check_redemption, redemption_id, owed, declared)
    faults.passes(_expect_none, journal.faults(engines["issuer"]))
    faults.passes(_expect_none, statements.faults(engines["redeemer"]))
    faults.passes(rows.check_contracts, engines)
    faults.close()
    return books


def _expect_none(faults: Generator[str, None, None]) -> None:
    with closing(faults):
        for fault in faults:
            raise Fault(fault)


def _count(books: Books, issued: Any, spendable: Any, registered: Any) -> None:
    names = [("programme", issued.programme), ("envelope", issued.envelope)]
    names += [("contract", code) for code in registered.contracts or ()]
    for name in names:
        books.setdefault(name, Tally()).add(spendable.state, spendable.value_cents)
