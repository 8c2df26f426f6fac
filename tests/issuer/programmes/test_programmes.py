"""Programmes: their terms, their rules, and what cannot be declared."""

from typing import Any

import pytest

from tests.issuer.office import RULE, Office, problem, wrong_fields

TERMS = {"code": "pass", "name": "Pass numérique", "validity": {"months": 12}}


def test_a_programme_is_shown_as_it_was_declared(empty_office: Office) -> None:
    declared = TERMS | {
        "face_value_cents": 2000,
        "minimum_grant_cents": 6000,
        "validity": {"until": "2027-06-30"},
        "grace_days": 15,
        "spendable": "on_registration",
        "services": ["atelier"],
        "territory": ["47", "2A"],
        "assessment": None,
        "purpose": "Les ateliers.",
        "single_cheque": True,
        "retention_months": 36,
    }
    shown = declared | {"assessment_version": None}
    assert empty_office.made(empty_office.post("/v1/programmes", declared)) == shown
    answer = empty_office.get("/v1/programmes/pass", "prescriber", empty_office.prescriber)
    assert empty_office.made(answer, 200) == shown
    assert empty_office.made(empty_office.get("/v1/programmes"), 200) == {"items": [shown], "next": None}


def test_cheques_are_of_10_euros_and_grants_of_50_at_least_unless_said(empty_office: Office) -> None:
    made = empty_office.made(empty_office.post("/v1/programmes", TERMS))
    assert (made["face_value_cents"], made["minimum_grant_cents"], made["grace_days"]) == (1000, 5000, 0)
    assert (made["spendable"], made["services"], made["territory"]) == ("on_issue", [], [])
    assert made["retention_months"] == 24


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"code": "Pass Numérique"}, "code"),
        ({"code": "pass\n"}, "code"),
        ({"name": ""}, "name"),
        ({"validity": {}}, "validity"),
        ({"validity": {"months": 12, "until": "2027-01-01"}}, "validity"),
        ({"validity": {"months": 0}}, "validity"),
        ({"validity": {"until": "9999-12-31"}}, "validity"),
        ({"face_value_cents": 0}, "face_value_cents"),
        ({"face_value_cents": 10.5}, "face_value_cents"),
        ({"face_value_cents": 10**30}, "face_value_cents"),
        ({"minimum_grant_cents": 5500}, "minimum_grant_cents"),
        ({"grace_days": -1}, "grace_days"),
        ({"spendable": "always"}, "spendable"),
        ({"territory": ["Agen"]}, "territory"),
        ({"assessment": {}}, "assessment"),
        ({"assessment": RULE | {"questions": []}}, "assessment"),
        ({"assessment": RULE | {"questions": [*RULE["questions"], RULE["questions"][0]]}}, "assessment"),
        ({"assessment": RULE | {"amounts": list(reversed(RULE["amounts"]))}}, "assessment"),
        ({"assessment": RULE | {"amounts": [{"from_points": 0, "cents": 5500}]}}, "assessment"),
        ({"assessment": RULE | {"amounts": [{"from_points": 0, "cents": 1000}]}}, "assessment"),
        ({"assessment": RULE | {"amounts": [{"from_points": 0, "cents": 2_000_000}]}}, "assessment"),
    ],
)
def test_terms_that_do_not_go_together_are_refused_naming_the_field(
    empty_office: Office, change: dict[str, Any], field: str
) -> None:
    answer = empty_office.post("/v1/programmes", TERMS | change)
    assert problem(answer) == (422, "invalid")
    assert wrong_fields(answer) == [field]


def test_a_code_is_taken_once(office: Office) -> None:
    assert problem(office.post("/v1/programmes", TERMS)) == (409, "programme-exists")


def test_there_is_no_programme_of_a_code_that_is_none(office: Office) -> None:
    for code in ("other", "NOT-A-CODE"):
        assert problem(office.get(f"/v1/programmes/{code}")) == (404, "not-found")


def test_only_an_admin_declares_programmes(office: Office) -> None:
    for role in ("finance", "operations", "service"):
        assert problem(office.post("/v1/programmes", TERMS, role)) == (403, "forbidden")
