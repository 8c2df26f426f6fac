"""Bulk grants on trial, and all or nothing."""

from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from services.issuer.grants.bulk import MAX_ALL_OR_NOTHING
from tests.issuer.office import ALICE, Office, problem

PATH = "/v1/grants/bulk"
TABLES = (
    "cheque_grant", "cheque", "beneficiary", "event", "idempotent_answer", "grant_import", "charge", "journal_entry",
)  # fmt: skip


def order(**changes: Any) -> dict[str, Any]:
    """A line that is right, but for these changes."""
    return {"programme": "pass", "amount_cents": 5000, "reason": "?"} | changes


def send(office: Office, lines: Any, terms: str = "", key: str | None = "key") -> TestResponse:
    """The answer to a prescriber's bulk request on these terms."""
    return office.post(f"{PATH}?{terms}", lines, "prescriber", office.prescriber, key)


def body(answer: TestResponse) -> Any:
    """The JSON of an answer, whatever its status."""
    return answer.json


def traces(office: Office) -> dict[str, int]:
    """How many rows each table has."""
    with office.service.runtime.engine.connect() as connection:
        return {name: connection.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar_one() for name in TABLES}


def without_names(report: Any) -> Any:
    """A report, but for the identifiers of grants that it made."""
    lines = [{name: value for name, value in line.items() if name != "grant_id"} for line in report["lines"]]
    return report | {"lines": lines}


MIXED = [
    order(beneficiary=ALICE),
    order(programme="unknown"),
    order(amount_cents=8000, beneficiary=ALICE),
    "not an object",
    order(amount_cents=7000, reference="mine"),
    order(),
    order(reference="mine"),
]


@pytest.mark.parametrize("mode", ["best-effort", "all-or-nothing"])
@pytest.mark.parametrize("lines", [MIXED, [order(), order(beneficiary=ALICE)]])
def test_a_trial_tells_exactly_what_the_real_thing_then_does(office: Office, mode: str, lines: list[Any]) -> None:
    office.envelope(20_000)
    trial = send(office, lines, f"dry_run=true&mode={mode}")
    real = send(office, lines, f"mode={mode}")
    assert trial.status_code == real.status_code
    if real.status_code == 200:
        assert not any("grant_id" in line for line in body(trial)["lines"])
        assert without_names(body(trial)) == without_names(body(real))
    else:
        assert body(trial) == body(real)


def test_a_trial_leaves_nothing_at_all(office: Office) -> None:
    office.envelope(1_000_000)
    before = traces(office)
    answer = office.made(send(office, MIXED, "dry_run=true"), 200)
    assert (answer["accepted"], answer["amount_cents"]) == (4, 25_000)
    assert traces(office) == before
    assert office.engaged() == [0]
    assert office.events("cheques.issued") == []


@pytest.mark.slow
def test_a_trial_of_thousands_counts_the_money_as_the_real_thing_does(office: Office) -> None:
    office.envelope(5_000 * 1_100)
    lines = [order(beneficiary=ALICE | {"given_name": f"A{'bc'[number % 2]}"}) for number in range(1_200)]
    trial = office.made(send(office, lines, "dry_run=1"), 200)
    real = office.made(send(office, lines), 200)
    assert without_names(trial) == without_names(real)
    assert (real["accepted"], real["refused"]) == (1_100, 100)


def test_a_trial_sees_in_one_file_what_portions_see_of_each_other(office: Office) -> None:
    """Somebody is granted to in the first portion and again in the second, which is more than a person may have."""
    rule = {"per_person": {"grants": 1, "beneficiary": "optional"}}
    office.programme("once", assessment=rule)
    office.envelope(10_000_000, "once")
    lines = [order(programme="once", **({"beneficiary": ALICE} if number in {0, 600} else {})) for number in range(601)]
    trial = office.made(send(office, lines, "dry_run=true"), 200)
    real = office.made(send(office, lines), 200)
    assert without_names(trial) == without_names(real)
    assert [line["line"] for line in real["lines"] if "problem" in line] == [601]


def test_a_trial_sees_what_was_granted_before_under_the_same_key(office: Office) -> None:
    office.envelope(1_000_000)
    real = office.made(send(office, [order()]), 200)
    trial = office.made(send(office, [order()], "dry_run=true"), 200)
    assert trial["lines"] == [real["lines"][0] | {"already": True}]
    assert trial["already_imported_at"] is not None


def test_one_bad_line_keeps_all_out_and_every_bad_line_is_told(office: Office) -> None:
    office.envelope(1_000_000)
    before = traces(office)
    answer = send(office, MIXED, "mode=all-or-nothing")
    assert problem(answer) == (422, "nothing-taken")
    report = body(answer)["report"]
    assert [line["line"] for line in report["lines"]] == [2, 4, 7]
    assert (report["accepted"], report["refused"], report["amount_cents"]) == (0, 3, 0)
    assert "3 lines are refused of 7" in body(answer)["detail"]
    assert traces(office) == before
    assert office.engaged() == [0]


def test_good_lines_all_go_in_and_the_same_request_is_answered_the_same(office: Office) -> None:
    office.envelope(1_000_000)
    first = send(office, [order(), order()], "mode=all-or-nothing")
    assert office.made(first, 200)["accepted"] == 2
    assert send(office, [order(), order()], "mode=all-or-nothing").data == first.data
    assert office.engaged() == [10_000]


def test_a_file_that_was_refused_whole_goes_in_once_it_is_mended(office: Office) -> None:
    office.envelope(5_000)
    lines = [order(), order()]
    assert problem(send(office, lines, "mode=all-or-nothing")) == (422, "nothing-taken")
    office.envelope(5_000)
    assert office.made(send(office, lines, "mode=all-or-nothing"), 200)["already_imported_at"] is None


def test_how_many_lines_can_be_all_or_nothing_is_bounded(office: Office) -> None:
    lines = [order()] * (MAX_ALL_OR_NOTHING + 1)
    answer = send(office, lines, "mode=all-or-nothing")
    assert problem(answer) == (422, "too-many-lines")
    assert str(MAX_ALL_OR_NOTHING) in body(answer)["detail"]


@pytest.mark.parametrize("terms", ["dry-run=true", "dry_run=perhaps", "mode=some", "mode="])
def test_a_slip_in_the_terms_imports_nothing(office: Office, terms: str) -> None:
    office.envelope(1_000_000)
    assert problem(send(office, [order()], terms)) == (422, "invalid")
    assert office.engaged() == [0]


def test_the_same_file_of_another_prescriber_is_another_file(office: Office) -> None:
    office.envelope(1_000_000)
    lines = [order(reference="a")]
    office.made(send(office, lines), 200)
    other = office.prescriber_named("other")
    answer = office.made(office.post(PATH, lines, "prescriber", other), 200)
    assert (answer["already_imported_at"], answer["accepted"]) == (None, 1)
