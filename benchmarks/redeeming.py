"""Redeeming over HTTP: against the statement alone, at half of that load, and with ten million cheques.

The presentations have a token, are validated, have a key each, leave an event and an audit entry, and are answered
after a durable commit.
"""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks import till
from benchmarks.load import Clients, Load
from benchmarks.machine import Machine, machine
from benchmarks.table import Line, by_turns
from benchmarks.till import Till

CLIENTS = 16
_WARM = 2_000
# More than a machine of two cores takes in a second: requests are made beforehand.
_MOST = 3_000
_MOST_MORE_MS = 10
_PACED = 1_500
"""Presentations of a turn in which they are due at a constant rate."""
_MS = 1000


def throughput(quick: bool) -> Iterator[Line]:
    """Redeem over HTTP against pgbench with the same statement, then at half of that load against a bare route."""
    seconds, turns = (4, 3) if quick else (8, 5)
    with machine(till.SERVICE) as stage:
        presentable = seconds * _MOST * (turns * 2 + 1) + _WARM
        counter = till.stand(stage, 500_000 if quick else 2_000_000, presentable)
        clients = Clients(stage.serve(till.SERVICE), CLIENTS)
        clients.flat_out(counter.requests(_WARM))
        loads: list[Load] = []

        def ours() -> float:
            loads.append(clients.flat_out(counter.requests(seconds * _MOST), seconds))
            return loads[-1].rate

        ratio = by_turns(ours, lambda: counter.pgbench(CLIENTS, seconds), turns)
        what, against = "redeem over HTTP, 16 clients", "pgbench, the same statement, 16 clients"
        yield ratio.line(what, against, 0.40, "redeemed", _cost(loads))
        yield _tail(stage, counter, clients, ratio.ours / 2, turns)


def _cost(loads: Sequence[Load]) -> str:
    share = statistics.median(load.cpu_seconds / load.seconds for load in loads)
    tail = statistics.median(load.quantile(0.99) for load in loads)
    return f"the load itself took {share:.0%} of a core; p99 under full load {tail * _MS:.0f} ms"


def _tail(stage: Machine, counter: Till, clients: Clients, rate: float, turns: int) -> Line:
    """The p99 of requests that are due at a constant rate, against a bare application that is sent the same bytes."""
    bare = Clients(stage.serve_bare(), CLIENTS)
    taken = []
    for _ in range(turns):
        requests = counter.requests(int(rate * 5))
        taken.append([of.paced(requests, rate).quantile(0.99) * _MS for of in (clients, bare)])
    ours, theirs = (statistics.median(side) for side in zip(*taken, strict=True))
    more = [own - other for own, other in taken]
    text = f"+ {statistics.median(more):.1f} ms ({min(more):.1f}–{max(more):.1f})"
    return Line(
        "redeem, p99 at half of that load", f"{ours:.1f} ms", "a bare Flask route, the same bytes", f"{theirs:.1f} ms",
        text, f"+ {_MOST_MORE_MS} ms", statistics.median(more) <= _MOST_MORE_MS,
        f"{rate:,.0f} requests a second, evenly; the client's own clock, so waiting before the server counts",
    )  # fmt: skip


def size(quick: bool) -> Iterator[Line]:
    """Ten million cheques against ten thousand, in two databases of one server, each with its own web server."""
    many, number, turns = (1_000_000, 4_000, 3) if quick else (10_000_000, 5_000, 7)
    with machine(till.SERVICE) as stage:
        beside = stage.beside(till.SERVICE)
        large = till.stand(stage, many, (number + _PACED) * (turns + 1))
        small = till.stand(beside, 5_000, 5_000)  # each of the latter is presented at each turn
        clients = {size.cheques: Clients(size.machine.serve(till.SERVICE), CLIENTS) for size in (large, small)}

        def rate(of: Till) -> float:
            if of is small:
                small.renew()
            return clients[of.cheques].flat_out(of.requests(number)).rate

        ratio = by_turns(lambda: rate(large), lambda: rate(small), turns)
        yield ratio.line(f"redeem, throughput with {many:,} cheques", "the same with 10,000", 0.9, "redeemed")
        # Where a request seldom waits for another: nearer to the full load the queue is compared, not the work.
        yield _latency(large, small, clients, min(ratio.ours, ratio.theirs) / 4, turns)


def _latency(large: Till, small: Till, clients: dict[int, Clients], rate: float, turns: int) -> Line:
    loads: dict[int, list[Load]] = {large.cheques: [], small.cheques: []}

    def promptness(of: Till) -> float:
        """The inverse of the median of what an answer takes, in seconds."""
        if of is small:
            small.renew()
        loads[of.cheques].append(clients[of.cheques].paced(of.requests(_PACED), rate))
        return 1 / loads[of.cheques][-1].quantile(0.5)

    ratio = by_turns(lambda: promptness(large), lambda: promptness(small), turns)
    tails = [statistics.median(load.quantile(0.99) * _MS for load in loads[of.cheques]) for of in (large, small)]
    note = f"{rate:,.0f} requests a second; p99 {tails[0]:.1f} ms and {tails[1]:.1f} ms"
    sides = (f"{_MS / ratio.ours:.2f} ms", f"{_MS / ratio.theirs:.2f} ms")
    what = f"redeem, median latency with {large.cheques:,} cheques"
    return Line(what, sides[0], "the same with 10,000", sides[1], ratio.said, "0.90 or better", ratio.of >= 0.9, note)
