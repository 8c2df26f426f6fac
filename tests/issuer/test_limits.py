"""What the issuer takes in must fit what it tells, and what it is told must fit however much of it comes at once."""

import hashlib
import json
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.issuer.office import Office, expired, problem, registered


@pytest.mark.slow
def test_a_page_of_news_of_tens_of_thousands_of_cheques_is_applied(office: Office) -> None:
    office.tell(*(expired([str(uuid4()) for _ in range(1000)]) for _ in range(67)))
    office.tell(*(registered([str(uuid4()) for _ in range(500)]) for _ in range(132)))


def test_a_face_value_that_no_reader_could_keep_is_refused(office: Office) -> None:
    terms = {
        "code": "big",
        "name": "Big",
        "face_value_cents": 3_000_000_000,
        "minimum_grant_cents": 3_000_000_000,
        "validity": {"months": 12},
    }
    refused = office.post("/v1/programmes", terms)
    assert refused.status_code == 422
    assert "face_value_cents" in refused.text


def test_a_reference_used_for_another_person_is_refused(office: Office) -> None:
    office.envelope(100_000)
    alice = {"family_name": "Durand", "given_name": "Alice", "birth_date": "1961-03-09"}
    bob = {"family_name": "Martin", "given_name": "Bob", "birth_date": "1980-01-01"}
    first = office.grant(reference="dossier-1", beneficiary=alice)
    again = office.ask(reference="dossier-1", beneficiary=alice | {"given_name": "ALICE"})
    assert office.made(again)["grant_id"] == first["grant_id"]
    refused = office.ask(reference="dossier-1", beneficiary=bob)
    assert problem(refused) == (409, "reference-reused")
    assert office.ask(reference="dossier-1").status_code == 409


def test_nothing_by_which_names_could_be_tried_is_kept_of_a_request(office: Office) -> None:
    """A plain digest of the request would tell whoever has the table whether a name he tries is the right one."""
    office.envelope(100_000)
    alice = {"family_name": "Durand", "given_name": "Alice", "birth_date": "1961-03-09"}
    order = {"programme": "pass", "amount_cents": 5000, "reason": "Stated.", "beneficiary": alice}
    headers = office.service.headers("prescriber", office.prescriber, key="k1")
    said = json.dumps(order).encode()
    made = office.service.app.test_client().post(
        "/v1/grants", data=said, content_type="application/json", headers=headers
    )
    assert made.status_code == 201
    with office.service.runtime.transaction() as session:
        kept = session.execute(sa.text("SELECT request_digest FROM idempotent_answer")).scalars().all()
    assert len(kept) == 1
    assert bytes(kept[0]) != hashlib.sha256(b"POST /v1/grants?\n" + said).digest()
