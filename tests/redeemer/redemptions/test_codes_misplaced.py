"""A code that somebody writes where none belongs is not kept, and not repeated."""

import pytest
from werkzeug.test import TestResponse

from shared.values import cheque_code
from shared.values.ids import new_id
from tests.redeemer.books import Books
from tests.redeemer.conftest import COLUMNS, Till, day


def refused(answer: TestResponse, code: str) -> bool:
    return answer.status_code == 422 and code not in answer.text and cheque_code.normalise(code) not in answer.text


@pytest.fixture
def code(till: Till) -> str:
    """A cheque's, as printed."""
    return cheque_code.printed(till.issue()[0].code)


def test_as_the_key_of_a_request_it_is_refused_in_any_spelling(till: Till, code: str) -> None:
    for key in (code, code.lower(), cheque_code.normalise(code), f"redeem {code}", f"till-7:{code}"):
        answer = till.present([code], key=key)
        assert refused(answer, code), key
        assert answer.get_json()["type"] == "urn:souche:idempotency-key-is-a-code"
    assert not till.rows("SELECT FROM presentation")


def test_in_a_text_that_is_kept_it_is_refused(till: Till, code: str) -> None:
    assert refused(till.present([code], service=f"Atelier {code}"), code)
    [redemption] = till.present([code]).get_json()["redemptions"]
    path = f"/v1/redemptions/{redemption['redemption_id']}/reversal"
    assert refused(till.post(path, "structure", {"reason": f"erreur sur {code}"}, till.structure), code)
    path = f"/v1/structures/{till.structure}/suspension"
    assert refused(till.post(path, "admin", {"reason": f"chèque {code.replace('-', ' ')}"}), code)


def test_as_the_id_of_a_request_it_is_replaced(till: Till, code: str) -> None:
    headers = till.redeemer.headers("structure", till.structure, key=str(new_id())) | {"X-Request-ID": code}
    answer = till.redeemer.client.post("/v1/redemptions", json={"codes": [code]}, headers=headers)
    assert answer.status_code == 201
    assert answer.headers["X-Request-ID"] != code
    assert {row.request_id for row in till.rows("SELECT request_id FROM event WHERE kind = 'cheques.redeemed'")} == {
        answer.headers["X-Request-ID"]
    }


@pytest.mark.parametrize("column", COLUMNS.split(","))
def test_in_a_file_of_structures_its_line_is_refused(till: Till, code: str, column: str) -> None:
    line = ["s77", "82854918800021", "Campus", "Agen", "47000", "47001", "1 rue du Pont", "2026-01-05"]
    line[COLUMNS.split(",").index(column)] = code
    answer = till.post("/v1/structures/imports", "admin", f"{COLUMNS}\n{','.join(line)}\n".encode())
    assert (answer.get_json()["refused"], answer.get_json()["added"]) == (1, 0)
    assert {note["field"] for note in answer.get_json()["refusals"]} == {column}
    assert code not in answer.text


@pytest.mark.parametrize("column", ["statement", "amount", "paid_on", "reference"])
def test_in_a_file_of_payments_its_line_is_refused(till: Till, code: str, column: str) -> None:
    till.structure = till.affiliated("paid")
    books = Books(till)
    books.spend(1)
    [statement] = books.issue(structure_id=str(till.structure))
    line = {"statement": statement["number"], "amount": "1,00", "paid_on": str(day(0)), "reference": "MANDAT 7"}
    line[column] = f"{line[column]} {code}"
    file = f"{';'.join(line)}\r\n{';'.join(line.values())}\r\n"
    answer = till.post("/v1/payments/imports", "finance", file.encode())
    [told] = answer.get_json()["lines"]
    assert (told["outcome"], told["field"]) == ("refused", column)
    assert code not in answer.text
