"""Issuing while tills redeem, take back and are paid, against a real PostgreSQL: each once, no number lost."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from services.redeemer.payments import importing
from services.redeemer.statements import issuing as statements
from shared.files.file_import import ImportOptions
from shared.values import clock
from tests.redeemer.books import LAST_MONTH, MONTH_BEFORE, Books, noon
from tests.redeemer.conftest import Till
from tests.redeemer.redemptions.test_races import at_once, many, until_waiting

__all__ = ["many"]


@pytest.fixture
def books(many: Till) -> Books:
    return Books(many)


def numbers(books: Books) -> list[int]:
    return [row.number for row in books.till.rows("SELECT number FROM statement ORDER BY number")]


def test_many_who_issue_at_once_make_each_statement_once_and_lose_no_number(books: Books) -> None:
    structures = [books.till.affiliated(f"t{number}") for number in range(12)]
    for structure in structures:
        books.spend(2, structure=structure)
        books.spend(1, noon(MONTH_BEFORE), structure=structure)
    runtime = books.till.redeemer.runtime

    def issue_all() -> None:
        statements.issue(runtime, LAST_MONTH, "test")

    def issue_each() -> None:
        for structure in random.Random(1).sample(structures, len(structures)):
            statements.issue(runtime, LAST_MONTH, "test", structure)

    at_once([issue_all, issue_each, issue_all, issue_each, issue_all, issue_each])

    assert numbers(books) == list(range(1, 13))
    lines = books.till.rows("SELECT redemption_id FROM statement_line")
    assert len(lines) == len({line.redemption_id for line in lines}) == 36
    assert len(books.till.rows("SELECT FROM statement_month")) == 1


def test_of_issuing_and_taking_back_exactly_one_wins(books: Books) -> None:
    ids = books.spend(40)
    runtime = books.till.redeemer.runtime

    def take_back(seed: int) -> Any:
        chosen = random.Random(seed).sample(ids, 20)
        return lambda: [books.till.reverse(redemption).status_code for redemption in chosen]

    def issue() -> list[int]:
        time.sleep(0.1)
        statements.issue(runtime, LAST_MONTH, "test")
        return []

    answers = at_once([take_back(1), take_back(2), issue, issue])

    rows = books.till.rows("SELECT id, statement_id, reversed_at FROM redemption")
    assert all((row.statement_id is None) != (row.reversed_at is None) for row in rows)
    [statement] = books.till.rows("SELECT redemptions, due_cents FROM statement")
    stated = {row.id for row in rows if row.statement_id}
    assert {row.redemption_id for row in books.till.rows("SELECT redemption_id FROM statement_line")} == stated
    assert (statement.redemptions, statement.due_cents) == (len(stated), 1000 * len(stated))
    assert set(Counter(code for each in answers for code in each)) <= {200, 409}
    assert len(books.till.told("redemption.reversed")) == len(ids) - len(stated)


def test_a_redemption_taken_back_while_the_issuer_waits_for_it_is_not_stated(books: Books, owner: sa.Engine) -> None:
    """The issuer's snapshot still shows it as due: what counts is the row that it locked."""
    first, _ = books.spend(2)
    runtime = books.till.redeemer.runtime
    with ThreadPoolExecutor() as threads:
        with owner.begin() as connection:
            connection.exec_driver_sql("SET LOCAL search_path = redeemer")
            take_back = "UPDATE redemption SET reversed_at = now(), reversal_reason = 'mistake' WHERE id = :id"
            connection.execute(sa.text(take_back), {"id": first})
            issuing = threads.submit(statements.issue, runtime, LAST_MONTH, "test")
            until_waiting(owner, 1)
        [statement] = issuing.result()
    assert (statement.redemptions, statement.due_cents) == (1, 1000)


def test_who_takes_back_while_a_statement_is_being_issued_is_refused(books: Books, owner: sa.Engine) -> None:
    [redemption] = books.spend()
    with ThreadPoolExecutor() as threads:
        with owner.begin() as connection:
            connection.exec_driver_sql("SET LOCAL search_path = redeemer")
            mark = "UPDATE redemption SET statement_id = gen_random_uuid() WHERE id = :id"
            connection.execute(sa.text(mark), {"id": redemption})
            answer = threads.submit(books.till.reverse, redemption)
            until_waiting(owner, 1)
        assert answer.result().get_json()["type"] == "urn:souche:redemption-on-statement"


def test_a_run_that_dies_half_way_leaves_whole_statements_and_is_made_good(books: Books, owner: sa.Engine) -> None:
    """It dies before it commits: its numbers are given again, to others or to the same."""
    structures = sorted(books.till.affiliated(f"t{number}") for number in range(3))
    for structure in structures:
        books.spend(2, structure=structure)
    runtime = books.till.redeemer.runtime
    statements.issue(runtime, LAST_MONTH, "test", structures[0])
    with ThreadPoolExecutor() as threads:
        with owner.begin() as connection:
            connection.exec_driver_sql("SET LOCAL search_path = redeemer")
            connection.execute(sa.text("SELECT FROM redemption ORDER BY id DESC LIMIT 1 FOR UPDATE"))
            dying = threads.submit(statements.issue, runtime, LAST_MONTH, "test")
            until_waiting(owner, 1)
            connection.execute(
                sa.text("""
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE wait_event_type = 'Lock' AND application_name = 'souche-redeemer'
                """)
            )
        with pytest.raises(sa.exc.DBAPIError) as died:
            dying.result()
    assert isinstance(died.value.orig, psycopg.OperationalError)
    assert numbers(books) == [1]

    statements.issue(runtime, LAST_MONTH, "test")

    assert numbers(books) == [1, 2, 3]
    assert len(books.till.rows("SELECT FROM redemption WHERE statement_id IS NULL")) == 0


def test_tills_go_on_while_statements_are_issued(books: Books) -> None:
    """What is presented meanwhile is on no statement of a past month, and nobody waits for anybody in a circle."""
    runtime = books.till.redeemer.runtime
    for month in (MONTH_BEFORE, LAST_MONTH):
        books.spend(20, noon(month))

    def present() -> int:
        answers = [books.till.present([cheque.code]) for cheque in books.till.issue(15)]
        return sum(answer.status_code == 201 for answer in answers)

    def issue() -> int:
        for month in (MONTH_BEFORE, LAST_MONTH):
            statements.issue(runtime, month, "test")
        return 0

    def confirm() -> int:
        for row in books.till.rows("SELECT id FROM redemption ORDER BY id DESC"):
            books.confirm([row.id])
        return 0

    taken = at_once([present, present, issue, confirm, issue])

    assert sum(taken) == 30
    assert numbers(books) == [1, 2]
    assert len(books.till.rows("SELECT FROM redemption WHERE statement_id IS NULL")) == 30
    sums = books.till.rows("SELECT sum(due_cents) AS cents FROM statement")
    assert sums[0].cents == 40_000


def test_files_of_payments_at_once_record_each_payment_once(books: Books) -> None:
    books.spend(10)
    [statement] = books.issue()
    runtime = books.till.redeemer.runtime
    head = "statement;amount;paid_on;reference"
    lines = [f"{statement['number']};20;{clock.today()};M{number}" for number in range(5)]

    def pay(seed: int) -> Any:
        order = random.Random(seed).sample(lines, len(lines))

        def take_in() -> int:
            content = "\n".join((head, *order)).encode()
            with runtime.transaction() as session:
                recorded: int = importing.take_in(session, content, ImportOptions(), "test")["recorded"]
                return recorded

        return take_in

    recorded = at_once([pay(seed) for seed in range(6)])

    assert sum(recorded) == 5
    assert books.states() == ["paid"] * 10
    assert books.now(statement) == (10_000, 10_000, 0)
    assert sum(len(told["redemption_ids"]) for told in books.till.told("redemptions.paid")) == 10


def test_operator_and_accountant_who_pay_at_once_are_both_counted(books: Books) -> None:
    ids = books.spend(20)
    [statement] = books.issue()
    number = statement["number"]

    def operator() -> None:
        for at in range(0, 20, 5):
            books.operator_pays(ids[at : at + 5], f"OP-{at}")

    def accountant() -> None:
        for part in range(4):
            books.pay(f"{number};50;{clock.today()};M{part};")

    at_once([operator, accountant])

    confirmed, paid, still_open = books.now(statement)
    assert confirmed == 20_000
    assert (paid, still_open) == (40_000, -20_000)
