"""What the scenario has made so far: who takes part, the grants and their cheques."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol, TypeVar

from demo.acts.calls import Calls, Identity
from demo.world.world import PlannedGrant, World

CLIENTS = 8

ADMIN = Identity("admin", subject="equipe-inclusion")
FINANCE = Identity("finance", subject="comptable")
OPERATIONS = Identity("operations", subject="exploitation")

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Bar(Protocol):
    """A progress bar as an act sees it."""

    def begin(self, total: int) -> None:
        """How much there is to do."""

    def advance(self, by: int = 1) -> None:
        """So much more is done."""


@dataclass(frozen=True)
class Cheque:
    """A cheque in somebody's hand."""

    cheque_id: str
    code: str = field(repr=False)


@dataclass
class MadeGrant:
    """A grant that was made; its codes are not known until they are handed over."""

    planned: PlannedGrant
    grant_id: str
    adviser: Identity
    valid_until: date
    presentable_until: date
    cheques: list[Cheque] = field(default_factory=list)

    def last_day(self, today: date) -> date:
        """The last day up to today on which its cheques pay for a workshop."""
        return min(self.valid_until, today)


@dataclass(frozen=True)
class Visit:
    """A person pays a workshop at a structure with some cheques."""

    structure: Identity
    cheques: Sequence[Cheque]
    given_on: date


@dataclass
class Year:
    """Everything that the acts of the scenario share."""

    world: World
    calls: Calls
    advisers: list[Identity] = field(default_factory=list)
    structures: list[Identity] = field(default_factory=list)
    contract_id: str = ""
    grants: list[MadeGrant] = field(default_factory=list)
    redemptions: list[tuple[Identity, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    replaced_seconds: list[float] = field(default_factory=list)
    """From a loss that is reported to the new cheque, the shortest first."""
    rates: dict[str, float] = field(default_factory=dict)
    """HTTP requests a second, by act."""

    def count(self, what: str, by: int = 1) -> None:
        """Note that something happened `by` times."""
        self.counts[what] = self.counts.get(what, 0) + by

    def chance(self, of: str) -> random.Random:
        """A source of chance for one act."""
        return self.world.chance(of)

    def at_once(
        self,
        work: Callable[[_Item], _Result],
        items: Iterable[_Item],
        bar: Bar,
        size: Callable[[_Item], int] = lambda _: 1,
        *,
        threads: int = CLIENTS,
    ) -> list[_Result]:
        """Does `work` for each item on several threads, in about their order; raises the first error of any."""
        with _pool(threads) as pool:
            sizes: dict[Future[_Result], int] = {pool.submit(work, item): size(item) for item in items}
            for done in as_completed(sizes):
                done.result()
                bar.advance(sizes[done])
        return [done.result() for done in sizes]


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that take nothing more once the block raised."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="client")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
