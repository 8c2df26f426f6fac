"""A statement as a file: CSV to the cent, and an état liquidatif that a public accountant can pay upon."""

import csv
import io
from typing import Any

import pikepdf
import pytest
from pypdf import PdfReader

from shared.values.french_format import in_full
from shared.values.french_format import month as french_month
from tests.redeemer.books import LAST_MONTH, MONTH_BEFORE, Books, noon
from tests.redeemer.conftest import ANYTHING, PROGRAMME, Till, day


@pytest.fixture
def books(till: Till) -> Books:
    return Books(till)


def file(books: Books, statement: dict[str, Any], name: str) -> bytes:
    answer = books.till.get(f"/v1/statements/{statement['statement_id']}/statement.{name}", "finance")
    assert answer.status_code == 200
    return bytes(answer.data)


def pages(books: Books, statement: dict[str, Any]) -> list[str]:
    """The text of each page, with plain spaces."""
    read = PdfReader(io.BytesIO(file(books, statement, "pdf")))
    return [" ".join(page.extract_text().split()) for page in read.pages]


def test_the_csv_has_every_line_and_the_total_in_words(books: Books) -> None:
    [wrong] = books.spend(1, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    books.correct(wrong, 250, "=HYPERLINK(cours)")
    ids = books.spend(2)
    books.confirm(ids)
    [statement] = books.issue()

    rows = list(csv.DictReader(io.StringIO(file(books, statement, "csv").decode())))

    assert [row["kind"] for row in rows] == ["redemption", "redemption", "correction", "total"]
    assert {row["redemption_id"] for row in rows[:2]} == set(map(str, ids))
    assert (rows[2]["due_cents"], rows[2]["corrects"], rows[2]["text"]) == (
        "-750",
        first["number"],
        "'=HYPERLINK(cours)",
    )
    assert (
        sum(int(row["due_cents"]) for row in rows[:-1]) == int(rows[-1]["due_cents"]) == statement["due_cents"] == 1250
    )
    assert rows[-1]["text"] == "douze euros et cinquante centimes"
    assert sum(int(row["confirmed_cents"]) for row in rows[:-1]) == int(rows[-1]["confirmed_cents"]) == 2000


def test_the_etat_liquidatif_says_who_is_owed_what_and_is_to_be_signed(books: Books) -> None:
    books.spend(3)
    [statement] = books.issue()

    text = " ".join(pages(books, statement))

    for said in (
        f"État liquidatif n° {statement['number']}", "Créancier Campus s1", "SIRET 828 549 188 00021", "1 rue du Pont",
        "47000 Agen", f"Débiteur {books.till.redeemer.settings.authority_name}", french_month(LAST_MONTH),
        "article 31 du décret n° 2012-1246", "Arrêté le présent état à la somme de trente euros (30,00 €)",
        "Service fait certifié", "L’ordonnateur, ou son délégué", "Sous-total 30,00 €", in_full(day(30)),
    ):  # fmt: skip
        assert said in text, said


def test_programmes_have_their_names_for_people_and_their_codes_for_machines(books: Books) -> None:
    books.spend(1)
    books.till.issue(1, {**ANYTHING, "name": "Pass numérique & compagnie"})
    books.spend(2)
    [statement] = books.issue()
    books.till.issue(1, {**ANYTHING, "name": "Another"})  # it keeps its name, and the statement is what it was

    text = " ".join(pages(books, statement))

    assert "Pass numérique & compagnie 3 30,00 €" in text
    assert PROGRAMME not in text
    rows = list(csv.DictReader(io.StringIO(file(books, statement, "csv").decode())))
    assert {row["programme"] for row in rows[:-1]} == {PROGRAMME}


def test_what_is_paid_already_is_not_to_be_paid_again(books: Books) -> None:
    books.operator_pays(books.spend(3)[:1])
    [statement] = books.issue()
    assert "Déjà payé : 10,00 €. Reste à payer : vingt euros (20,00 €)." in " ".join(pages(books, statement))


def test_a_sum_that_the_structure_owes_back_says_so(books: Books) -> None:
    [wrong] = books.spend(1, noon(MONTH_BEFORE))
    [first] = books.issue(MONTH_BEFORE)
    books.correct(wrong, 0, "*cours* #panic() <b>")
    [statement] = books.issue()
    text = " ".join(pages(books, statement))
    assert "à la somme de dix euros (10,00 €) en faveur du débiteur" in text
    assert f"{first['number']} {str(wrong)[-12:]} *cours* #panic() <b> −10,00 €" in text


def test_a_long_statement_repeats_the_heads_of_its_table_and_is_accessible(books: Books) -> None:
    for _ in range(3):
        books.spend(50)
    [statement] = books.issue()

    read = pages(books, statement)

    assert len(read) > 2
    assert all("Présenté le Atelier du Référence" in page for page in read[1:])
    assert read[1].endswith(f"page 2 sur {len(read)}")
    with pikepdf.open(io.BytesIO(file(books, statement, "pdf"))) as document:
        assert str(document.docinfo["/Title"]) == f"État liquidatif n° {statement['number']}"
        assert str(document.Root["/Lang"]) == "fr-FR"
        assert "/StructTreeRoot" in document.Root


def test_the_document_stays_the_same_whatever_happens_after(books: Books) -> None:
    ids = books.spend(2)
    [statement] = books.issue()
    before = file(books, statement, "pdf"), file(books, statement, "csv")
    books.operator_pays(ids)
    books.correct(ids[0], 0)
    books.write("UPDATE structure SET name = 'Autre'")
    assert (file(books, statement, "pdf"), file(books, statement, "csv")) == before


def test_the_register_has_every_statement_as_issued_and_as_it_stands(books: Books) -> None:
    other = books.till.affiliated("s2")
    books.spend(2)
    books.spend(1, structure=other)
    own, _ = sorted(books.issue(), key=lambda one: one["structure_id"] != str(books.till.structure))
    books.paid(own, "10")

    rows = list(csv.DictReader(io.StringIO(books.till.get("/v1/statements/export.csv", "finance").text)))
    seen = books.till.get("/v1/statements/export.csv?separator=%3B", "structure", books.till.structure).data.decode()
    payments = list(csv.DictReader(io.StringIO(books.till.get("/v1/payments/export.csv", "finance").text)))

    assert [row["number"][-5:] for row in rows] == ["00001", "00002"]
    [row] = [row for row in rows if row["number"] == own["number"]]
    assert (row["month"], row["due_cents"], row["paid_cents"]) == (f"{LAST_MONTH:%Y-%m}", "2000", "0")
    assert (row["paid_now_cents"], row["open_cents"]) == ("1000", "1000")
    assert seen.startswith("\ufeffstatement_id;number;")
    assert len(seen.splitlines()) == 2
    assert [(one["statement"], one["amount_cents"], one["reference"]) for one in payments] == [
        (own["number"], "1000", "M1")
    ]
