"""Whatever happened, statements and payments add up to the cent; and where somebody meddled, verifying says so."""

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from services.redeemer.payments import overdue as late
from services.redeemer.statements import statements
from shared.values import clock
from souche.verify import ledgers
from tests.chance import examples
from tests.redeemer.books import LAST_MONTH, THIS_MONTH, Books, noon
from tests.redeemer.conftest import Till

MONTHS = 6
OLDEST = clock.add_months(THIS_MONTH, -MONTHS)
FEW = st.integers(0, 7)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "spend",
                "reverse",
                "refuse",
                "confirm",
                "redeclare",
                "operator",
                "correct",
                "issue",
                "pay",
                "withdraw",
            ]
        ),
        FEW,
        FEW,
    ),
    min_size=4,
    max_size=24,
)


@pytest.fixture
def books(till: Till) -> Books:
    return Books(till)


def faults(books: Books) -> list[str]:
    return list(ledgers.faults(books.till.redeemer.runtime.engine, ledgers.REDEEMER))


class History:
    """Steps, each of which does what it says where it can."""

    def __init__(self, books: Books) -> None:
        self.books, self.month = books, OLDEST

    def chosen(self, at: int) -> Any:
        rows = self.books.till.rows("SELECT id FROM redemption ORDER BY id")
        return rows[at % len(rows)].id if rows else None

    def step(self, kind: str, at: int, much: int) -> None:
        if kind == "spend":
            self.books.spend(1 + much % 3, noon(clock.add_months(OLDEST, at % MONTHS) + timedelta(days=much)))
        elif kind == "issue":
            self.books.issue(self.month)
            self.month = min(clock.add_months(self.month, 1), LAST_MONTH)
        elif kind == "pay":
            self.pay(at, much)
        elif kind == "withdraw":
            self.withdraw(at)
        elif (redemption := self.chosen(at)) is not None:
            self.touch(kind, redemption, much)

    def touch(self, kind: str, redemption: Any, much: int) -> None:
        if kind == "reverse":
            self.books.till.reverse(redemption)
        elif kind == "refuse":
            self.books.refuse(redemption)
        elif kind == "confirm":
            self.books.confirm([redemption])
        elif kind == "redeclare":
            body = {"contract_id": self.books.till.contract, "redemption_ids": [redemption]}
            self.books.till.tell("redemptions.stranded", body)
        elif kind == "operator":
            self.books.operator_pays([redemption], f"OP-{much}")
        elif kind == "correct":
            self.books.correct(redemption, [0, 250, 1000][much % 3])

    def withdraw(self, at: int) -> None:
        rows = self.books.till.rows("SELECT id FROM payment ORDER BY id")
        if rows:
            path = f"/v1/payments/{rows[at % len(rows)].id}/withdrawal"
            self.books.till.post(path, "finance", {"reason": "slip"})

    def pay(self, at: int, much: int) -> None:
        rows = self.books.till.rows("SELECT name FROM statement ORDER BY number")
        if rows:
            self.books.pay(f"{rows[at % len(rows)].name};{much * 7 + 3};{clock.today()};M{much};")


@pytest.mark.slow
@examples(12)
@given(steps=STEPS)
def test_over_any_history_statements_and_payments_add_up(books: Books, owner: sa.Engine, steps: Any) -> None:
    books.write("DELETE FROM idempotent_answer")
    history = History(books)
    for kind, at, much in steps:
        history.step(kind, at, much)
    assert faults(books) == []
    _check_stated(books)
    books.issue(LAST_MONTH)  # what is left over goes on the last one
    assert faults(books) == []
    _check_stated(books)
    _empty(books, owner)


def _check_stated(books: Books) -> None:
    """What was stated, and the corrections to come, are what is owed; what is open, and paid, are what was stated."""
    owed = """
        SELECT coalesce(sum(CASE WHEN state = 'refused' THEN 0 ELSE coalesce((
            SELECT owed_cents FROM redemption_correction WHERE redemption_id = redemption.id
            ORDER BY sequence DESC LIMIT 1
        ), amount_cents) END), 0) AS cents FROM redemption WHERE statement_id IS NOT NULL
    """
    [expected] = books.till.rows(owed)
    [stated] = books.till.rows("SELECT coalesce(sum(due_cents), 0) AS cents FROM statement")
    [pending] = books.till.rows(f"SELECT coalesce(sum(cents), 0) AS cents FROM ({statements.PENDING}) pending")
    assert stated.cents + pending.cents == expected.cents
    with books.till.redeemer.runtime.transaction() as session:
        ids = session.scalars(sa.text("SELECT id FROM statement")).all()
        accounts = statements.accounts(session, ids)
        overdue = late.late(session, clock.today() + timedelta(days=400))
    assert sum(one.unpaid_cents + one.paid_cents for one in accounts) == stated.cents
    least = max(0, sum(one.unpaid_cents for one in accounts) + int(pending.cents))
    assert sum(one["late_cents"] for one in overdue) >= least
    assert sum(one["late_cents"] for one in overdue) <= sum(max(0, one.unpaid_cents) for one in accounts)


def _empty(books: Books, owner: sa.Engine) -> None:
    """The next history begins with nothing spent, at the same structure."""
    with owner.begin() as connection:
        connection.exec_driver_sql("""
            SET LOCAL search_path = redeemer;
            TRUNCATE cheque, redemption, presentation, statement, statement_line, statement_refusal, statement_month,
                     payment, payment_import, redemption_correction, repeated_payment, event CASCADE
        """)


MEDDLING = {
    "UPDATE statement SET number = 7": "are numbered up to 7",
    "UPDATE statement SET due_cents = 1": "statement .* is of 1 cents",
    "DELETE FROM statement_line WHERE position = 2": "lines come to",
    "UPDATE statement_line SET paid_cents = 1, confirmed_cents = 1 WHERE position = 1": "come to 3000, 1 and 1",
    "UPDATE redemption SET statement_id = NULL WHERE id = (SELECT min(id::text)::uuid FROM redemption)": "names stat",
    "UPDATE redemption SET reversed_at = now(), reversal_reason = 'x'": "names statement",
    "UPDATE redemption SET amount_cents = 1": "names statement",
    "UPDATE payment SET amount_cents = 1": "redemptions are paid by 1 cents",
    "UPDATE redemption SET state = 'due'": "is due and was settled",
}


@pytest.mark.parametrize("meddling", MEDDLING)
def test_what_was_meddled_with_is_found(books: Books, owner: sa.Engine, meddling: str) -> None:
    books.spend(3)
    [statement] = books.issue()
    books.paid(statement, "30")
    assert faults(books) == []
    with owner.begin() as connection:
        connection.exec_driver_sql("SET LOCAL search_path = redeemer; SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(meddling)
    assert re.search(MEDDLING[meddling], "; ".join(faults(books)))
