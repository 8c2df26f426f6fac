"""Payments of the accountant's file: matched with statements, they settle redemptions.

Payments that operators report come as news, for each redemption (`settlement`). Money that moved is a fact, so a
payment that is too much is recorded with a remark; one that was recorded or reported before changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.payments import payment_file, settlement
from services.redeemer.payments.models import Payment, PaymentImport
from services.redeemer.payments.payment_file import Fault, Line
from services.redeemer.statements import statements
from shared.database import engine
from shared.files import file_import
from shared.files.file_import import ImportOptions
from shared.values import clock
from shared.values.ids import new_id
from shared.values.money import euros

_SEEN = "The same statement, day, amount and reference are recorded, or on a line before, already."
_WITHDRAWN = "This payment was withdrawn. If it was made all the same, give it another reference."
RECORDED, KNOWN, REFUSED = OUTCOMES = "recorded", "known", "refused"

# Statements stay locked until the payments are in: two files at once are imported one after the other.
_LOCK = sa.text("SELECT id, name, siret, due_cents FROM statement WHERE name = ANY(:names) ORDER BY id FOR UPDATE")

_RECORDED = sa.text("""
    SELECT statement_id, paid_on, amount_cents, reference,
           EXISTS (SELECT FROM payment other WHERE other.withdraws = payment.id) AS withdrawn
    FROM payment WHERE statement_id = ANY(:statements)
""")

# What operators reported under a reference, at first or repeatedly.
REPORTED = """
    SELECT payment_reference, sum(amount_cents) AS cents FROM (
        SELECT payment_reference, amount_cents FROM redemption
        WHERE payment_reference = ANY(:references) AND state = 'paid' AND payment_id IS NULL
        UNION ALL
        SELECT repeated_payment.payment_reference, amount_cents
        FROM repeated_payment JOIN redemption ON redemption.id = redemption_id
        WHERE repeated_payment.payment_reference = ANY(:references)
    ) reported GROUP BY payment_reference
"""


_PAYMENT_COLUMNS = (
    "id", "statement_id", "amount_cents", "paid_on", "reference", "file_digest", "typed_by", "typed_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a line, and why."""

    line: int
    outcome: str
    statement: str | None = None
    amount_cents: int | None = None
    field: str = ""
    reason: str | None = None


@dataclass
class _Books:
    """What the database has on the statements and references of the lines; it follows the lines one by one."""

    statements: Mapping[str, Any]
    recorded: dict[tuple[UUID, date, int, str], bool]
    """Payments, and whether they were withdrawn."""
    reported: Mapping[str, int]
    open_cents: dict[UUID, int]
    new: list[tuple[UUID, Line]] = field(default_factory=list)


def take_in(session: Session, content: bytes, options: ImportOptions, by: str) -> dict[str, Any]:
    """Records the payments of a file, and returns what becomes of its lines.

    Raises Invalid where it is unreadable, NothingTaken as `file_import.require_whole` does.
    """
    read = payment_file.read(content)
    digest = file_import.file_digest(content)
    with file_import.taking(session, options):
        earlier = file_import.first_imported_at(session, digest, PaymentImport)
        books = _open(session, [line for line in read if isinstance(line, Line)])
        outcomes = [_judge(books, line) for line in read]
        settled = _record(session, books.new, digest, by)
        numbers = {kind: sum(line.outcome == kind for line in outcomes) for kind in OUTCOMES}
        refused = [line for line in outcomes if line.outcome == REFUSED]
        reasons = [{"line": line.line, "field": line.field, "reason": line.reason} for line in refused]
        file_import.require_whole(options, len(refused), len(outcomes), {"lines": reasons})
    cents = sum(line.amount_cents for _, line in books.new)
    return {"already_imported_at": earlier, **numbers, "recorded_cents": cents, "settled": settled, "lines": outcomes}


def _open(session: Session, lines: Sequence[Line]) -> _Books:
    names = sorted({line.statement for line in lines if line.statement})
    locked = {row.name: row for row in session.execute(_LOCK, {"names": names})}
    ids = [row.id for row in locked.values()]
    references = sorted({line.reference for line in lines if line.reference})
    return _Books(
        locked,
        {tuple(key): withdrawn for *key, withdrawn in session.execute(_RECORDED, {"statements": ids})},
        {
            row.payment_reference: int(row.cents)
            for row in session.execute(sa.text(REPORTED), {"references": references})
        },
        {row.id: int(row.unpaid_cents) for row in statements.accounts(session, ids)},
    )


def _judge(books: _Books, line: Line | Fault) -> Outcome:
    if isinstance(line, Fault):
        return Outcome(line.number, REFUSED, field=line.field, reason=line.reason)
    outcome, name, reason = _match(books, line)
    return Outcome(line.number, outcome, line.statement, line.amount_cents, name, reason)


def _match(books: _Books, line: Line) -> tuple[str, str, str | None]:
    """The outcome of a line, the field that decides it, and the reason or a remark."""
    if line.reference in books.reported:
        cents = books.reported[line.reference]
        differs = "" if cents == line.amount_cents else f", not {euros(line.amount_cents)}"
        return KNOWN, "reference", f"An operator reported {euros(cents)} under this reference already{differs}."
    if line.statement is None:
        return REFUSED, "reference", "It names no statement, and no operator reported a payment under it."
    statement = books.statements.get(line.statement)
    if statement is None:
        return REFUSED, "statement", f"There is no statement {line.statement}."
    if line.siret and line.siret != statement.siret:
        return REFUSED, "siret", f"Statement {line.statement} is of SIRET {statement.siret or '(none)'}."
    if statement.due_cents <= 0:
        return REFUSED, "statement", f"Statement {line.statement} is not to be paid: {euros(statement.due_cents)}."
    key = (statement.id, line.paid_on, line.amount_cents, line.reference)
    if key in books.recorded:
        return KNOWN, "", _WITHDRAWN if books.recorded[key] else _SEEN
    books.recorded[key] = False
    books.new.append((statement.id, line))
    books.open_cents[statement.id] -= line.amount_cents
    return RECORDED, "", _remark(books.open_cents[statement.id])


def _remark(open_cents: int) -> str | None:
    if open_cents == 0:
        return None
    if open_cents > 0:
        return f"In part: {euros(open_cents)} of the statement are still to be paid."
    return f"Too much: {euros(-open_cents)} more than the statement comes to were paid by now."


def _record(session: Session, new: Sequence[tuple[UUID, Line]], digest: str, by: str) -> int:
    """Records payments, settles redemptions by them, and returns how many redemptions that is."""
    if not new:
        return 0
    ids, now = sorted(new_id() for _ in new), clock.now()  # in the order of the lines
    rows = [
        (payment_id, statement_id, line.amount_cents, line.paid_on, line.reference, digest, by, now)
        for payment_id, (statement_id, line) in zip(ids, new, strict=True)
    ]
    engine.insert_rows(session, Payment, _PAYMENT_COLUMNS, rows)
    settled = settlement.settle(session, {statement_id for statement_id, _ in new})
    settlement.publish_paid(session, settled)
    return len(settled) + settlement.set_off(session)
