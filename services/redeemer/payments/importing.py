"""Payments typed from the accountant's file: matched with statements, they settle redemptions.

Payments that operators report come as news, one by one redemption (see `settling`). Money that moved is a fact, so
one that is too much is recorded and remarked on; one that was recorded or reported before is known again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.payments import payment_file, payment_sql, settlement
from services.redeemer.payments.models import PaymentImport
from services.redeemer.payments.payment_file import Fault, Line
from services.redeemer.statements import statement_sql
from shared.files import file_import
from shared.files.file_import import ImportOptions
from shared.values import clock
from shared.values.ids import new_id
from shared.values.money import euros

_SEEN = "The same statement, day, amount and reference are recorded, or on a line before, already."
_WITHDRAWN = "This payment was withdrawn. If it was made all the same, give it another reference."
RECORDED, KNOWN, REFUSED = "recorded", "known", "refused"

_ACCOUNTS = sa.text(statement_sql.ACCOUNT_OF)
_LOCK, _KNOWN, _REPORTED = sa.text(payment_sql.LOCK), sa.text(payment_sql.KNOWN), sa.text(payment_sql.REPORTED)
_RECORD = sa.text(payment_sql.RECORD)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a line: recorded, known already or refused, with what there is to say of it."""

    line: int
    outcome: str
    statement: str | None = None
    amount_cents: int | None = None
    field: str = ""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What becomes of a file; `lines` are in its order."""

    already_imported_at: datetime | None
    recorded: int
    known: int
    refused: int
    recorded_cents: int
    settled: int
    """Redemptions that are paid by these payments."""
    lines: Sequence[Outcome]


@dataclass
class _Books:
    """What is known of what the lines speak of; it follows the lines as they are gone through."""

    statements: Mapping[str, Any]
    seen: dict[tuple[UUID, date, int, str], bool]
    """What is recorded, and whether it was withdrawn."""
    reported: Mapping[str, int]
    open_cents: dict[UUID, int]
    recorded: list[tuple[UUID, Line]] = field(default_factory=list)


def take_in(session: Session, content: bytes, options: ImportOptions, by: str) -> Report:
    """Records the payments of a file; raises Invalid where it is unreadable, NothingTaken as `importing` says."""
    read = payment_file.read(content)
    digest = file_import.file_digest(content)
    with file_import.taking(session, options):
        earlier = file_import.first_imported_at(session, digest, PaymentImport)
        books = _open(session, [line for line in read if isinstance(line, Line)])
        outcomes = [_judge(books, line) for line in read]
        settled = _record(session, books.recorded, digest, by)
        report = _report(earlier, outcomes, settled)
        file_import.require_whole(options, report.refused, len(outcomes), _told(outcomes))
    return report


def _open(session: Session, lines: Sequence[Line]) -> _Books:
    names = sorted({line.statement for line in lines if line.statement})
    statements = {row.name: row for row in session.execute(_LOCK, {"names": names})}
    ids = [row.id for row in statements.values()]
    references = sorted({line.reference for line in lines if line.reference})
    return _Books(
        statements,
        {tuple(key): withdrawn for *key, withdrawn in session.execute(_KNOWN, {"statements": ids})},
        {row.payment_reference: int(row.cents) for row in session.execute(_REPORTED, {"references": references})},
        {row.id: int(row.due_cents - row.paid_cents) for row in session.execute(_ACCOUNTS, {"ids": ids})},
    )


def _judge(books: _Books, line: Line | Fault) -> Outcome:
    if isinstance(line, Fault):
        return Outcome(line.number, REFUSED, field=line.field, reason=line.reason)
    outcome, name, reason = _match(books, line)
    return Outcome(line.number, outcome, line.statement, line.amount_cents, name, reason)


def _match(books: _Books, line: Line) -> tuple[str, str, str | None]:
    """The outcome of a line, the field that it hangs on, and what there is to say."""
    if line.reference in books.reported:
        return KNOWN, "reference", _as_reported(line, books.reported[line.reference])
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
    if key in books.seen:
        return KNOWN, "", _WITHDRAWN if books.seen[key] else _SEEN
    books.seen[key] = False
    books.recorded.append((statement.id, line))
    books.open_cents[statement.id] -= line.amount_cents
    return RECORDED, "", _remark(books.open_cents[statement.id])


def _as_reported(line: Line, cents: int) -> str:
    differs = "" if cents == line.amount_cents else f", not {euros(line.amount_cents)}"
    return f"An operator reported {euros(cents)} under this reference already{differs}."


def _remark(open_cents: int) -> str | None:
    if open_cents == 0:
        return None
    if open_cents > 0:
        return f"In part: {euros(open_cents)} of the statement are still to be paid."
    return f"Too much: {euros(-open_cents)} more than the statement comes to were paid by now."


def _record(session: Session, recorded: Sequence[tuple[UUID, Line]], digest: str, by: str) -> int:
    """Records payments, marks what they pay, tells of it and says how many redemptions that is."""
    if not recorded:
        return 0
    columns = {
        "ids": sorted(new_id() for _ in recorded),
        "statements": [statement_id for statement_id, _ in recorded],
        "amounts": [line.amount_cents for _, line in recorded],
        "days": [line.paid_on for _, line in recorded],
        "references": [line.reference for _, line in recorded],
    }
    session.execute(_RECORD, {**columns, "digest": digest, "by": by, "now": clock.now()})
    settled = settlement.settle(session, {statement_id for statement_id, _ in recorded})
    settlement.publish_paid(session, settled)
    return len(settled) + settlement.set_off(session)


def _report(earlier: datetime | None, outcomes: Sequence[Outcome], settled: int) -> Report:
    numbers = {kind: sum(one.outcome == kind for one in outcomes) for kind in (RECORDED, KNOWN, REFUSED)}
    cents = sum(one.amount_cents or 0 for one in outcomes if one.outcome == RECORDED)
    return Report(earlier, **numbers, recorded_cents=cents, settled=settled, lines=outcomes)


def _told(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What is wrong with the lines of a file that does not go in, as JSON."""
    refused = [one for one in outcomes if one.outcome == REFUSED]
    return {"lines": [{"line": one.line, "field": one.field, "reason": one.reason} for one in refused]}
