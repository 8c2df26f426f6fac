"""Statements as they were issued, their present sums, and corrections of their redemptions.

A correction is a line of the structure's next statement, which has the difference.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from services.redeemer.redemptions import reversing
from services.redeemer.statements.models import Correction, Statement, StatementLine, StatementRefusal
from shared.database import paging, sql_files
from shared.database.lookup import get_or_404
from shared.problems import Conflict, Invalid

PENDING = sql_files.load(__file__, "pending.sql")


def account_query(until: str, which: str) -> str:
    """SQL for what statements come to: what the accountant typed, what operators paid, and paid a second time.

    `until` is the last day of payments that count, `which` are the statements, both as SQL. Each table is read once,
    however many statements these are.
    """
    return f"""
        SELECT statement.id, statement.structure_id, statement.due_cents,
               coalesce(stands.confirmed_cents, 0) AS confirmed_cents,
               coalesce(typed.cents, 0) + coalesce(stands.paid_cents, 0) + coalesce(again.cents, 0) AS paid_cents
        FROM statement
        LEFT JOIN (
            SELECT statement_id, sum(amount_cents) AS cents FROM payment
            WHERE paid_on <= {until} AND statement_id IN (SELECT id FROM statement WHERE {which})
            GROUP BY statement_id
        ) typed ON typed.statement_id = statement.id
        LEFT JOIN (
            SELECT statement_id, sum(amount_cents) FILTER (WHERE state IN ('confirmed', 'paid')) AS confirmed_cents,
                   sum(amount_cents) FILTER (
                       WHERE state = 'paid' AND payment_id IS NULL AND paid_on <= {until}
                   ) AS paid_cents
            FROM redemption
            WHERE statement_id IS NOT NULL AND statement_id IN (SELECT id FROM statement WHERE {which})
            GROUP BY statement_id
        ) stands ON stands.statement_id = statement.id
        LEFT JOIN (
            SELECT statement_id, sum(amount_cents) AS cents
            FROM repeated_payment JOIN redemption ON redemption.id = redemption_id
            WHERE state = 'paid' AND repeated_payment.paid_on <= {until}
              AND statement_id IN (SELECT id FROM statement WHERE {which})
            GROUP BY statement_id
        ) again ON again.statement_id = statement.id
        WHERE {which}
    """  # noqa: S608 (constants of this package)


_ACCOUNTS = sa.text(f"""
    SELECT account.*, due_cents - paid_cents AS unpaid_cents
    FROM ({account_query("'infinity'", "statement.id = ANY(:ids)")}) account
""")  # noqa: S608 (constants of this module)

_OF_THE_REGISTER = """
    statement.id IN (
        SELECT id FROM statement
        WHERE id > :after AND (CAST(:structure_id AS uuid) IS NULL OR structure_id = :structure_id)
          AND (CAST(:month AS date) IS NULL OR month = :month)
        ORDER BY id LIMIT :limit
    )
"""

# Every statement as it was issued and as it stands now, for `shared.files.csv_export.export_in_parts`.
REGISTER = f"""
    SELECT statement.id AS statement_id, statement.name AS number, statement.structure_id, statement.structure_name,
           statement.siret, to_char(statement.month, 'YYYY-MM') AS month, statement.issued_at, statement.due_on,
           statement.redemptions, statement.corrections, statement.due_cents, statement.confirmed_cents,
           statement.paid_cents, account.confirmed_cents AS confirmed_now_cents, account.paid_cents AS paid_now_cents,
           account.due_cents - account.paid_cents AS open_cents
    FROM ({account_query("'infinity'", _OF_THE_REGISTER)}) account JOIN statement USING (id)
    ORDER BY statement.id
"""  # noqa: S608 (constants of this module)


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


def accounts(session: Session, statement_ids: Collection[UUID]) -> Sequence[Any]:
    """What statements come to now: due, confirmed, paid and unpaid, which is negative where too much was paid."""
    return session.execute(_ACCOUNTS, {"ids": list(statement_ids)}).all()


def correct(session: Session, redemption_id: UUID, owed_cents: int, reason: str, made_by: str) -> Correction:
    """Corrects what is owed for a redemption, 0 where nothing is; a later correction replaces an earlier one.

    Raises NotFound, Conflict where it stands on no statement yet (it can be reversed), Invalid where `owed_cents` is
    more than its cheque is worth.
    """
    redemption = reversing.find(session, redemption_id, lock=True)
    if redemption.statement_id is None:
        raise Conflict("The redemption stands on no statement: take it back.", slug="redemption-not-on-statement")
    if owed_cents > redemption.amount_cents:
        most = [f"It must be at most {redemption.amount_cents}, what the cheque is worth."]
        raise Invalid("That is more than the cheque is worth.", errors={"owed_cents": most})
    made = Correction(redemption_id=redemption_id, owed_cents=owed_cents, reason=reason, made_by=made_by)
    session.add(made)
    session.flush()
    return made


def corrections(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """One page of corrections, in the order of their ids."""
    return paging.page_by(session, Correction, query)
