"""Monthly statements: which redemptions stand on which, their numbers, and that nothing rewrites them."""

from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from services.redeemer.payments import closing
from services.redeemer.statements import issuing
from services.redeemer.statements.models import Correction
from services.redeemer.tasks import issue_statements
from shared.values import clock
from shared.values.ids import new_id
from tests.redeemer.books import LAST_MONTH, MONTH_BEFORE, THIS_MONTH, Books, noon
from tests.redeemer.conftest import Till, day


@pytest.fixture
def books(till: Till) -> Books:
    return Books(till)


def test_a_statement_lists_the_redemptions_of_a_structure_in_a_month(books: Books) -> None:
    other = books.till.affiliated("s2")
    own = books.spend(3) + books.spend(1, noon(LAST_MONTH))
    books.spend(2, structure=other)

    made = {statement["structure_id"]: statement for statement in books.issue()}

    statement = made[str(books.till.structure)]
    assert len(made) == 2
    assert (statement["redemptions"], statement["due_cents"], statement["month"]) == (4, 4000, f"{LAST_MONTH:%Y-%m}")
    lines = books.whole(statement)["lines"]
    assert {line["redemption_id"] for line in lines} == set(map(str, own))
    assert [line["position"] for line in lines] == [1, 2, 3, 4]
    assert [line["presented_on"] for line in lines] == sorted(line["presented_on"] for line in lines)
    assert {str(row.statement_id) for row in books.till.rows("SELECT statement_id FROM redemption")} == {
        one["statement_id"] for one in made.values()
    }


def test_totals_are_in_figures_and_in_words(books: Books) -> None:
    books.spend(3)
    [statement] = books.issue()
    due = books.whole(statement)["totals"]["due"]
    assert (due["cents"], due["figures"], due["words"]) == (3000, "30,00\xa0€", "trente euros")


def test_a_month_that_is_not_over_has_no_statement_yet(books: Books) -> None:
    books.spend(1, noon(THIS_MONTH))
    answer = books.till.post("/v1/statements", "finance", {"month": f"{THIS_MONTH:%Y-%m}"})
    assert (answer.status_code, answer.get_json()["type"]) == (422, "urn:souche:month-not-over")
    assert books.till.post("/v1/statements", "finance", {"month": "2026-13"}).status_code == 422


def test_the_month_is_that_of_the_presentation_in_paris(books: Books) -> None:
    """The last instant of a month in Paris is in its statement; the next one is not, whatever the day of the course."""
    midnight = datetime(THIS_MONTH.year, THIS_MONTH.month, 1, tzinfo=clock.PARIS)
    [inside] = books.spend(1, midnight - timedelta(seconds=1))
    [outside] = books.spend(1, midnight)
    books.write("UPDATE redemption SET given_on = :day", day=MONTH_BEFORE)

    [statement] = books.issue()

    [line] = books.whole(statement)["lines"]
    assert (line["redemption_id"], line["given_on"]) == (str(inside), MONTH_BEFORE.isoformat())
    assert line["presented_on"] == (THIS_MONTH - timedelta(days=1)).isoformat()
    [row] = books.till.rows("SELECT statement_id FROM redemption WHERE id = :id", id=outside)
    assert row.statement_id is None


def test_issuing_twice_makes_nothing_more(books: Books) -> None:
    books.spend(2)
    assert len(books.issue()) == 1
    assert books.issue() == []
    assert len(books.till.rows("SELECT FROM statement")) == 1


def test_what_comes_late_for_a_closed_month_is_on_the_next_statement(books: Books) -> None:
    books.spend(1, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    [cheque] = books.till.issue()
    late = books.till.reported(cheque) | {"redeemed_at": noon(MONTH_BEFORE + timedelta(days=2))}
    books.till.tell("redemption.reported", late)
    other = books.till.affiliated("s2")
    books.spend(1, noon(MONTH_BEFORE), structure=other)

    assert books.issue(MONTH_BEFORE) == []
    second = {statement["structure_id"]: statement for statement in books.issue()}

    [line] = books.whole(second[str(books.till.structure)])["lines"]
    assert line["redemption_id"] == str(late["report_id"])
    assert line["presented_on"] == (MONTH_BEFORE + timedelta(days=2)).isoformat()
    assert line["confirmed_cents"] == 1000
    assert second[str(other)]["due_cents"] == 1000
    assert books.whole(first)["statement"] == first


def test_a_month_before_the_last_statement_is_not_issued_after_it(books: Books) -> None:
    books.spend(1, noon(MONTH_BEFORE))
    [statement] = books.issue(LAST_MONTH)
    books.spend(1, noon(MONTH_BEFORE))
    assert statement["redemptions"] == 1
    assert books.issue(MONTH_BEFORE) == []


def test_one_structure_can_be_issued_before_the_others(books: Books) -> None:
    other = books.till.affiliated("s2")
    books.spend()
    books.spend(structure=other)
    [first] = books.issue(structure_id=str(other))
    [second] = books.issue()
    assert (first["structure_id"], second["structure_id"]) == (str(other), str(books.till.structure))
    assert (first["number"], second["number"]) == tuple(f"{clock.today().year}-0000{number}" for number in (1, 2))


def test_reversed_and_refused_redemptions_are_not_stated(books: Books) -> None:
    taken_back, refused, due, stranded = books.spend(4)
    books.till.reverse(taken_back)
    books.refuse(refused)
    books.till.tell("redemptions.stranded", {"contract_id": books.till.contract, "redemption_ids": [stranded]})
    [statement] = books.issue()
    assert {line["redemption_id"] for line in books.whole(statement)["lines"]} == {str(due), str(stranded)}


def test_the_three_columns_are_frozen_and_what_came_since_is_beside_them(books: Books) -> None:
    due, confirmed, paid = books.spend(3)
    books.confirm([confirmed])
    books.operator_pays([paid])
    [statement] = books.issue()
    assert [statement[f"{name}_cents"] for name in ("due", "confirmed", "paid")] == [3000, 2000, 1000]
    before = books.whole(statement)

    books.confirm([due])
    books.operator_pays([due, confirmed], "OP-2")

    after = books.whole(statement)
    assert books.now(statement) == (3000, 3000, 0)
    assert {name: after[name] for name in ("statement", "totals", "lines")} == {
        name: before[name] for name in ("statement", "totals", "lines")
    }


def test_a_structure_renamed_since_keeps_its_name_on_what_was_issued(books: Books) -> None:
    books.spend()
    [statement] = books.issue()
    books.write("UPDATE structure SET name = 'Autre', siret = NULL, address = '2 rue', commune = 'Nérac'")
    again = books.whole(statement)["statement"]
    assert (again["structure_name"], again["siret"], again["commune"]) == ("Campus s1", "82854918800021", "Agen")


@pytest.mark.parametrize("table", ["statement", "statement_line"])
def test_the_database_refuses_to_rewrite_a_statement(books: Books, table: str) -> None:
    books.spend()
    books.issue()
    for rewriting in (f"UPDATE {table} SET due_cents = due_cents + 1", f"DELETE FROM {table}"):
        with pytest.raises(sa.exc.DatabaseError, match="is frozen"):
            books.write(rewriting)


def test_a_redemption_cannot_even_be_written_on_two_statements(books: Books) -> None:
    books.spend(1, noon(MONTH_BEFORE))
    books.issue(MONTH_BEFORE)
    books.spend(1)
    books.issue()
    copy = """
        INSERT INTO statement_line
        SELECT (jsonb_populate_record(line, jsonb_build_object('position', 2, 'statement_id', statement.id))).*
        FROM statement_line line, statement WHERE statement.id <> line.statement_id
    """
    with pytest.raises(sa.exc.IntegrityError, match="statement_line_once_idx"):
        books.write(copy)


def test_a_stated_redemption_is_not_taken_back_but_corrected_on_the_next_statement(books: Books) -> None:
    wrong, _ = books.spend(2, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    assert books.till.reverse(wrong).get_json()["type"] == "urn:souche:redemption-on-statement"

    assert books.correct(wrong, 0).status_code == 201
    books.spend(1)
    [second] = books.issue()

    line = books.whole(second)["lines"][-1]
    assert (line["kind"], line["due_cents"], line["corrects"]) == ("correction", -1000, first["number"])
    assert (line["redemption_id"], line["reason"]) == (str(wrong), "cours non donné")
    assert (second["redemptions"], second["corrections"], second["due_cents"]) == (1, 1, 0)
    assert books.whole(first)["statement"] == first


def test_the_last_correction_holds_and_is_stated_once(books: Books) -> None:
    [redemption] = books.spend(1, noon(clock.add_months(MONTH_BEFORE, -1)))
    books.issue(clock.add_months(MONTH_BEFORE, -1))
    books.correct(redemption, 0)
    books.correct(redemption, 400, "cours écourté")
    [second] = books.issue(MONTH_BEFORE)
    assert [line["due_cents"] for line in books.whole(second)["lines"]] == [-600]
    books.correct(redemption, 1000, "cours rattrapé")
    [third] = books.issue(LAST_MONTH)
    assert [(line["due_cents"], line["reason"]) for line in books.whole(third)["lines"]] == [(600, "cours rattrapé")]


def correct_with_clocks_that_differ(books: Books, redemption: UUID, *owed: int) -> None:
    """Corrects a redemption several times, each time in a process whose clock is behind that of the one before."""
    ids = [new_id() for _ in owed]
    with books.till.redeemer.runtime.transaction() as session:
        for owed_cents, identifier in zip(owed, reversed(ids), strict=True):
            words = {"owed_cents": owed_cents, "reason": "cours non donné", "made_by": "test"}
            session.add(Correction(id=identifier, redemption_id=redemption, **words))
            session.flush()


def test_the_last_correction_holds_whatever_the_clocks_of_those_who_made_them(books: Books) -> None:
    redemption, _ = books.spend(2, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    correct_with_clocks_that_differ(books, redemption, 200, 0)
    books.spend()

    [second] = books.issue()
    books.paid(first, "20")

    assert [line["due_cents"] for line in books.whole(second)["lines"]] == [1000, -1000]
    assert books.states() == ["due", "paid", "paid"]


def test_a_redemption_that_its_operator_refuses_after_it_was_stated_is_taken_off_the_next(books: Books) -> None:
    [redemption] = books.spend(1, noon(clock.add_months(MONTH_BEFORE, -1)))
    books.issue(clock.add_months(MONTH_BEFORE, -1))
    books.refuse(redemption)
    [second] = books.issue(MONTH_BEFORE)
    [line] = books.whole(second)["lines"]
    assert (line["due_cents"], line["reason"], second["due_cents"]) == (-1000, "hors délai", -1000)

    books.operator_pays([redemption])  # it paid all the same
    [third] = books.issue(LAST_MONTH)
    [line] = books.whole(third)["lines"]
    assert (line["due_cents"], line["confirmed_cents"], line["paid_cents"]) == (1000, 1000, 1000)
    assert books.issue(LAST_MONTH) == []


def test_a_correction_is_of_a_stated_redemption_and_of_at_most_its_worth(books: Books) -> None:
    [redemption] = books.spend()
    unstated = books.correct(redemption, 0)
    books.issue()
    assert (unstated.status_code, unstated.get_json()["type"]) == (409, "urn:souche:redemption-not-on-statement")
    assert books.correct(redemption, 1001).status_code == 422
    assert books.correct(new_id(), 0).status_code == 404


def test_a_structure_sees_its_own_statements_only(books: Books) -> None:
    other = books.till.affiliated("s2")
    books.spend()
    books.spend(structure=other)
    made = {statement["structure_id"]: statement["statement_id"] for statement in books.issue()}

    seen = books.till.get("/v1/statements", "structure", other).get_json()["items"]

    assert [statement["statement_id"] for statement in seen] == [made[str(other)]]
    for path in ("", "/statement.csv", "/statement.pdf"):
        address = f"/v1/statements/{made[str(books.till.structure)]}{path}"
        assert books.till.get(address, "structure", other).status_code == 404
        assert books.till.get(address, "structure", books.till.structure).status_code == 200
    assert len(books.till.get(f"/v1/statements?month={LAST_MONTH:%Y-%m}", "finance").get_json()["items"]) == 2


def months_closed(books: Books) -> int:
    return len(books.till.rows("SELECT FROM statement_month"))


def test_statements_are_issued_by_themselves_once_some_days_after_the_month(books: Books) -> None:
    runtime = books.till.redeemer.runtime
    books.spend()
    assert not closing.close_last_month(runtime)
    made = 1 if clock.today().day >= 3 else 0
    assert (len(books.till.rows("SELECT FROM statement")), months_closed(books)) == (made, made)
    books.spend(structure=books.till.affiliated("s2"))
    assert not closing.close_last_month(runtime)
    assert len(books.till.rows("SELECT FROM statement")) == made
    assert issue_statements.name == "redeemer.issue_statements"


def test_a_run_that_is_out_of_time_leaves_the_rest_of_the_month_to_the_next(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "BATCH_SIZE", 1)
    monkeypatch.setattr(clock, "today", lambda: THIS_MONTH.replace(day=5))
    for number in range(3):
        books.spend(structure=books.till.affiliated(f"t{number}"))
    runtime = books.till.redeemer.runtime

    for number in range(1, 4):
        assert closing.close_last_month(runtime, seconds=0)
        assert (len(books.till.rows("SELECT FROM statement")), months_closed(books)) == (number, 0)

    assert not closing.close_last_month(runtime)
    assert (len(books.till.rows("SELECT FROM statement")), months_closed(books)) == (3, 1)


def test_the_day_to_pay_by_follows_the_programme_s_term(books: Books) -> None:
    books.spend(1, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    answer = books.till.redeemer.client.put(
        "/v1/payment-terms",
        json={"programme": "pass-numerique", "days": 20},
        headers=books.till.redeemer.headers("finance"),
    )
    assert answer.status_code == 200
    books.spend()
    [second] = books.issue()
    assert [date.fromisoformat(one["due_on"]) for one in (first, second)] == [day(30), day(20)]
    terms = books.till.get("/v1/payment-terms", "finance").get_json()
    assert (terms["usual_days"], terms["items"][0]["days"]) == (30, 20)
