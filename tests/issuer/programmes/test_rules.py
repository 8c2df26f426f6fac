"""Rules as data: points, conditions, and their versions, of which a grant keeps its own."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tests.issuer.grants.test_concurrency import at_once
from tests.issuer.office import RULE, Office, problem, wrong_fields

QUESTIONS = [
    {"key": "age", "label": "Âge ?", "answers": {"under 60": 0, "60 or more": 2}},
    {"key": "income", "label": "Ressources ?", "answers": {"none": 3, "some": 1, "enough": 0}},
]
BY_CONDITIONS: dict[str, Any] = {
    "questions": QUESTIONS,
    "conditions": [
        {"when": {"income": ["enough"]}, "cents": 0, "reason": "Outside the programme."},
        {"when": {"age": ["60 or more"], "income": ["none", "some"]}, "cents": 15_000},
        {"from_points": 3, "cents": 10_000, "reason": "On means."},
        {"cents": 5_000},
    ],
}


@pytest.mark.parametrize(
    ("age", "income", "cents", "reason"),
    [
        ("60 or more", "enough", 0, "Outside the programme."),
        ("60 or more", "some", 15_000, "Assessed: 150.00 EUR."),
        ("under 60", "none", 10_000, "On means."),
        ("under 60", "some", 5_000, "Assessed: 50.00 EUR."),
    ],
)
def test_the_first_condition_that_holds_gives_the_amount(
    office: Office, age: str, income: str, cents: int, reason: str
) -> None:
    office.programme("conditions", assessment=BY_CONDITIONS)
    body = {"programme": "conditions", "answers": {"age": age, "income": income}}
    shown = office.made(office.post("/v1/assessments", body), 200)
    assert (shown["amount_cents"], shown["reason"]) == (cents, reason)
    assert shown["cheques"] == [1000] * (cents // 1000)


def test_a_rule_says_who_may_state_an_amount_instead_of_assessing(office: Office) -> None:
    office.programme("assessed", assessment=RULE | {"stating": {"roles": ["admin"]}})
    office.envelope(100_000, "assessed")
    assert problem(office.ask(programme="assessed")) == (409, "assessment-required")
    previewed = office.post(
        "/v1/assessments", {"programme": "assessed", "amount_cents": 5000}, "prescriber", office.prescriber
    )
    assert problem(previewed) == (409, "assessment-required")
    assert office.grant(programme="assessed", answers={"computer": "no", "forms": "never"})["points"] == 8
    order = {"programme": "assessed", "amount_cents": 5000, "reason": "?", "prescriber_id": str(office.prescriber)}
    assert office.made(office.post("/v1/grants", order, "admin", key="team"))["points"] is None


def test_where_no_condition_holds_nothing_is_granted(office: Office) -> None:
    rule = BY_CONDITIONS | {"conditions": BY_CONDITIONS["conditions"][1:2]}
    office.programme("conditions", assessment=rule)
    office.envelope(100_000, "conditions")
    answers = {"age": "under 60", "income": "some"}
    assert problem(office.ask(programme="conditions", answers=answers)) == (409, "not-eligible")


@pytest.mark.parametrize(
    "rule",
    [
        {"questions": QUESTIONS},
        {"stating": {"roles": ["admin"]}},
        RULE | {"stating": {"roles": []}},
        {"conditions": [{"cents": 5000}]},
        RULE | {"conditions": [{"cents": 5000}]},
        BY_CONDITIONS | {"conditions": [{"when": {"height": ["tall"]}, "cents": 5000}]},
        BY_CONDITIONS | {"conditions": [{"when": {"age": ["old"]}, "cents": 5000}]},
        BY_CONDITIONS | {"conditions": [{"when": {"age": []}, "cents": 5000}]},
        BY_CONDITIONS | {"conditions": [{"cents": 5500}]},
        {"per_person": {}},
        {"per_person": {"grants": 0}},
        {"per_person": {"ceiling_cents": 4000}},
        {"per_person": {"grants": 1, "period": {}}},
        {"per_person": {"grants": 1, "period": {"months": 12, "calendar": "year"}}},
        {"per_person": {"grants": 1, "exceeding": {"roles": ["structure"]}}},
        {"per_person": {"grants": 1, "beneficiary": "maybe"}},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(office: Office, rule: dict[str, Any]) -> None:
    for path, body in (
        ("/v1/programmes", {"code": "other", "name": "Autre", "validity": {"months": 12}, "assessment": rule}),
        ("/v1/programmes/pass/rules", {"assessment": rule, "reason": "?"}),
    ):
        answer = office.post(path, body)
        assert problem(answer) == (422, "invalid")
        assert wrong_fields(answer) == ["assessment"]
    assert office.made(office.get("/v1/programmes/pass"), 200)["assessment"] == RULE


def test_a_grant_keeps_the_version_that_it_was_made_by(office: Office) -> None:
    office.envelope(100_000)
    answers = {"computer": "no", "forms": "never"}
    before = office.grant(answers=answers)
    dearer = RULE | {"amounts": [{"from_points": 0, "cents": 20_000}]}
    declared = office.made(
        office.post("/v1/programmes/pass/rules", {"assessment": dearer, "reason": "Délibération.", "replaces": 1})
    )
    assert (declared["version"], declared["assessment"], declared["reason"]) == (2, dearer, "Délibération.")
    after = office.grant(answers=answers)
    assert [(grant["rule_version"], grant["amount_cents"]) for grant in (before, after)] == [(1, 10_000), (2, 20_000)]
    shown = office.made(office.get(f"/v1/grants/{before['grant_id']}"), 200)
    assert (shown["rule_version"], shown["amount_cents"], shown["points"]) == (1, 10_000, 8)
    programme = office.made(office.get("/v1/programmes/pass"), 200)
    assert (programme["assessment"], programme["assessment_version"]) == (dearer, 2)


def test_every_version_can_be_read_with_who_declared_it_and_why(office: Office) -> None:
    office.made(office.post("/v1/programmes/pass/rules", {"assessment": None, "reason": "Fin."}, subject="claire"))
    found = office.made(office.get("/v1/programmes/pass/rules", "finance"), 200)["items"]
    assert [(rule["version"], rule["assessment"], rule["reason"]) for rule in found] == [
        (1, RULE, None),
        (2, None, "Fin."),
    ]
    assert found[1]["declared_by"] == "admin:-:claire"
    assert office.made(office.get("/v1/programmes/pass/rules/1"), 200) == found[0]
    for path in (
        "/v1/programmes/pass/rules/3",
        f"/v1/programmes/pass/rules/{10**30}",
        "/v1/programmes/none/rules",
        "/v1/programmes/none/rules/1",
    ):
        assert problem(office.get(path)) == (404, "not-found")
    assert problem(office.ask(answers={})) == (409, "no-assessment-rule")


def test_a_rule_is_replaced_by_an_admin_who_saw_the_one_in_force(office: Office) -> None:
    body = {"assessment": RULE, "reason": "?", "replaces": 1}
    office.made(office.post("/v1/programmes/pass/rules", body))
    assert problem(office.post("/v1/programmes/pass/rules", body)) == (409, "rule-replaced")
    assert problem(office.post("/v1/programmes/pass/rules", body, "finance")) == (403, "forbidden")
    assert problem(office.post("/v1/programmes/none/rules", body)) == (404, "not-found")


def test_rules_that_are_declared_at_once_get_a_version_each(office: Office) -> None:
    body = {"assessment": RULE, "reason": "?"}
    made = at_once(4, lambda _: office.made(office.post("/v1/programmes/pass/rules", body))["version"])
    assert sorted(made) == [2, 3, 4, 5]
    assert office.made(office.get("/v1/programmes/pass"), 200)["assessment_version"] == 5


@pytest.mark.parametrize("change", ["UPDATE assessment_rule SET reason = '?'", "DELETE FROM assessment_rule"])
def test_a_version_cannot_be_rewritten(office: Office, change: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), office.service.runtime.transaction() as session:
        session.execute(sa.text(change))


def test_an_order_sent_again_after_the_rule_changed_is_the_grant_of_then(office: Office) -> None:
    office.envelope(100_000)
    order: dict[str, Any] = {"answers": {"computer": "no", "forms": "never"}, "reference": "dossier 7"}
    first = office.grant(**order)
    limited = {"per_person": {"grants": 1}}
    office.made(office.post("/v1/programmes/pass/rules", {"assessment": limited, "reason": "?"}))
    assert office.grant(**order) == first | {"already": True}
    other = {"computer": "no", "forms": "alone"}
    assert problem(office.ask(**order | {"answers": other})) == (409, "reference-reused")
    assert office.engaged() == [10_000]


def test_a_preview_leaves_nothing_behind(office: Office) -> None:
    office.envelope(100_000)
    office.made(office.post("/v1/programmes/pass/rules", {"assessment": {"per_person": {"grants": 1}}, "reason": "?"}))
    person = {"family_name": "Personne", "given_name": "Nulle", "birth_date": "1970-01-01"}
    body = {"programme": "pass", "amount_cents": 5000, "beneficiary": person}
    shown = office.made(office.post("/v1/assessments", body, "prescriber", office.prescriber), 200)
    assert shown == {
        "amount_cents": 5000,
        "points": None,
        "reason": "Stated: 50.00 EUR.",
        "rule_version": 2,
        "cheques": [1000] * 5,
        "per_person": {
            "verdict": "allowed", "detail": None, "grants": 0, "granted_cents": 0, "remaining_cents": None
        },
    }  # fmt: skip
    assert office.engaged() == [0]
    assert office.value("SELECT count(*) FROM beneficiary") == 0
    assert office.made(office.get("/v1/grants"), 200)["items"] == []
