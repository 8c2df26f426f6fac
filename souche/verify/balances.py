"""All balances from the rows of all three services, cheque by cheque.

For every programme, envelope and contract: issued = pending + spendable + redeemed + cancelled + expired + blocked, in
number and in cents. The three services are read as three streams in the order of the cheques' ids and compared side by
side, so memory stays flat and they may live in three databases.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from souche.verify import ledgers, rows
from souche.verify.logs import heads, wait_until_read
from souche.verify.reading import Engines, Fault

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


def check(engines: Engines, everything: bool = False) -> Books:
    """The books of the three services; raises Fault, which names the first row that does not fit, or `everything`."""
    books: Books = {}
    with closing(_faults(engines, books)) as faults:
        found = list(islice(faults, None if everything else 1))
    if found:
        raise Fault("\n  ".join([f"{len(found)} differences", *found]) if everything else found[0])
    return books


def _faults(engines: Engines, books: Books) -> Generator[str, None, None]:
    with rows.cheques(engines) as cheques:
        for cheque_id, (issued, spendable, registered) in cheques:
            fault = rows.cheque_fault(cheque_id, issued, spendable, registered)
            if fault:
                yield fault
            else:
                _count(books, issued, spendable, registered)
    with rows.redemptions(engines) as redemptions:
        for redemption_id, (owed, declared) in redemptions:
            if fault := rows.redemption_fault(redemption_id, owed, declared):
                yield fault
    yield from ledgers.faults(engines["issuer"], ledgers.ISSUER)
    yield from ledgers.faults(engines["redeemer"], ledgers.REDEEMER)
    yield from rows.contract_faults(engines)


def _count(books: Books, issued: Any, spendable: Any, registered: Any) -> None:
    names = [("programme", issued.programme), ("envelope", issued.envelope)]
    names += [("contract", code) for code in registered.contracts or ()]
    for name in names:
        books.setdefault(name, Tally()).add(spendable.state, spendable.value_cents)
