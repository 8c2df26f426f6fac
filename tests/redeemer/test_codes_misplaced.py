"""A code that somebody writes where none belongs is not kept, and not repeated."""

import pytest
from werkzeug.test import TestResponse

from shared import cheque_code
from shared.ids import new_id
from tests.redeemer.conftest import Till


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
