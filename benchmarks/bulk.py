"""Bulk grants over HTTP, against COPY of the rows that they left into tables with the same indexes and checks."""

import json
from collections.abc import Iterator
from itertools import count
from time import perf_counter

from benchmarks import desk, rows
from benchmarks.desk import CHEQUES, ORDER, Desk
from benchmarks.machine import machine
from benchmarks.rows import Copies
from benchmarks.table import Line, by_turns


def throughput(quick: bool) -> Iterator[Line]:
    """Cheques a second, by turns; each turn of ours is one request of so many grants."""
    grants, turns = (2_000, 3) if quick else (10_000, 5)
    with machine(desk.SERVICE) as stage:
        office, owner, first = Desk(stage, stage.serve(desk.SERVICE)), stage.owner(desk.SERVICE), count(0, grants)
        before = rows.sizes(owner)
        grant(office, grants, next(first))
        copies = Copies(stage, desk.SERVICE, rows.grown(owner, before))

        def ours() -> float:
            return CHEQUES * grants / grant(office, grants, next(first))

        def theirs() -> float:
            with owner.connect() as connection:
                cheques: int = connection.exec_driver_sql("SELECT count(*) FROM cheque").scalar_one()
            return cheques / rows.copy_all(copies)

        ratio = by_turns(ours, theirs, turns)
        note = f"{grants:,} grants a request; rows of {', '.join(copies.tables)}, with their indexes and checks"
        yield ratio.line("bulk grants over HTTP", "COPY of the same rows, one client", 0.40, "cheques", note)
        owner.dispose()


def grant(office: Desk, grants: int, first: int) -> float:
    """Seconds in which so many grants are asked for and made; raises Refused unless all were."""
    body = json.dumps([ORDER | {"reference": f"line {first + number}"} for number in range(grants)]).encode()
    began = perf_counter()
    answer = office.ask(
        "POST", "/v1/grants/bulk", headers=office.headers() | {"Content-Type": "application/json"}, data=body
    )
    seconds = perf_counter() - began
    if answer["accepted"] != grants:
        raise desk.Refused(f"{answer['refused']} of {grants} lines were refused: {answer['lines'][:1]}")
    return seconds
