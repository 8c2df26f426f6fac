"""Grants by the thousand: answered line by line, granted once."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from services.issuer.grants import bulk
from services.issuer.grants.bulk import Line
from services.issuer.grants.bulk_csv import MAX_LINES
from services.issuer.grants.issuing import Secrets
from services.issuer.grants.requests import GrantRequest
from shared.files.file_import import ImportOptions
from shared.problems import Unavailable
from tests.issuer.office import ALICE, Office, problem

PATH = "/v1/grants/bulk"


def order(**changes: Any) -> dict[str, Any]:
    """A line that is right, but for these changes."""
    return {"programme": "pass", "amount_cents": 5000, "reason": "?"} | changes


def send(office: Office, body: Any, key: str | None = "key") -> TestResponse:
    """The answer to a prescriber's bulk request."""
    return office.post(PATH, body, "prescriber", office.prescriber, key)


def slugs(answer: Any) -> dict[int, str]:
    """Why lines were refused, by their number."""
    return {
        line["line"]: line["problem"]["type"].removeprefix("urn:souche:")
        for line in answer["lines"]
        if "problem" in line
    }


def test_the_good_lines_are_granted_in_their_order_and_each_is_answered(office: Office) -> None:
    office.envelope(12_000)
    lines = [
        order(),
        order(programme="unknown"),
        "not an object",
        order(amount_cents=8000),
        order(amount_cents=7000),
        order(),
        order(surprise=True),
    ]
    answer = office.made(send(office, lines), 200)
    assert (answer["accepted"], answer["refused"]) == (2, 5)
    assert [line["line"] for line in answer["lines"]] == [1, 2, 3, 4, 5, 6, 7]
    expected = {2: "invalid", 3: "invalid", 4: "envelope-exhausted", 6: "envelope-exhausted", 7: "invalid"}
    assert slugs(answer) == expected
    assert answer["lines"][3]["problem"]["available_cents"] == 7000
    assert list(answer["lines"][6]["problem"]["errors"]) == ["surprise"]
    assert office.engaged() == [12_000]
    assert [event["grant_id"] for event in office.events("cheques.issued")] == [
        line["grant_id"] for line in answer["lines"] if "grant_id" in line
    ]


@pytest.mark.slow
def test_thousands_of_lines_in_several_portions_are_charged_exactly(office: Office) -> None:
    office.envelope(4_000_000, priority=1)
    office.envelope(100_000_000, priority=2)
    answer = office.made(send(office, [order() for _ in range(1_200)]), 200)
    assert (answer["accepted"], answer["refused"]) == (1_200, 0)
    assert office.engaged() == [4_000_000, 2_000_000]


def test_a_file_is_read_by_its_physical_lines(office: Office) -> None:
    office.envelope(1_000_000)
    text = (
        "\ufeffprogramme;amount_cents;reason;family_name;given_name;birth_date;answer.computer;answer.forms\r\n"
        'pass;5000;"Besoin; urgent";Durand;Zoé;1990-05-01;;\r\n'
        "\r\n"
        'pass;5000;"open quote;Durand;Zoé;1990-05-01;;\r\n'
        "pass;;;DURAND;Zoe;1990-05-01;no;never\r\n"
        "pass;5000\r\n"
        "pass;fifty;?;;;;;\r\n"
        "pass;" + "9" * 5000 + ";?\u2028;;;;;\r\n"
    )
    answer = office.made(send(office, text.encode()), 200)
    assert [line["line"] for line in answer["lines"]] == [2, 4, 5, 6, 7, 8]
    assert slugs(answer) == dict.fromkeys([4, 6, 7, 8], "invalid")
    first, second = (
        office.made(office.get(f"/v1/grants/{line['grant_id']}"), 200) for line in answer["lines"] if "grant_id" in line
    )
    assert (first["reason"], first["amount_cents"], first["previous_grants"]) == ("Besoin; urgent", 5000, 0)
    assert (second["points"], second["amount_cents"], second["previous_grants"]) == (8, 10_000, 1)


def test_a_file_may_be_as_a_french_spreadsheet_saves_it(office: Office) -> None:
    office.envelope(1_000_000)
    text = (
        "programme;amount_cents;reason;granted_on;family_name;given_name;birth_date;reference\r\n"
        "pass;5000;Besoin d’équipement;02/01/2026;Müller;Zoé;01/05/1990;a\r\n"
        "pass;5000;?;31/02/2026;Müller;Zoé;01/05/1990;b\r\n"
    )
    answer = office.made(send(office, text.encode("cp1252")), 200)
    assert slugs(answer) == {3: "invalid"}
    granted = office.made(office.get(f"/v1/grants/{answer['lines'][0]['grant_id']}"), 200)
    assert (granted["reason"], granted["granted_on"]) == ("Besoin d’équipement", "2026-01-02")
    again = office.grant(beneficiary={"family_name": "Müller", "given_name": "Zoé", "birth_date": "1990-05-01"})
    assert again["previous_grants"] == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"programme,colour\npass,red\n", b"reason,amount_cents\n", b"programme,programme\n", b"\xff,programme\n"],
)
def test_a_file_whose_columns_are_not_known_is_refused_whole(office: Office, content: bytes) -> None:
    assert problem(send(office, content)) == (422, "invalid")


def test_what_is_neither_an_array_nor_short_enough_is_refused_whole(office: Office) -> None:
    assert problem(send(office, {"lines": []})) == (422, "invalid")
    assert problem(send(office, [0] * (MAX_LINES + 1))) == (422, "too-many-lines")
    assert problem(send(office, b"programme\n" + b"pass\n" * (MAX_LINES + 1))) == (422, "too-many-lines")


def test_the_same_file_again_is_harmless_when_its_lines_have_references(office: Office) -> None:
    office.envelope(1_000_000)
    lines = [order(reference=f"d{number}") for number in range(3)]
    first = office.made(send(office, lines, key=None), 200)
    assert (first["already_imported_at"], first["amount_cents"]) == (None, 15_000)
    again = office.made(send(office, lines, key=None), 200)
    assert (again["already_imported_at"] is not None, again["amount_cents"]) == (True, 0)
    again = office.made(send(office, [*lines, order(reference="d3")], key=None), 200)
    assert (again["already_imported_at"], again["amount_cents"]) == (None, 5_000)
    assert [line["already"] for line in again["lines"]] == [True, True, True, False]
    assert [line["grant_id"] for line in again["lines"][:3]] == [line["grant_id"] for line in first["lines"]]
    assert office.engaged() == [20_000]


def test_the_same_request_again_is_harmless_when_it_has_a_key(office: Office) -> None:
    office.envelope(1_000_000)
    first = send(office, [order(), order()])
    assert send(office, [order(), order()]).data == first.data
    assert office.engaged() == [10_000]
    assert problem(send(office, [order()])) == (422, "idempotency-key-reused")


def test_a_request_that_was_cut_off_goes_on_where_it_stopped(office: Office) -> None:
    """Its lines are granted and its answer was never kept: as if the service had died between the two."""
    office.envelope(1_000_000)
    first = office.made(send(office, [order(), order()]), 200)
    with office.service.runtime.transaction() as session:
        session.connection().exec_driver_sql("DELETE FROM idempotent_answer")
    again = office.made(send(office, [order(), order()]), 200)
    assert [line["already"] for line in again["lines"]] == [True, True]
    assert [line["grant_id"] for line in again["lines"]] == [line["grant_id"] for line in first["lines"]]
    assert office.engaged() == [10_000]


def test_a_database_that_goes_away_in_the_middle_is_told_and_nothing_is_granted_twice(office: Office) -> None:
    office.envelope(10_000_000)
    request = GrantRequest(office.prescriber, "pass", amount_cents=5000, reason="?")
    lines = [Line(number, request) for number in range(700)]
    secrets, turns = Secrets.of(office.service.settings.keys), itertools.count()

    @contextmanager
    def cut_off_in_the_second_batch() -> Iterator[Session]:
        with office.service.runtime.transaction() as session:
            yield session
            if next(turns) == 1:
                session.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Unavailable) as interrupted:
        bulk.grant_lines(cut_off_in_the_second_batch, secrets, lines, "origin", "digest", ImportOptions())
    assert interrupted.value.members == {"lines_settled": 500}
    assert office.engaged() == [2_500_000]
    report = bulk.grant_lines(office.service.runtime.transaction, secrets, lines, "origin", "digest", ImportOptions())
    assert [answer.already for answer in report.answers] == [True] * 500 + [False] * 200
    assert report.already_imported_at is not None
    assert office.engaged() == [3_500_000]


def test_a_line_that_nothing_names_is_not_granted(office: Office) -> None:
    office.envelope(1_000_000)
    answer = office.made(send(office, [order(), order(reference="named")], key=None), 200)
    assert slugs(answer) == {1: "reference-missing"}


def test_two_lines_of_one_reference_are_one_grant_and_a_mistake(office: Office) -> None:
    office.envelope(1_000_000)
    answer = office.made(send(office, [order(reference="d"), order(reference="d"), order(reference="e")]), 200)
    assert slugs(answer) == {2: "reference-repeated"}
    assert "Line 1" in answer["lines"][1]["problem"]["detail"]


def test_a_known_reference_for_something_else_is_refused(office: Office) -> None:
    office.envelope(1_000_000)
    send(office, [order(reference="d")], key=None)
    answer = office.made(send(office, [order(reference="d", amount_cents=6000)], key=None), 200)
    assert slugs(answer) == {1: "reference-reused"}


def test_an_admin_says_who_grants_and_a_prescriber_is_itself(office: Office) -> None:
    office.envelope(1_000_000)
    mine, other = str(office.prescriber), str(office.prescriber_named("other"))
    lines = [order(prescriber_id=mine), order(prescriber_id=other), order()]
    answer = office.made(office.post(PATH, lines, key="admin"), 200)
    assert slugs(answer) == {3: "invalid"}
    granted = office.made(office.get("/v1/grants"), 200)["items"]
    assert [grant["prescriber_id"] for grant in granted] == [mine, other]
    assert slugs(office.made(send(office, lines), 200)) == {2: "invalid"}


def test_refused_lines_leave_no_trace_of_the_person(office: Office) -> None:
    office.envelope(5_000)
    send(office, [order(), order(beneficiary=ALICE)])
    with office.service.runtime.transaction() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM beneficiary").scalar_one() == 0


def test_no_code_is_in_the_answer(office: Office) -> None:
    office.envelope(1_000_000)
    answer = office.made(send(office, [order()]), 200)
    grant_id = answer["lines"][0]["grant_id"]
    printed = office.made(office.get(f"/v1/grants/{grant_id}/codes", "prescriber", office.prescriber), 200)["cheques"]
    assert len(printed) == 5
    assert not any(cheque["code"] in json.dumps(answer) for cheque in printed)
