"""A print run: how long the booklets of many grants take as one PDF, and how much memory, from rows to last byte.

    .venv/bin/python -m benchmarks.booklets [--booklets 100 1000] [--cheques 5] [--per-page 5]

Each size has a PostgreSQL and a process of its own, so that neither warms up for the next. The grants are made as the
service makes them, with sealed codes; 25 structures are near. The pieces are counted and dropped, as a server does
that sends them on, and the first one is timed: that is when a printer's download begins to move.

The machine's other work lengthens the total, not the processor's time. The memory is what the process took at its
highest (its resident set) above what it had before the run was begun: it stops growing at the tenth portion.
"""

import argparse
import json
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from demo.stack.embedded import EmbeddedPostgres
from services.issuer.booklets import printing
from services.issuer.booklets.models import OperatorContract, StructureAffiliation, TrainingStructure
from services.issuer.cheques.codes import Codes
from services.issuer.cheques.models import Cheque
from services.issuer.funding.models import Convention, Envelope
from services.issuer.grants.models import Grant
from services.issuer.prescribers.models import Prescriber
from services.issuer.programmes.models import Programme
from shared.database import engine as db
from shared.database.migrations import runner as migrations
from shared.values import clock
from shared.values.ids import new_id

SIZES = (100, 1000)
SERVICE = "issuer"
STRUCTURES = 25

Transaction = Callable[[], AbstractContextManager[Session]]


def main() -> None:
    """Measures each size in a process of its own."""
    parser = argparse.ArgumentParser(description="Print the booklets of many grants as one PDF.")
    parser.add_argument("--booklets", type=int, nargs="+", default=SIZES)
    parser.add_argument("--cheques", type=int, default=5)
    parser.add_argument("--per-page", type=int, default=5)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        say(json.dumps(measure(arguments.booklets[0], arguments.cheques, arguments.per_page)))
        return
    heads = f"{'booklets':>9} {'first piece':>12} {'total':>9} {'processor':>10} {'booklets/s':>11}"
    say(f"{heads} {'file':>9} {'memory':>10}")
    for size in arguments.booklets:
        command = [sys.executable, "-m", "benchmarks.booklets", "--here", "--booklets", str(size)]
        options = ["--cheques", str(arguments.cheques), "--per-page", str(arguments.per_page)]
        output = subprocess.run([*command, *options], check=True, capture_output=True)  # noqa: S603
        show(size, json.loads(output.stdout.splitlines()[-1]))


def show(size: int, took: dict[str, float]) -> None:
    """Prints one size: seconds and megabytes."""
    say(
        f"{size:>9,} {took['first']:>10.2f} s {took['total']:>7.2f} s {took['processor']:>8.2f} s"
        f" {size / took['total']:>11,.0f}"
        f" {took['file']:>6.1f} MB {took['memory']:>7.1f} MB"
    )


def measure(size: int, cheques: int, per_page: int) -> dict[str, float]:
    """Prints so many booklets; raises AssertionError where the file does not begin and end as a PDF."""
    with tempfile.TemporaryDirectory(prefix="souche-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres.start(Path(folder) / "pg") as server:
            url = server.url(f"souche_{SERVICE}")
            migrations.upgrade(SERVICE, server.url(), url)
            engine = db.connect(url, SERVICE, 4)
            codes = Codes(
                {name: {"k": secrets.token_bytes(32)} for name in ("CODE_ENCRYPTION_KEYS", "CODE_DIGEST_KEY")}
            )
            try:
                return run(transactions(engine), codes, fill(engine, codes, size, cheques), per_page)
            finally:
                engine.dispose()


def transactions(engine: sa.Engine) -> Transaction:
    """Opens transactions as the service does."""

    @contextmanager
    def transaction() -> Iterator[Session]:
        with Session(engine) as session, session.begin():
            yield session

    return transaction


def run(transaction: Transaction, codes: Codes, grants: list[UUID], per_page: int) -> dict[str, float]:
    """Makes and drops the pieces of the file."""
    before, began, used = peak(), time.perf_counter(), time.process_time()
    pieces = printing.stream(transaction, codes, grants, per_page)
    last = next(pieces) + next(pieces)
    size, first = len(last), time.perf_counter()
    for last in pieces:
        size += len(last)
    if not last.endswith(b"%%EOF\n"):
        raise AssertionError("the file does not end as a PDF does")
    took = {"first": first - began, "total": time.perf_counter() - began, "processor": time.process_time() - used}
    return took | {"file": size / 2**20, "memory": peak() - before}


def fill(engine: sa.Engine, codes: Codes, size: int, cheques: int) -> list[UUID]:
    """Grants of so many cheques each, and places to spend them; returns the grants' identifiers."""
    grants = [new_id() for _ in range(size)]
    with Session(engine) as session, session.begin():
        programme, envelope = add_money(session)
        prescriber = new_id()
        place = {"commune": "Agen", "postcode": "47000", "address": "1 rue de la Mairie", "updated_on": clock.today()}
        where = {"latitude": 44.2, "longitude": 0.62, "typologies": [], "labels": []}
        session.add(Prescriber(id=prescriber, source_id="ccas", name="CCAS d’Agen", **place, **where))
        session.flush()
        add_structures(session)
        add_grants(session, grants, programme_id=programme, prescriber_id=prescriber, amount_cents=cheques * 1000)
        add_cheques(session, codes, [grant_id for grant_id in grants for _ in range(cheques)], envelope)
    return grants


def add_money(session: Session) -> tuple[UUID, UUID]:
    """A programme with an envelope; returns the identifiers of both."""
    programme, convention, envelope = (new_id() for _ in range(3))
    worth = {"face_value_cents": 1000, "minimum_grant_cents": 5000, "valid_months": 12, "grace_days": 0}
    bounds = {"services": [], "territory": [], "spendable": "on_issue"}
    session.add(Programme(id=programme, code="pass", name="Pass numérique", **worth, **bounds))
    funder, reference = "Conférence des financeurs", "2026-01"
    parts = {"pays_at_most_bp": 10_000, "reserved_publics": [], "reserved_bp": 0, "target_publics": [], "territory": []}
    session.add(Convention(id=convention, funder=funder, reference=reference, **parts))
    session.flush()
    whose = {"programme_id": programme, "convention_id": convention, "funder": funder, "target_publics": []}
    days = {"starts_on": clock.today(), "ends_on": clock.today()}
    sums = {"amount_cents": 10**9, "priority": 1, "convention_reference": reference}
    session.add(Envelope(id=envelope, **whose, **days, **sums))
    session.flush()
    return programme, envelope


def add_grants(session: Session, grants: list[UUID], **terms: object) -> None:
    """Grants of today, for a year."""
    today, until = clock.today(), clock.add_months(clock.today(), 12)
    days = {"granted_on": today, "valid_until": until, "presentable_until": until}
    reasons = {"reason": "Measured.", "previous_grants": 0}
    session.execute(sa.insert(Grant), [{"id": grant_id} | terms | days | reasons for grant_id in grants])


def add_cheques(session: Session, codes: Codes, grants: list[UUID], envelope: UUID) -> None:
    """A cheque of 10 € for each of these grants, its code sealed."""
    rows = []
    for grant_id in grants:
        made = codes.mint(1000, envelope, "spendable")
        charged = {"envelope_id": envelope, "value_cents": 1000, "active": True}
        rows.append({"id": made.cheque_id, "grant_id": grant_id, "sealed_code": made.sealed_code} | charged)
    session.execute(sa.insert(Cheque), rows)


def add_structures(session: Session) -> None:
    """Structures to the north of the prescriber, affiliated to a contract of the programme."""
    contract, place = new_id(), {"postcode": "47000", "commune": "Agen", "services": [], "phone": "+33536490001"}
    session.add(OperatorContract(id=contract, programme="pass"))
    for number in range(STRUCTURES):
        name, address, latitude = f"Atelier numérique {number}", f"{number} rue du Pont", 44.2 + number / 100
        structure = TrainingStructure(
            id=new_id(), name=name, address=address, latitude=latitude, longitude=0.62, **place
        )
        session.add(structure)
        session.flush()
        session.add(StructureAffiliation(structure_id=structure.id, contract_id=contract, starts_on=clock.today()))


def peak() -> float:
    """The most that this process ever held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(text: str) -> None:
    """Prints a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
