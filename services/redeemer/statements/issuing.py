"""Monthly statements: what is owed to each structure, numbered without gaps and frozen when issued.

A redemption belongs to the month in which it was presented (Europe/Paris), whatever the day of its workshop. What
becomes known when its month is closed is on the structure's next statement; so is what corrects an earlier one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import accumulate
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.statements.models import PaymentTerm, Statement, StatementMonth
from services.redeemer.statements.statements import PENDING
from shared.database import sql_files
from shared.problems import Invalid
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id

BY_SCHEDULE = "schedule"
USUAL_TERM_DAYS = 30
"""Code de la commande publique, article R. 2192-10: what a local authority has, from the request for payment on."""

# The first days of a month are for what operators have still to report of the month before.
_ISSUED_FROM_DAY = 3
# Structures, and lines: their redemptions are locked for the second or so that their statements take.
BATCH_SIZE = 25
_MAX_LINES = 25_000

FIRST = UUID(int=0)
"""Comes before every id."""

# A structure with very many redemptions takes its time, and reading all that is unstated does.
ALLOW_LONG_STATEMENTS = sa.text("SET LOCAL statement_timeout = '10min'")

_LOCK = sa.text("SELECT pg_advisory_xact_lock('statement'::regclass::oid::bigint)")
_ISSUE = sa.text(sql_files.load(__file__, "issue.sql").replace("/* pending.sql */", PENDING))

_UNSTATED = "statement_id IS NULL AND reversed_at IS NULL AND state <> 'refused' AND redeemed_at < :until"

# Who has something to be stated, of how many redemptions, and no statement of this month or a later one.
_CANDIDATES = sa.text(f"""
    SELECT structure.id, CAST(sum(waiting.number) AS bigint) AS lines
    FROM (
        SELECT structure_id, count(*) AS number FROM redemption WHERE {_UNSTATED} GROUP BY structure_id
        UNION ALL SELECT structure_id, count(*) FROM ({PENDING}) pending GROUP BY structure_id
    ) waiting
    JOIN structure ON structure.id = waiting.structure_id
    WHERE NOT EXISTS (SELECT FROM statement WHERE structure_id = structure.id AND statement.month >= :month)
      AND (CAST(:only AS uuid) IS NULL OR structure.id = :only)
      AND structure.id > :after
    GROUP BY structure.id ORDER BY structure.id LIMIT :limit
""")  # noqa: S608 (constants of this module)


@dataclass(frozen=True)
class Issuance:
    """Statements to be issued: the month, who issues them, and the only structure that gets one, None for all."""

    month: date
    by: str
    only: UUID | None = None

    @property
    def bounds(self) -> dict[str, Any]:
        """The month, and the instant at which it ends in Paris."""
        return {"month": self.month, "until": datetime.combine(clock.add_months(self.month, 1), time(), clock.PARIS)}


def issue(runtime: Runtime, month: date, by: str, only: UUID | None = None) -> list[Statement]:
    """Issues the statements of a month, of every structure or of one, and returns them: none the second time.

    Raises Invalid where the month is not over.
    """
    if clock.today() < clock.add_months(month, 1):
        raise Invalid("The month is not over.", slug="month-not-over", errors={"month": ["It must be a past month."]})
    made: list[Statement] = []
    after: UUID | None = FIRST
    while after is not None:
        statements, after = issue_slice(runtime, Issuance(month, by, only), after)
        made += statements
    return made


def issue_slice(runtime: Runtime, issuance: Issuance, after: UUID) -> tuple[list[Statement], UUID | None]:
    """Issues the statements of the structures that follow a structure; returns them, and the last of these structures.

    A slice is a transaction of its own, so the next run makes good for one that was cut short. The last slice, which
    returns None for a structure, closes the month, unless it was for one structure.
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


def terms(session: Session) -> Sequence[PaymentTerm]:
    """The payment terms of the programmes whose term is not the usual one."""
    return session.scalars(sa.select(PaymentTerm).order_by(PaymentTerm.programme)).all()


def set_term(session: Session, programme: str, days: int, by: str) -> PaymentTerm:
    """Sets within how many days from issue the next statements of a programme are to be paid."""
    row = pg.insert(PaymentTerm).values(programme=programme, days=days, changed_by=by, changed_at=clock.now())
    changes = {name: row.excluded[name] for name in ("days", "changed_by", "changed_at")}
    session.execute(row.on_conflict_do_update(index_elements=["programme"], set_=changes))
    return session.get_one(PaymentTerm, programme, populate_existing=True)


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
    params = {
        **issuance.bounds,
        "structures": list(structures),
        "ids": sorted(new_id() for _ in structures),
        "year": today.year,
        "today": today,
        "now": clock.now(),
        "by": issuance.by,
        "authority": authority,
        "term": USUAL_TERM_DAYS,
    }
    ids = session.scalars(_ISSUE, params).all()
    return list(session.scalars(sa.select(Statement).where(Statement.id.in_(ids)).order_by(Statement.number)))


def _close(runtime: Runtime, month: date) -> None:
    with runtime.transaction() as session:
        session.execute(_LOCK)
        closed = pg.insert(StatementMonth).values(month=month, closed_at=clock.now())
        session.execute(closed.on_conflict_do_nothing())
