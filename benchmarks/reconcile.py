"""Reconciling at the scale of a country: how long a statement of a million lines takes, and how much memory Python.

    .venv/bin/python -m benchmarks.reconcile [--lines 1000 100000 1000000] [--json]

Each size has a PostgreSQL and a process of its own, so that neither warms up for the next: as many links, a fifth of
them redeemed, every order that made them; a statement that lists them all, but for some planted differences of which
every one has to be found. With `--json` each line comes as an operator sends it, in pages of 1 000, and is read and
checked by the port's own reader.

The memory is what the process took at its highest (its resident set) above what it had before the statement was begun.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from benchmarks.machine import SETTINGS
from demo.stack.embedded import EmbeddedPostgres
from services.operator_bridge.adapter_kit import mapping
from services.operator_bridge.interface import ChequeStatus, Line, Operator
from services.operator_bridge.reconciliation import comparing, runs
from services.operator_bridge.reconciliation.comparing import Sides
from services.operator_bridge.register.models import Contract
from shared.database import engine as db
from shared.database.migrations import runner as migrations
from shared.values import clock
from shared.values.ids import new_id

SIZES = (1_000, 100_000, 1_000_000)
SERVICE = "operator_bridge"
PAGE = 1000
PART = 5000
PLANTED = 7
"""Differences of each planted kind."""
EXPECTED = {
    **dict.fromkeys(("amount_differs", "missing_at_operator", "status_differs", "unknown_here"), PLANTED),
    # A fifth of the cheques are redeemed here too.
    "redeemed_there_not_here": sum(1 for number in range(3 * PLANTED + 1, 4 * PLANTED + 1) if number % 5),
}
_ID = "('00000000-0000-7000-8000-' || lpad(to_hex({}), 12, '0'))::uuid"
_FIRST = UUID("00000000-0000-7000-8000-000000000000").int

_FILL = f"""
    INSERT INTO cheque (cheque_id, programme, value_cents, valid_until, presentable_until, state)
    SELECT {_ID.format("i")}, 'benchmark', 1000, current_date + 300, current_date + 330,
           CASE WHEN i % 5 = 0 THEN 'redeemed' ELSE 'open' END FROM generate_series(1, :lines) i;
    INSERT INTO link (cheque_id, contract_id, state) SELECT cheque_id, :contract, 'registered' FROM cheque;
    INSERT INTO operator_order (contract_id, kind, cheque_id, state, attempts, created_at, sent_at, settled_at)
    SELECT :contract, 'register', cheque_id, 'accepted', 1, now() - interval '1 day', now() - interval '1 day',
           now() - interval '1 day' FROM cheque;
    INSERT INTO redemption (redemption_id, presentation_id, cheque_id, structure_id, amount_cents, via, given_on,
                            redeemed_at, state, contract_id, reference)
    SELECT uuid7(), uuid7(), cheque_id, :contract, 1000, 'till', current_date, now() - interval '1 day', 'confirmed',
           :contract, cheque_id::text FROM cheque WHERE state = 'redeemed'
"""  # noqa: S608 (constants of this module)


def main() -> None:
    """Measures each size in a process of its own."""
    parser = argparse.ArgumentParser(description="Reconcile a statement of many lines.")
    parser.add_argument("--lines", type=int, nargs="+", default=SIZES)
    parser.add_argument("--json", action="store_true", help="have each line read from JSON, as an operator sends it")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        say(json.dumps(measure(arguments.lines[0], arguments.json)))
        return
    say(f"{'lines':>10} {'stream+copy':>12} {'compare':>9} {'keep':>7} {'total':>8} {'lines/s':>9} {'memory':>9}")
    for lines in arguments.lines:
        command = [sys.executable, "-m", "benchmarks.reconcile", "--here", "--lines", str(lines)]
        output = subprocess.run([*command, *(["--json"] if arguments.json else [])], check=True, capture_output=True)  # noqa: S603
        show(lines, json.loads(output.stdout.splitlines()[-1]))


def show(lines: int, took: dict[str, float]) -> None:
    """Prints one size: seconds by stage, and megabytes."""
    total = took["copy"] + took["compare"] + took["keep"]
    say(
        f"{lines:>10,} {took['copy']:>10.2f} s {took['compare']:>7.2f} s {took['keep']:>5.2f} s {total:>6.2f} s"
        f" {lines / total:>9,.0f} {took['megabytes']:>6.1f} MB"
    )


def measure(lines: int, from_json: bool) -> dict[str, float]:
    """Reconciles so many lines with as many links; raises AssertionError unless every planted difference is found."""
    with tempfile.TemporaryDirectory(prefix="souche-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres.start(Path(folder) / "pg", settings=SETTINGS) as server:
            migrations.upgrade(SERVICE, server.url(), server.url(f"souche_{SERVICE}"))
            contract = fill(server, lines)
            engine = db.connect(server.url(f"souche_{SERVICE}"), SERVICE, 4)
            try:
                return reconcile(engine, contract, statement(lines, from_json))
            finally:
                engine.dispose()


def fill(server: EmbeddedPostgres, lines: int) -> Contract:
    """A contract with so many cheques."""
    contract = Contract(contract_id=new_id(), code="benchmark", operator="benchmark", programme="benchmark")
    owner = db.connect(server.url(), SERVICE, 1)
    with owner.begin() as connection:
        # Without the triggers that look every reference up, which take longer than the rows.
        connection.execute(sa.text("SET LOCAL statement_timeout = 0; SET LOCAL session_replication_role = replica"))
        connection.execute(
            sa.text(
                "INSERT INTO contract (contract_id, code, operator, programme, state, starts_on)"
                " VALUES (:contract, 'benchmark', 'benchmark', 'benchmark', 'live', current_date)"
            ),
            {"contract": contract.contract_id},
        )
        for statement in _FILL.split(";"):
            connection.execute(sa.text(statement), {"contract": contract.contract_id, "lines": lines})
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("SET statement_timeout = 0"))
        connection.execute(sa.text("VACUUM ANALYZE"))
    owner.dispose()
    return contract


def reconcile(engine: sa.Engine, contract: Contract, statement: Iterator[Sequence[Line]]) -> dict[str, float]:
    """Compares and keeps; says how many seconds each stage took, and the megabytes above those of the beginning."""
    between = Sides(contract, Operator({}), clock.now(), comparable=True)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    before, began = peak(), time.perf_counter()
    copied = [began]
    with comparing.compared(engine, between, timed(statement, copied)) as (connection, _):
        found = comparing.figures(connection)["differences"]
        compared = time.perf_counter()
        runs.record(connection, contract, new_id())
        connection.commit()
        kept = time.perf_counter()
    if found != EXPECTED:
        raise AssertionError(f"found {found}, planted {EXPECTED}")
    return {
        "copy": copied[-1] - began,
        "compare": compared - copied[-1],
        "keep": kept - compared,
        "megabytes": peak() - before,
    }


def timed(parts: Iterable[Sequence[Line]], at: list[float]) -> Iterator[Sequence[Line]]:
    """Writes down when the last part was copied, and nothing before it: the list must not grow."""
    yield from parts
    at[0:] = [time.perf_counter()]


def statement(lines: int, from_json: bool) -> Iterator[Sequence[Line]]:
    """A statement in parts: every cheque as it stands but for the planted differences, and some that nobody knows."""
    standings = map(standing, range(PLANTED + 1, lines + PLANTED + 1))
    source = through_json(standings) if from_json else standings
    while part := tuple(islice(source, PART)):
        yield part


def standing(number: int) -> ChequeStatus:
    """The line of one cheque; the first of those listed are not as we have them."""
    redeemed = number % 5 == 0
    status, value = ("redeemed" if redeemed else "registered"), 1000
    if number <= 2 * PLANTED:
        value = 900
    elif number <= 3 * PLANTED:
        status = "registered" if redeemed else "cancelled"
    elif number <= 4 * PLANTED:
        status = "redeemed"
    return ChequeStatus(UUID(int=_FIRST + number), status, value, value if status == "redeemed" else 0)  # type: ignore[arg-type]


def through_json(standings: Iterator[ChequeStatus]) -> Iterator[Line]:
    """The same lines, written as an operator sends them and read as an adapter reads them."""
    read = mapping.reader(ChequeStatus, cheque_id="cheque")
    while page := list(islice(standings, PAGE)):
        rows = [
            {"type": "cheque", "cheque": str(line.cheque_id), "status": line.status, "value_cents": line.value_cents,
             "redeemed_cents": line.redeemed_cents} for line in page
        ]  # fmt: skip
        yield from map(read, json.loads(json.dumps({"lines": rows}))["lines"])


def peak() -> float:
    """The largest resident set of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(line: str) -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
