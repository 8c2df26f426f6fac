"""Reporting a year to the funders: how long the report of all conventions takes, as JSON and as CSV.

    .venv/bin/python -m benchmarks.reports [--cheques 23000 230000]

Each size has a PostgreSQL of its own with eight funders and a year of grants of five cheques. Every grant, use,
payment and expiry is booked by itself, cheque by cheque: the longest journal that so many cheques can make, as runs of
news are summed in fact. The report as of half a year ago is asked for too, and has to be the same each time.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from demo.stack.embedded import EmbeddedPostgres
from services.issuer.reports import conventions
from services.issuer.reports.api import ConventionReportsSchema
from services.issuer.reports.conventions import ReportRequest
from shared.database import engine as db
from shared.database.migrations import runner as migrations
from shared.files import csv_export
from shared.values import clock

SERVICE = "issuer"
SIZES = (23_000, 230_000)
TIMES = 5
_ID = "('00000000-0000-7000-8000-' || lpad(to_hex({}), 12, '0'))::uuid"

_FILL = f"""
    INSERT INTO programme (id, code, name, face_value_cents, minimum_grant_cents, valid_months, grace_days, spendable,
                           services, territory)
    VALUES ({_ID.format("0")}, 'benchmark', 'Benchmark', 1000, 5000, 12, 0, 'on_issue', '{{}}', '{{}}');
    INSERT INTO convention (id, funder, reference, target_publics, territory, pays_at_most_bp, reserved_publics,
                            reserved_bp, created_at)
    SELECT {_ID.format("i")}, 'Funder ' || i, 'C-' || i, '{{}}', '{{}}', 6500, '{{}}', 0, now() - interval '1 year'
    FROM generate_series(1, 8) i;
    INSERT INTO convention_amendment (id, convention_id, reason, made_by, made_on)
    SELECT id, id, 'Agreed.', 'benchmark', current_date - 365 FROM convention;
    INSERT INTO envelope (id, programme_id, convention_id, funder, convention_reference, amount_cents, starts_on,
                          ends_on, target_publics, priority)
    SELECT id, {_ID.format("0")}, id, funder, reference, 1000 * CAST(:cheques AS bigint), current_date - 365,
           current_date, '{{}}', 0 FROM convention;
    INSERT INTO envelope_movement (id, envelope_id, kind, before_cents, after_cents, reason, made_by, made_on)
    SELECT id, id, 'opened', 0, amount_cents, 'Opened.', 'benchmark', starts_on FROM envelope;
    INSERT INTO journal_entry (booked_on, occurred_on, kind, envelope_id, target_public, prescriber_kind, number, cents)
    SELECT current_date - 365 * i / :cheques, current_date - 365 * i / :cheques, kind, {_ID.format("1 + i % 8")},
           'public ' || i % 7, (ARRAY['CCAS', 'ASSO', 'MUNI', 'CS', NULL])[1 + i % 5], number, number * 1000
    FROM generate_series(1, :cheques) i,
         (VALUES ('engaged', 5), ('used', 1), ('paid', 1), ('expired', 1)) booked (kind, number)
    WHERE CASE kind WHEN 'engaged' THEN i % 5 = 0 WHEN 'expired' THEN i % 3 = 0 ELSE i % 3 > 0 END
"""  # noqa: S608 (constants of this module)


def main() -> None:
    """Measures each size."""
    parser = argparse.ArgumentParser(description="Report a year to its funders.")
    parser.add_argument("--cheques", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    heads = f"{'cheques':>10} {'booked':>9} {'JSON':>9} {'half a year ago':>16}"
    say(f"{heads} {'one funder':>11} {'table':>9} {'lines':>9}")
    for cheques in arguments.cheques:
        measure(cheques)


def measure(cheques: int) -> None:
    """Prints the slowest of a few times of each report, in seconds."""
    with tempfile.TemporaryDirectory(prefix="souche-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres.start(Path(folder) / "pg") as server:
            migrations.upgrade(SERVICE, server.url(), server.url(f"souche_{SERVICE}"))
            engine = db.connect(server.url(f"souche_{SERVICE}"), SERVICE, 2)
            try:
                booked = fill(engine, cheques)
                took = [slowest(of) for of in kinds(engine)]
            finally:
                engine.dispose()
    json_, past, single, table, lines = (f"{seconds:.3f} s" for seconds in took)
    say(f"{cheques:>10,} {booked:>9,} {json_:>9} {past:>16} {single:>11} {table:>9} {lines:>9}")


def fill(engine: sa.Engine, cheques: int) -> int:
    """Books so many cheques; returns how many entries they make."""
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        for statement in _FILL.split(";"):
            connection.execute(sa.text(statement), {"cheques": cheques})
        return int(connection.execute(sa.text("SELECT count(*) FROM journal_entry")).scalar_one())


def kinds(engine: sa.Engine) -> list[Callable[[], str]]:
    """The reports that are measured, each as it is written out."""
    today = ReportRequest.on(None)
    half = ReportRequest.on(clock.today() - timedelta(days=182))
    with engine.connect() as connection:
        single = connection.execute(sa.text("SELECT id FROM convention ORDER BY id LIMIT 1")).scalar_one()
    return [
        lambda: as_json(engine, today),
        lambda: as_json(engine, half),
        lambda: as_json(engine, ReportRequest.on(None, single)),
        lambda: as_table(engine, today),
        lambda: as_lines(engine, today.as_of),
    ]


def as_json(engine: sa.Engine, request: ReportRequest) -> str:
    """The report as the HTTP interface gives it."""
    with Session(engine) as session:
        return json.dumps(ConventionReportsSchema().dump(conventions.report(session, request)))


def as_table(engine: sa.Engine, request: ReportRequest) -> str:
    """A line for each convention."""
    with Session(engine) as session:
        return "".join(csv_export.lines(conventions.SUMMARY, conventions.summary(session, request)))


def as_lines(engine: sa.Engine, as_of: date) -> str:
    """A line for each envelope, public, kind of prescriber and month."""
    params: dict[str, Any] = {"as_of": as_of, "convention_id": None}
    with engine.connect() as connection:
        rows = connection.execute(sa.text(conventions.LINES), params)
        return "".join(csv_export.lines(list(rows.keys()), rows))


def slowest(report: Callable[[], str]) -> float:
    """The longest of a few times; raises AssertionError where two reports are not the same."""
    took, found = 0.0, set()
    for _ in range(TIMES):
        began = time.perf_counter()
        found.add(report())
        took = max(took, time.perf_counter() - began)
    if len(found) != 1:
        raise AssertionError("two reports of one day differ")
    return took


def say(line: str) -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
