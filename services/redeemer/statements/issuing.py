"""Monthly statements: what is owed to each structure, numbered without gaps and frozen when issued.

A redemption belongs to the month in which it was presented (Europe/Paris), whatever the day of its workshop. What
becomes known when its month is closed is on the structure's next statement; so is what corrects an earlier one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session, aliased

from services.redeemer.payments import settlement
from services.redeemer.statements import statement_sql, terms
from services.redeemer.statements.models import Statement, StatementLine, StatementMonth, StatementRefusal
from shared.database.lookup import get_or_404
from shared.problems import Invalid
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id

BY_SCHEDULE = "schedule"
# The first days of a month are for what operators have still to report of the month before.
_ISSUED_FROM_DAY = 3
# Structures, and lines: their redemptions are locked for the second or so that their statements take.
_AT_ONCE = 25
_LINES_AT_ONCE = 25_000

# A structure with very many redemptions takes its time, and reading all that is unstated does.
_PATIENTLY = sa.text("SET LOCAL statement_timeout = '10min'")

_LOCK = sa.text("SELECT pg_advisory_xact_lock('statement'::regclass::oid::bigint)")
_ISSUE = sa.text(statement_sql.ISSUE)
_CANDIDATES = sa.text(statement_sql.CANDIDATES)
_ACCOUNT = sa.text(statement_sql.ACCOUNT_OF)


@dataclass(frozen=True)
class Account:
    """What a statement comes to now, in cents: how much of it operators confirmed, and what was paid in all."""

    due_cents: int
    confirmed_cents: int
    paid_cents: int

    @property
    def open_cents(self) -> int:
        """What is still to be paid; negative where too much was."""
        return self.due_cents - self.paid_cents


def issue(runtime: Runtime, month: date, by: str, only: UUID | None = None) -> list[Statement]:
    """Issues the statements of a month, of every structure or of one, and says which were made: none the second time.

    Some structures at once, each time in a transaction of its own: a run that was cut short is made good by the next.
    Then the month is closed, unless it was for one structure. Raises Invalid where the month is not over.
    """
    if clock.today() < _following(month):
        raise Invalid("The month is not over.", slug="month-not-over", errors={"month": ["It must be a past month."]})
    bounds = {"month": month, "until": _until(month)}
    with runtime.transaction() as session:
        session.execute(_PATIENTLY)
        candidates = session.execute(_CANDIDATES, {**bounds, "only": only}).all()
    made: list[Statement] = []
    for structures in _portions(candidates):
        with runtime.transaction() as session:
            made += _issue(session, structures, bounds, by, runtime.settings.authority_name)
    if only is None:
        _close(runtime, month)
    set_off_all(runtime)
    return made


def issue_last_month(runtime: Runtime) -> list[Statement]:
    """Issues what is to be issued by itself: last month's statements, once, some days after its end."""
    today = clock.today()
    month = clock.add_months(today.replace(day=1), -1)
    with runtime.transaction() as session:
        closed = session.get(StatementMonth, month)
    return [] if closed or today.day < _ISSUED_FROM_DAY else issue(runtime, month, BY_SCHEDULE)


def set_off_all(runtime: Runtime) -> int:
    """Clears the statements that what they take back pays, of all structures."""
    with runtime.transaction() as session:
        session.execute(_PATIENTLY)
        return settlement.set_off(session)


def find(session: Session, statement_id: UUID) -> Statement:
    """A statement by its id; raises NotFound."""
    return get_or_404(session, Statement, statement_id, "There is no statement of this id.")


def lines(session: Session, statement_id: UUID) -> Sequence[Any]:
    """The lines of a statement, in their order, each with the number of the statement that it `corrects`."""
    earlier = aliased(Statement)
    columns = [column for column in StatementLine.__table__.columns if column.name != "corrects"]
    query = (
        sa.select(*columns, earlier.name.label("corrects"))
        .outerjoin(earlier, earlier.id == StatementLine.corrects)
        .where(StatementLine.statement_id == statement_id)
        .order_by(StatementLine.position)
    )
    return session.execute(query).all()


def refusals(session: Session, statement_id: UUID) -> Sequence[StatementRefusal]:
    """What its operator refused before it was ever stated, in the order in which it was presented."""
    query = sa.select(StatementRefusal).where(StatementRefusal.statement_id == statement_id)
    return session.scalars(query.order_by(StatementRefusal.presented_on, StatementRefusal.redemption_id)).all()


def account(session: Session, statement_id: UUID) -> Account:
    """What a statement comes to now."""
    row = session.execute(_ACCOUNT, {"ids": [statement_id]}).one()
    return Account(int(row.due_cents), int(row.confirmed_cents), int(row.paid_cents))


def _portions(candidates: Iterable[Any]) -> Iterator[Sequence[UUID]]:
    """Structures whose statements are made together: some, with not too many lines; one with more than that, alone."""
    portion: list[UUID] = []
    lines = 0
    for structure in candidates:
        if portion and (len(portion) == _AT_ONCE or lines + structure.lines > _LINES_AT_ONCE):
            yield portion
            portion, lines = [], 0
        portion.append(structure.id)
        lines += structure.lines
    if portion:
        yield portion


def _issue(
    session: Session, structures: Sequence[UUID], bounds: dict[str, Any], by: str, authority: str
) -> list[Statement]:
    """Issues the statements of some structures; those that have one of this month by now are passed over."""
    session.execute(_LOCK)
    session.execute(_PATIENTLY)
    if session.get(StatementMonth, bounds["month"]):
        return []
    today = clock.today()
    given = {
        **bounds,
        "structures": list(structures),
        "ids": sorted(new_id() for _ in structures),
        "year": today.year,
        "today": today,
        "now": clock.now(),
        "by": by,
        "authority": authority,
        "term": terms.USUAL_TERM_DAYS,
    }
    ids = session.scalars(_ISSUE, given).all()
    return list(session.scalars(sa.select(Statement).where(Statement.id.in_(ids)).order_by(Statement.number)))


def _close(runtime: Runtime, month: date) -> None:
    with runtime.transaction() as session:
        session.execute(_LOCK)
        closed = pg.insert(StatementMonth).values(month=month, closed_at=clock.now())
        session.execute(closed.on_conflict_do_nothing())


def _following(month: date) -> date:
    return clock.add_months(month, 1)


def _until(month: date) -> datetime:
    """The instant at which a month ends in Paris."""
    following = _following(month)
    return datetime(following.year, following.month, 1, tzinfo=clock.PARIS)
