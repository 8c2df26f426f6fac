"""Monthly statements: what is owed to each structure, numbered without gaps and frozen when issued.

A redemption belongs to the month in which it was presented (Europe/Paris), whatever the day of its workshop. What
becomes known when its month is closed is on the structure's next statement; so is what corrects an earlier one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session, aliased

from services.redeemer.statements import statement_sql, terms
from services.redeemer.statements.models import Statement, StatementLine, StatementMonth, StatementRefusal
from shared.database import paging
from shared.database.lookup import get_or_404
from shared.problems import Invalid
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id

BY_SCHEDULE = "schedule"
# The first days of a month are for what operators have still to report of the month before.
_ISSUED_FROM_DAY = 3
# Structures, and lines: their redemptions are locked for the second or so that their statements take.
BATCH_SIZE = 25
_MAX_LINES = 25_000

FIRST = UUID(int=0)
"""Comes before every structure."""

# A structure with very many redemptions takes its time, and reading all that is unstated does.
ALLOW_LONG_STATEMENTS = sa.text("SET LOCAL statement_timeout = '10min'")

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
    def unpaid_cents(self) -> int:
        """What is still to be paid; negative where too much was."""
        return self.due_cents - self.paid_cents


@dataclass(frozen=True)
class Issuance:
    """Statements to be issued: the month, who issues them, and the only structure that gets one, None for all."""

    month: date
    by: str
    only: UUID | None = None

    @property
    def bounds(self) -> dict[str, Any]:
        """The month, and the instant at which it ends."""
        return {"month": self.month, "until": _until(self.month)}


def issue(runtime: Runtime, month: date, by: str, only: UUID | None = None) -> list[Statement]:
    """The statements that were made for a month, for every structure or for one: none the second time.

    Raises Invalid where the month is not over.
    """
    if clock.today() < _following(month):
        raise Invalid("The month is not over.", slug="month-not-over", errors={"month": ["It must be a past month."]})
    made: list[Statement] = []
    after: UUID | None = FIRST
    while after is not None:
        statements, after = issue_slice(runtime, Issuance(month, by, only), after)
        made += statements
    return made


def issue_slice(runtime: Runtime, issuance: Issuance, after: UUID) -> tuple[list[Statement], UUID | None]:
    """The statements that were made for the structures that follow a structure, and the last of these.

    A slice is a transaction of its own, so a run that was cut short is made good by the next. The last slice, which has
    None for a structure, closes the month, unless it was for one structure.
    """
    structures = _next_structures(runtime, issuance, after)
    if not structures:
        if issuance.only is None:
            _close(runtime, issuance.month)
        return [], None
    with runtime.transaction() as session:
        return _issue(session, structures, issuance, runtime.settings.authority_name), structures[-1]


def due_by_schedule(runtime: Runtime) -> Issuance | None:
    """Last month's statements, some days after its end; None before then, and where that month is closed."""
    today = clock.today()
    month = clock.add_months(today.replace(day=1), -1)
    with runtime.transaction() as session:
        closed = session.get(StatementMonth, month)
    return None if closed or today.day < _ISSUED_FROM_DAY else Issuance(month, BY_SCHEDULE)


def find(session: Session, statement_id: UUID) -> Statement:
    """A statement by its id; raises NotFound."""
    return get_or_404(session, Statement, statement_id, "There is no statement of this id.")


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """One page of statements, of a month or a structure where the query names one."""
    return paging.page_by(session, Statement, query)


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


def _next_structures(runtime: Runtime, issuance: Issuance, after: UUID) -> list[UUID]:
    """The structures whose statements are made in one transaction."""
    with runtime.transaction() as session:
        session.execute(ALLOW_LONG_STATEMENTS)
        limits = {"only": issuance.only, "after": after, "limit": BATCH_SIZE}
        return portion(session.execute(_CANDIDATES, {**issuance.bounds, **limits}).all())


def portion(candidates: Sequence[Any]) -> list[UUID]:
    """The first of these structures, up to so many lines; one that has more than that comes alone."""
    lines = list(accumulate(structure.lines for structure in candidates))
    fitting = sum(total <= _MAX_LINES for total in lines)
    return [structure.id for structure in candidates[: max(1, fitting)]]


def _issue(session: Session, structures: Sequence[UUID], issuance: Issuance, authority: str) -> list[Statement]:
    """Issues the statements of some structures; those that have one of this month by now are passed over."""
    session.execute(_LOCK)
    session.execute(ALLOW_LONG_STATEMENTS)
    if session.get(StatementMonth, issuance.month):
        return []
    today = clock.today()
    given = {
        **issuance.bounds,
        "structures": list(structures),
        "ids": sorted(new_id() for _ in structures),
        "year": today.year,
        "today": today,
        "now": clock.now(),
        "by": issuance.by,
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
