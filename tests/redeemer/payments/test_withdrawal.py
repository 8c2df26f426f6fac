"""A payment that was mistyped is withdrawn by a counter-entry; a statement that takes back what was paid is paid."""

import random
from typing import Any

import pytest

from services.redeemer.payments import closing, withdrawal
from services.redeemer.statements import issuing
from shared.values import clock
from souche.verify import ledgers
from tests.redeemer.books import LAST_MONTH, MONTH_BEFORE, Books, noon
from tests.redeemer.conftest import Till, day
from tests.redeemer.redemptions.test_races import at_once, many

__all__ = ["many"]
TODAY = clock.today()


@pytest.fixture
def books(till: Till) -> Books:
    return Books(till)


def payments(books: Books) -> list[dict[str, Any]]:
    return list(books.till.get("/v1/payments", "finance").get_json()["items"])


def withdraw(books: Books, payment_id: str, role: str = "finance") -> Any:
    return books.till.post(f"/v1/payments/{payment_id}/withdrawal", role, {"reason": "Mandat d’un autre état"})


def faults(books: Books) -> list[str]:
    return list(ledgers.faults(books.till.redeemer.runtime.engine, ledgers.REDEEMER))


def told(books: Books) -> list[tuple[str, str, int]]:
    """What was told of payments: the kind, the reference and how many redemptions, in order."""
    rows = books.till.rows("SELECT kind, body FROM event WHERE kind LIKE 'redemptions.%' ORDER BY sequence")
    return [(row.kind.split(".")[1], row.body["payment_reference"], len(row.body["redemption_ids"])) for row in rows]


def test_a_withdrawn_payment_opens_what_it_paid_and_both_entries_stay(books: Books) -> None:
    ids = books.spend(3)
    books.confirm(ids[:1])
    [statement] = books.issue()
    books.paid(statement, "30")
    [payment] = payments(books)

    answer = withdraw(books, payment["payment_id"])

    entry = answer.get_json()
    assert (answer.status_code, entry["kind"], entry["amount_cents"]) == (201, "withdrawal", -3000)
    assert (entry["withdraws"], entry["paid_on"]) == (payment["payment_id"], payment["paid_on"])
    assert payments(books) == [payment, entry]
    states = {row.id: row.state for row in books.till.rows("SELECT id, state FROM redemption")}
    assert states == dict(zip(ids, ("confirmed", "due", "due"), strict=True))
    assert books.now(statement) == (1000, 0, 3000)
    assert told(books) == [("paid", "M1", 2), ("paid", "M1", 1), ("unpaid", "M1", 2), ("unpaid", "M1", 1)]
    late = books.till.get(f"/v1/late-payments?on={day(40)}", "finance").get_json()
    assert late["late_cents"] == 3000
    assert faults(books) == []


def test_withdrawn_twice_it_is_withdrawn_once(books: Books) -> None:
    books.spend()
    [statement] = books.issue()
    books.paid(statement, "10")
    [payment] = payments(books)
    first, again = (withdraw(books, payment["payment_id"]).get_json() for _ in range(2))
    assert first == again
    assert books.now(statement) == (0, 0, 1000)
    assert withdraw(books, first["payment_id"]).get_json()["type"] == "urn:souche:not-a-payment"
    assert withdraw(books, str(books.till.structure)).status_code == 404
    assert withdraw(books, payment["payment_id"], "operations").status_code == 403


def test_what_other_payments_cover_is_settled_by_them(books: Books) -> None:
    books.spend(3)
    [statement] = books.issue()
    books.paid(statement, "15", "M1")
    books.paid(statement, "15", "M2")
    assert books.states() == ["paid"] * 3

    withdraw(books, payments(books)[0]["payment_id"])

    assert books.states() == ["paid", "due", "due"]
    assert len(books.till.rows("SELECT FROM redemption WHERE payment_reference = 'M2'")) == 1
    assert told(books)[2:] == [("unpaid", "M1", 1), ("unpaid", "M2", 2), ("paid", "M2", 1)]
    assert faults(books) == []


def test_the_file_with_the_mistake_in_it_does_not_bring_it_back(books: Books) -> None:
    books.spend(2)
    [statement] = books.issue()
    books.paid(statement, "20")
    withdraw(books, payments(books)[0]["payment_id"])

    again = books.paid(statement, "20")
    right = books.paid(statement, "10")

    assert (again["outcome"], "was withdrawn" in again["reason"]) == ("known", True)
    assert right["outcome"] == "recorded"
    assert books.states() == ["paid", "due"]


def test_what_the_operator_paid_as_well_is_paid_by_that(books: Books) -> None:
    ids = books.spend(2)
    [statement] = books.issue()
    books.paid(statement, "20")
    books.operator_pays(ids[:1], "OP-7")
    withdraw(books, payments(books)[0]["payment_id"])

    assert books.states() == ["paid", "due"]
    assert books.now(statement) == (1000, 1000, 1000)
    assert told(books) == [("paid", "M1", 2), ("unpaid", "M1", 2), ("paid", "OP-7", 1)]

    books.operator_pays(ids[1:], "OP-8")  # comes late: who heard it before the withdrawal has to hear it after it
    assert told(books)[-1] == ("paid", "OP-8", 1)
    assert books.now(statement) == (2000, 2000, 0)


def test_what_the_operator_said_in_the_meantime_counts_after_the_withdrawal(books: Books) -> None:
    refused, accepted = books.spend(2)
    [statement] = books.issue()
    books.paid(statement, "20")
    books.refuse(refused)
    books.confirm([accepted])
    assert books.states() == ["paid", "paid"]

    withdraw(books, payments(books)[0]["payment_id"])

    states = {row.id: row.state for row in books.till.rows("SELECT id, state FROM redemption")}
    assert states == {refused: "refused", accepted: "confirmed"}
    assert books.now(statement) == (1000, 0, 2000)


def test_withdrawing_and_paying_at_once_leaves_books_that_add_up(many: Till) -> None:
    books = Books(many)
    books.spend(12)
    [statement] = books.issue()
    for part in range(4):
        books.paid(statement, "20", f"M{part}")
    ids = [one["payment_id"] for one in payments(books)]
    runtime = many.redeemer.runtime

    def take_back(seed: int) -> Any:
        def each() -> None:
            for payment_id in random.Random(seed).sample(ids, 3):
                with runtime.transaction() as session:
                    withdrawal.withdraw(session, payment_id, "slip", "test")

        return each

    at_once([take_back(1), take_back(2), take_back(3), lambda: books.paid(statement, "40", "N")])

    withdrawn = [one for one in payments(books) if one["kind"] == "withdrawal"]
    assert len(withdrawn) == len({one["withdraws"] for one in withdrawn})
    paid = sum(one["amount_cents"] for one in payments(books))
    assert books.now(statement)[1] == paid == 12_000 - 2000 * len(withdrawn)
    assert books.states().count("paid") == paid // 1000
    assert faults(books) == []


def test_a_statement_that_takes_back_what_was_paid_pays_its_own_redemptions(books: Books) -> None:
    [wrong] = books.spend(1, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    books.paid(first, "10")
    books.correct(wrong, 0)
    books.spend()

    [second] = books.issue()

    assert second["due_cents"] == 0
    assert books.states() == ["paid", "paid"]
    assert books.now(second) == (1000, 0, 0)
    assert [(one["kind"], one["amount_cents"], one["reference"]) for one in payments(books)][1:] == [
        ("set_off", 0, second["number"])
    ]
    assert told(books) == [("paid", "M1", 1), ("paid", second["number"], 1)]
    assert closing.set_off(books.till.redeemer.runtime) == 0
    assert faults(books) == []


def test_it_does_so_only_once_what_it_takes_back_was_paid(books: Books) -> None:
    wrong, _ = books.spend(2, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    books.correct(wrong, 0)
    books.spend()
    [second] = books.issue()
    assert (second["due_cents"], books.states()) == (0, ["due", "due", "due"])

    books.paid(first, "20")

    assert books.states()[2] == "paid"
    assert books.now(second) == (1000, 0, 0)
    assert faults(books) == []


def test_what_was_refused_before_it_was_stated_is_on_the_next_statement_for_information(books: Books) -> None:
    refused, taken_back, due = books.spend(3)
    books.refuse(refused, "hors délai")
    books.refuse(taken_back)
    books.till.reverse(taken_back)
    [statement] = books.issue()

    whole = books.whole(statement)
    path = f"/v1/statements/{statement['statement_id']}/statement"
    rows = books.till.get(f"{path}.csv", "structure", books.till.structure).text.splitlines()

    assert (statement["due_cents"], [line["redemption_id"] for line in whole["lines"]]) == (1000, [str(due)])
    [told_of] = whole["refusals"]
    assert (told_of["redemption_id"], told_of["reason"], told_of["amount_cents"]) == (str(refused), "hors délai", 1000)
    assert [row.split(",")[2] for row in rows[1:]] == ["redemption", "refusal", "total"]
    assert books.till.get(f"{path}.pdf", "structure", books.till.structure).status_code == 200

    books.confirm([refused])  # accepted after all: then it is stated like any other
    books.write("UPDATE redemption SET redeemed_at = redeemed_at - interval '1 month' WHERE id = :id", id=refused)
    assert books.till.rows("SELECT FROM statement_refusal") != []
    assert faults(books) == []


def test_structures_are_issued_in_portions_of_so_many_lines(books: Books) -> None:
    """Thousands of redemptions are more than one statement of SQL should lock."""

    def candidate(lines: int) -> Any:
        return type("Row", (), {"id": lines, "lines": lines})

    candidates = [candidate(lines) for lines in (24_000, 900, 200, 90_000, 1)]
    assert [len(issuing.portion(candidates[begin:])) for begin in (0, 2, 3, 4)] == [2, 1, 1, 1]
    books.spend(2, noon(LAST_MONTH))
    assert len(books.issue()) == 1
