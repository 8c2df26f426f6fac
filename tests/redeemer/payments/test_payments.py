"""Payments: from the accountant's file or the operator, matched with statements; and those that are late."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from services.redeemer.payments import importing, overdue
from shared.values import clock
from tests.redeemer.books import LAST_MONTH, MONTH_BEFORE, Books, noon
from tests.redeemer.conftest import Till, day

SIRET = "82854918800021"
TODAY = clock.today()


@pytest.fixture
def books(till: Till) -> Books:
    return Books(till)


def test_a_payment_of_a_whole_statement_pays_its_redemptions_and_is_told(books: Books) -> None:
    ids = books.spend(3)
    books.confirm(ids[:1])
    [statement] = books.issue()

    answer = books.pay(f"{statement['number']};30,00;{TODAY};Mandat 17;{SIRET}")

    report = answer.get_json()
    assert (report["recorded"], report["settled"], report["recorded_cents"]) == (1, 3, 3000)
    assert report["lines"] == [
        {
            "line": 2, "outcome": "recorded", "statement": statement["number"], "amount_cents": 3000, "field": "",
            "reason": None,
        }
    ]  # fmt: skip
    assert books.states() == ["paid"] * 3
    assert books.now(statement) == (3000, 3000, 0)
    told = books.till.told("redemptions.paid")
    assert {(one["contract_id"], one["payment_reference"], one["paid_on"]) for one in told} == {
        (None, "Mandat 17", TODAY),
        (books.till.contract, "Mandat 17", TODAY),
    }
    assert sorted(one for each in told for one in each["redemption_ids"]) == sorted(ids)
    [payment] = books.till.get("/v1/payments", "structure", books.till.structure).get_json()["items"]
    assert (payment["amount_cents"], payment["reference"]) == (3000, "Mandat 17")


def test_a_part_pays_the_lines_that_it_covers_in_their_order(books: Books) -> None:
    books.spend(3)
    [statement] = books.issue()

    assert books.paid(statement, "15")["reason"] == "In part: 15.00 EUR of the statement are still to be paid."
    assert books.states() == ["paid", "due", "due"]
    assert books.paid(statement, "5", "M2")["outcome"] == "recorded"
    assert books.states() == ["paid", "paid", "due"]
    assert books.paid(statement, "10", "M3")["reason"] is None
    assert books.states() == ["paid"] * 3
    rows = books.till.rows("SELECT payment_reference FROM redemption ORDER BY redeemed_at, id")
    assert [row.payment_reference for row in rows] == ["M1", "M2", "M3"]


def test_the_same_payment_twice_is_recorded_once(books: Books) -> None:
    books.spend(2)
    [statement] = books.issue()
    line = f"{statement['number']};20;{TODAY};M1;"

    first = books.pay(line, line).get_json()
    again = books.pay(line, line).get_json()
    other_file = books.pay(line).get_json()

    assert [one["outcome"] for one in first["lines"]] == ["recorded", "known"]
    assert again["already_imported_at"] is not None
    assert first["already_imported_at"] is other_file["already_imported_at"] is None
    assert [one["recorded"] for one in (again, other_file)] == [0, 0]
    assert books.now(statement) == (2000, 2000, 0)
    assert len(books.till.told("redemptions.paid")) == 1


def test_too_much_is_recorded_and_remarked_on(books: Books) -> None:
    books.spend()
    [statement] = books.issue()
    books.paid(statement, "10")
    line = books.paid(statement, "10", "M2")
    assert line["outcome"] == "recorded"
    assert line["reason"] == "Too much: 10.00 EUR more than the statement comes to were paid by now."
    assert books.now(statement) == (1000, 2000, -1000)


def test_a_dry_run_says_the_same_and_does_nothing(books: Books) -> None:
    books.spend(2)
    [statement] = books.issue()
    lines = (f"{statement['number']};20;{TODAY};M1;", f"{statement['number']};x;{TODAY};M1;")

    trial = books.pay(*lines, dry_run="true").get_json()

    assert books.states() == ["due", "due"]
    assert books.till.rows("SELECT FROM payment UNION ALL SELECT FROM payment_import") == []
    assert books.till.told("redemptions.paid") == []
    assert books.pay(*lines).get_json() == trial


def test_all_or_nothing_takes_nothing_where_one_line_is_bad(books: Books) -> None:
    books.spend(2)
    [statement] = books.issue()
    lines = (f"{statement['number']};20;{TODAY};M1;", f"2000-00001;20;{TODAY};M1;")

    answer = books.pay(*lines, mode="all-or-nothing")

    problem = answer.get_json()
    assert (answer.status_code, problem["type"]) == (422, "urn:souche:nothing-taken")
    said = [{"line": 3, "field": "statement", "reason": "There is no statement 2000-00001."}]
    assert problem["report"]["lines"] == said
    assert books.states() == ["due", "due"]
    assert books.pay(*lines).get_json()["recorded"] == 1


@pytest.mark.parametrize(
    ("line", "field", "said"),
    [
        ("2020-00009;10;2026-01-02;;", "statement", "There is no statement 2020-00009."),
        ("42;10;2026-01-02;;", "statement", "one like 2026-00042 is expected"),
        (";10;2026-01-02;;", "statement", "Neither a statement nor a reference"),
        (";10;2026-01-02;Virement;", "reference", "names no statement, and no operator reported"),
        (";10;2026-01-02;2026-00001 et 2026-00002;", "reference", "several statements"),
        ("2026-00001;dix;2026-01-02;;", "amount", "euros above 0 like 1234,50"),
        ("2026-00001;-10;2026-01-02;;", "amount", "euros above 0"),
        ("2026-00001;0;2026-01-02;;", "amount", "euros above 0"),
        ("2026-00001;1,234.50;2026-01-02;;", "amount", "euros above 0"),
        ("2026-00001;10;02.01.2026;;", "paid_on", "2026-11-30 or 30/11/2026"),
        ("2026-00001;10;31/02/2026;;", "paid_on", "2026-11-30 or 30/11/2026"),
        ("2026-00001;10;2099-01-02;;", "paid_on", "today at the latest"),
        ("2026-00001;10;2026-01-02;;123", "siret", "14 digits"),
        ("2026-00001;10;2026-01-02", "", "3 fields where the first line names 5"),
    ],
)
def test_a_bad_line_is_told_with_its_field_and_what_is_expected(books: Books, line: str, field: str, said: str) -> None:
    [outcome] = books.pay(line).get_json()["lines"]
    assert (outcome["line"], outcome["outcome"], outcome["field"]) == (2, "refused", field)
    assert said in outcome["reason"]


def test_the_siret_has_to_be_the_statement_s(books: Books) -> None:
    books.spend()
    [statement] = books.issue()
    line = f"{statement['number']};10;{TODAY};;"
    answer = books.pay(f"{line}35600000000048", f"{line}{SIRET}")
    wrong, right = answer.get_json()["lines"]
    assert (wrong["outcome"], wrong["reason"]) == ("refused", f"Statement {statement['number']} is of SIRET {SIRET}.")
    assert right["outcome"] == "recorded"


@pytest.mark.parametrize(
    ("heads", "line"),
    [
        ("Etat;Montant;Date;Reference;SIRET", "{number};1 234,50 €;{french};VIR 1;828 549 188 00021"),
        ("reference,amount,paid_on", "VIR CHEQUES {number} NOV,1234.5,{iso}"),
        ("Référence\tMontant\tDate_paiement", "{number}\t1\u202f234,50\t{french}"),
        ("Numéro,Payé le,Montant", "{short},{iso},1234.50 EUR"),
    ],
)
def test_the_file_is_read_as_french_spreadsheets_write_it(books: Books, heads: str, line: str) -> None:
    books.spend()
    [statement] = books.issue()
    short = statement["number"].replace("-0000", "-")
    given = line.format(number=statement["number"], short=short, iso=TODAY, french=f"{TODAY:%d/%m/%Y}")
    [outcome] = books.pay(given, heads=heads).get_json()["lines"]
    assert (outcome["outcome"], outcome["amount_cents"]) == ("recorded", 123450)


def test_windows_1252_is_read_too(books: Books) -> None:
    books.spend()
    [statement] = books.issue()
    content = f"état;montant;payé_le\r\n{statement['number']};10,00 €;{TODAY}\r\n".encode("cp1252")
    report = books.till.post("/v1/payments/imports", "finance", content).get_json()
    assert report["recorded"] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x00\x01", "not text"),
        (b"a;b\n1;2", "Not known: column 1, column 2"),
        (b"statement;amount\n1;2", "Missing: paid_on"),
        (b"amount;paid_on\n1;2", "Missing: statement or reference"),
        (b"statement;amount;montant;paid_on\n", "There twice: amount"),
        (b'statement;amount;paid_on\n2026-00001;"20,00;2026-01-05\n2026-00002;5,00;2026-01-06\n', "not CSV: line 3"),
    ],
)
def test_a_file_that_is_none_is_refused_whole(books: Books, content: bytes, said: str) -> None:
    answer = books.till.post("/v1/payments/imports", "finance", content)
    assert (answer.status_code, answer.get_json()["type"]) == (422, "urn:souche:file-refused")
    assert said.lower() in answer.get_json()["detail"].lower()


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (b"statement;amount;paid_on\n" + b"\n" * 2_000_000, "too-many-lines"),
        (b"statement;amount;paid_on\n" + b";;\n" * 1_000_000, "too-many-lines"),
        (b";" * 2_000_000, "file-refused"),
        (b"x" * 2_000_000, "file-refused"),
    ],
)
def test_a_file_made_to_burst_the_memory_is_refused_before_it_is_cut_up(
    books: Books, content: bytes, slug: str
) -> None:
    answer = books.till.post("/v1/payments/imports", "finance", content)
    assert (answer.status_code, answer.get_json()["type"]) == (422, f"urn:souche:{slug}")
    assert len(answer.data) < 1_000


def test_what_the_operator_reported_is_known_and_not_counted_twice(books: Books) -> None:
    ids = books.spend(2)
    [statement] = books.issue()
    books.operator_pays(ids, "OP-7")

    answer = books.pay(f"{statement['number']};20;{TODAY};OP-7;", f";15;{TODAY};OP-7;").get_json()

    assert [line["outcome"] for line in answer["lines"]] == ["known", "known"]
    assert answer["lines"][1]["reason"] == "An operator reported 20.00 EUR under this reference already, not 15.00 EUR."
    assert books.now(statement) == (2000, 2000, 0)
    assert books.till.told("redemptions.paid") == []


def test_an_operator_that_pays_what_the_accountant_paid_is_noticed(books: Books) -> None:
    ids = books.spend(2)
    [statement] = books.issue()
    books.paid(statement, "20")
    for _ in range(2):
        books.operator_pays(ids[:1], "OP-7")
    assert books.now(statement) == (2000, 3000, -1000)
    assert [row.payment_reference for row in books.till.rows("SELECT payment_reference FROM redemption")] == ["M1"] * 2


def test_what_the_operator_paid_already_is_not_paid_again_by_the_rest(books: Books) -> None:
    ids = books.spend(3)
    books.operator_pays(ids[1:2])
    [statement] = books.issue()
    assert books.paid(statement, "20,00")["reason"] is None
    assert books.states() == ["paid"] * 3
    assert books.now(statement) == (3000, 3000, 0)


def test_a_payment_less_what_the_statement_takes_back_pays_all_its_redemptions(books: Books) -> None:
    [wrong] = books.spend(1, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    books.paid(first, "10")
    books.correct(wrong, 0)
    books.spend(3)
    [second] = books.issue()
    assert second["due_cents"] == 2000
    assert books.paid(second, "20", "M2")["reason"] is None
    assert books.states() == ["paid"] * 4


def test_what_is_refused_or_corrected_to_nothing_is_not_marked_as_paid(books: Books) -> None:
    refused, corrected, due = books.spend(3)
    [statement] = books.issue()
    books.refuse(refused)
    books.correct(corrected, 0)
    books.paid(statement, "30")
    states = {row.id: row.state for row in books.till.rows("SELECT id, state FROM redemption")}
    assert states == {refused: "refused", corrected: "due", due: "paid"}


def test_a_statement_that_comes_to_nothing_is_not_to_be_paid(books: Books) -> None:
    [wrong] = books.spend(1, noon(MONTH_BEFORE))
    books.issue(MONTH_BEFORE)
    books.correct(wrong, 0)
    [second] = books.issue()
    line = books.paid(second, "10")
    assert line["outcome"] == "refused"
    assert line["reason"] == f"Statement {second['number']} is not to be paid: -10.00 EUR."


def test_a_statement_is_late_when_its_term_is_over_and_something_of_it_open(books: Books) -> None:
    books.spend(2)
    [statement] = books.issue()
    books.paid(statement, "10")
    on = day(30)

    in_time = books.till.get(f"/v1/late-payments?on={on}", "finance").get_json()
    too_late = books.till.get(f"/v1/late-payments?on={on + timedelta(days=3)}", "finance").get_json()
    as_csv = books.till.get(f"/v1/late-payments/export.csv?on={on + timedelta(days=3)}", "finance").text

    assert in_time == {"items": [], "late_cents": 0}
    [line] = too_late["items"]
    assert (line["number"], line["days_late"], line["late_cents"], line["paid_cents"]) == (
        statement["number"], 3, 1000, 1000,
    )  # fmt: skip
    assert too_late["late_cents"] == 1000
    assert line["month"] == f"{LAST_MONTH:%Y-%m}"
    assert as_csv.splitlines()[0].startswith("number,statement_id,structure_id")
    assert len(as_csv.splitlines()) == 2


def test_a_structure_sees_what_is_late_for_itself(books: Books) -> None:
    other = books.till.affiliated("s2")
    books.spend(2)
    books.spend(1, structure=other)
    books.issue()
    path = f"/v1/late-payments?on={day(40)}"
    assert books.till.get(path, "finance").get_json()["late_cents"] == 3000
    assert books.till.get(path, "structure", other).get_json()["late_cents"] == 1000
    assert len(books.till.get(path.replace("?", "/export.csv?"), "structure", other).text.splitlines()) == 2


def test_what_the_structure_owes_back_is_taken_off_before_anything_is_late(books: Books) -> None:
    refused, due = books.spend(2, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    books.operator_pays([due])
    later = day(60)

    def found() -> list[int]:
        with books.till.redeemer.runtime.transaction() as session:
            return [line["late_cents"] for line in overdue.late(session, later)]

    assert found() == [1000]
    books.refuse(refused)
    assert found() == []  # the correction is still to come
    books.spend()
    [second] = books.issue()
    assert (second["due_cents"], books.now(first)[2]) == (0, 1000)
    assert found() == [1000]  # 10 € of the first and nothing of the second: the new redemption is not paid


def test_what_was_late_on_a_past_day_is_told_by_the_days_of_the_payments(books: Books, owner: sa.Engine) -> None:
    """Statement of long ago, paid three days after its day: late on the days in between, whenever one asks."""
    books.spend()
    [statement] = books.issue()
    number, paid_on = statement["number"], day(-3)
    issued = "issued_at = issued_at - interval '60 days', due_on = due_on - 40"
    with owner.begin() as connection:
        connection.exec_driver_sql("SET LOCAL search_path = redeemer; SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(f"UPDATE statement SET {issued}")
    books.pay(f"{number};10;{paid_on};M1;")

    def found(offset: int) -> int:
        answer = books.till.get(f"/v1/late-payments?on={day(offset)}", "finance").get_json()
        return int(answer["late_cents"])

    assert [found(offset) for offset in (-70, -10, -9, -4, -3, 0)] == [0, 0, 1000, 1000, 0, 0]


def test_what_operators_reported_under_a_reference_is_found_by_an_index(books: Books) -> None:
    with books.till.redeemer.runtime.engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))  # small tables are best read whole
        plan = connection.execute(sa.text(f"EXPLAIN {importing.REPORTED}"), {"references": ["OP-1"]}).all()
    assert any("redemption_payment_reference_idx" in line for (line,) in plan), plan
