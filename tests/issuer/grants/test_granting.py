"""Granting one by one: amounts, days, people, and what is refused and why."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from services.issuer.grants import granting
from services.issuer.grants.issuing import Secrets
from services.issuer.grants.requests import GrantRequest
from services.issuer.people.identities import Identity
from shared.values import cheque_code, clock
from tests.issuer.office import ALICE, Office, ids, problem

TODAY = clock.today()
TOMORROW = TODAY + timedelta(days=1)


def test_a_grant_makes_cheques_of_the_face_value_and_hands_over_their_codes(office: Office) -> None:
    office.envelope(100_000)
    grant = office.grant(amount_cents=7000)
    assert [cheque["value_cents"] for cheque in grant["cheques"]] == [1000] * 7
    codes = {cheque["code"] for cheque in grant["cheques"]}
    assert len(codes) == 7
    assert all(cheque_code.printed(cheque_code.normalise(code)) == code for code in codes)
    assert office.engaged() == [7000]
    assert office.states(grant) == ["spendable"] * 7


def test_a_grant_is_told_in_one_event_with_digests_and_rules(office: Office) -> None:
    office.programme("ici", territory=["47", "2A"], services=["atelier"], grace_days=30)
    office.envelope(100_000, "ici")
    grant = office.grant(programme="ici", granted_on="2026-01-31")
    [event] = office.events("cheques.issued")
    key = next(iter(office.service.settings.keys["CODE_DIGEST_KEY"].values()))
    digests = [cheque_code.digest(cheque_code.normalise(cheque["code"]), key).hex() for cheque in grant["cheques"]]
    assert event == {
        "grant_id": grant["grant_id"],
        "programme": {
            "code": "ici",
            "name": "Pass numérique",
            "spendable": "on_issue",
            "services": ["atelier"],
            "territory": ["47", "2A"],
        },
        "granted_on": "2026-01-31",
        "valid_until": "2027-01-31",
        "presentable_until": "2027-03-02",
        "cheques": [
            {"cheque_id": cheque_id, "digest": digest, "value_cents": 1000}
            for cheque_id, digest in zip(ids(grant), digests, strict=True)
        ],
    }


@pytest.mark.parametrize(
    ("answers", "amount", "points"),
    [
        ({"computer": "no", "forms": "never"}, 10_000, 8),
        ({"computer": "no", "forms": "alone"}, 5_000, 3),
        ({"computer": "yes", "forms": "with help"}, 5_000, 2),
        ({"computer": "yes", "forms": "alone"}, 0, 0),
    ],
)
def test_an_assessment_gives_the_amount_of_the_declared_rule(
    office: Office, answers: dict[str, str], amount: int, points: int
) -> None:
    shown = office.made(office.post("/v1/assessments", {"programme": "pass", "answers": answers}), 200)
    assert (shown["amount_cents"], shown["points"]) == (amount, points)
    office.envelope(100_000)
    answer = office.ask(answers=answers)
    if amount:
        grant = office.made(answer)
        assert (grant["amount_cents"], grant["points"], grant["reason"]) == (amount, points, shown["reason"])
    else:
        assert problem(answer) == (409, "not-eligible")
    assert office.engaged() == [amount]


def test_answers_are_not_kept(office: Office) -> None:
    office.envelope(100_000)
    rule = {
        "questions": [{"key": "sante", "label": "?", "answers": {"secret-answer": 1, "other": 0}}],
        "amounts": [{"from_points": 0, "cents": 5000}],
    }
    office.programme("autre", assessment=rule)
    office.envelope(10_000, "autre")
    office.grant(programme="autre", answers={"sante": "secret-answer"})
    assert "secret-answer" not in _everything_stored(office, "programme", "assessment_rule")


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"answers": {"computer": "no"}}, "answers"),
        ({"answers": {"computer": "maybe", "forms": "never"}}, "answers"),
        ({"answers": {"computer": "no", "forms": "never", "age": "12"}}, "answers"),
        ({"amount_cents": 4000}, "amount_cents"),
        ({"amount_cents": 5500}, "amount_cents"),
        ({"amount_cents": 0}, "amount_cents"),
        ({"amount_cents": "5000"}, "amount_cents"),
        ({"amount_cents": 1_001_000}, "amount_cents"),
        ({"reason": "  "}, "reason"),
        ({"reason": "\x00"}, "reason"),
        ({"reason": "\ud800"}, "reason"),
        ({"granted_on": TOMORROW.isoformat()}, "granted_on"),
        ({"granted_on": "yesterday"}, "granted_on"),
        ({"programme": "unknown"}, "programme"),
        ({"programme": "NOT A CODE"}, "programme"),
        ({"beneficiary": {"family_name": "X"}}, "beneficiary"),
        ({"beneficiary": ALICE | {"given_name": "--"}}, "beneficiary"),
        ({"beneficiary": ALICE | {"birth_date": "0001-01-01"}}, "beneficiary"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_order_is_refused_naming_the_field_and_leaves_nothing(
    office: Office, order: dict[str, Any], field: str
) -> None:
    office.envelope(2_000_000)
    answer = office.ask(**order)
    assert problem(answer) == (422, "invalid")
    assert answer.json is not None
    assert field in str(answer.json["errors"])
    assert office.engaged() == [0]
    assert office.events("cheques.issued") == []


def test_an_order_states_an_amount_with_a_reason_or_gives_answers_and_not_both(office: Office) -> None:
    office.envelope(100_000)
    for body in (
        {"programme": "pass"},
        {"programme": "pass", "amount_cents": 5000},
        {"programme": "pass", "reason": "?", "answers": {}},
        {"programme": "pass", "amount_cents": 5000, "reason": "?", "answers": {}},
    ):
        assert problem(office.post("/v1/grants", body, "prescriber", office.prescriber, str(body)))[0] == 422


def test_a_programme_without_a_rule_takes_stated_amounts_only(office: Office) -> None:
    office.programme("simple", assessment=None)
    office.envelope(100_000, "simple")
    assert problem(office.ask(programme="simple", answers={})) == (409, "no-assessment-rule")
    assert office.grant(programme="simple")["points"] is None


def test_a_fixed_last_day_counts_for_all_and_grace_comes_after_it(office: Office) -> None:
    office.programme("saison", validity={"until": "2026-06-30"}, grace_days=15)
    office.envelope(100_000, "saison")
    grant = office.grant(programme="saison", granted_on="2026-06-30")
    assert (grant["valid_until"], grant["presentable_until"]) == ("2026-06-30", "2026-07-15")
    answer = office.ask(programme="saison", granted_on="2026-07-01")
    assert problem(answer) == (422, "invalid")
    assert answer.json is not None
    assert answer.json["errors"] == {"granted_on": ["The programme's cheques were valid until 2026-06-30."]}


def test_a_grant_is_of_today_unless_said(office: Office) -> None:
    office.envelope(100_000)
    assert office.grant()["granted_on"] == clock.today().isoformat()


def test_a_second_grant_to_the_same_person_is_noticed_however_the_name_is_written(office: Office) -> None:
    office.envelope(100_000)
    other = office.prescriber_named("maison-france-services")
    twin = ALICE | {"given_name": "Éléonore"}
    assert office.grant(beneficiary=ALICE)["previous_grants"] == 0
    assert office.grant(beneficiary=twin)["previous_grants"] == 0
    same = {"family_name": " ZEPHYRINE   DUPONT", "given_name": "alienor", "birth_date": ALICE["birth_date"]}
    assert office.grant(beneficiary=same, scope=other)["previous_grants"] == 1
    assert office.grant(beneficiary=ALICE)["previous_grants"] == 2
    assert office.grant()["previous_grants"] == 0


def test_an_identity_is_stored_sealed_and_appears_nowhere_else(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.envelope(100_000)
    caplog.set_level("DEBUG")
    marked = {"family_name": "Marquedentifiable", "given_name": "Prenomidentifiable", "birth_date": "1931-12-07"}
    office.grant(beneficiary=marked)
    office.ask(beneficiary=marked | {"birth_date": "not a day"})
    office.ask(beneficiary=marked, amount_cents=1)
    stored, logged = _everything_stored(office), _everything_logged(caplog)
    for part in marked.values():
        assert part not in stored
        assert part not in logged
        assert part.encode().hex() not in stored


def test_codes_are_stored_sealed_and_appear_nowhere_else(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.envelope(100_000)
    caplog.set_level("DEBUG")
    grant = office.grant(key="again")
    assert office.grant(key="again") == grant
    path = f"/v1/grants/{grant['grant_id']}/codes"
    assert office.made(office.get(path, "prescriber", office.prescriber), 200)["cheques"] == grant["cheques"]
    codes = office.made(
        office.post("/v1/codes", {"cheque_ids": ids(grant)}, "service", subject="operator_bridge"), 200
    )["codes"]
    assert codes == [{"cheque_id": cheque["cheque_id"], "code": cheque["code"]} for cheque in grant["cheques"]]
    stored, logged = _everything_stored(office), _everything_logged(caplog)
    for code in (cheque["code"] for cheque in grant["cheques"]):
        for form in (code, cheque_code.normalise(code)):
            assert form not in stored
            assert form not in logged
            assert form.encode().hex() not in stored


def test_what_holds_secrets_does_not_show_them(office: Office) -> None:
    office.envelope(100_000)
    secrets = Secrets.of(office.service.settings.keys)
    person = Identity("Caché", "Caché", clock.today())
    request = GrantRequest(office.prescriber, "pass", amount_cents=5000, reason="?", beneficiary=person)
    with office.service.runtime.transaction() as session:
        granted = granting.grant(session, secrets, request)
    shown = repr(granted) + repr(request)
    assert "Caché" not in shown
    assert not any(cheque.code in shown for cheque in granted.cheques)


def test_a_prescriber_sees_its_own_grants_only(office: Office) -> None:
    office.envelope(100_000)
    other = office.prescriber_named("other")
    mine, theirs = office.grant(), office.grant(scope=other)
    shown = office.made(office.get("/v1/grants", "prescriber", office.prescriber), 200)
    assert [grant["grant_id"] for grant in shown["items"]] == [mine["grant_id"]]
    for path in ("", "/codes"):
        answer = office.get(f"/v1/grants/{theirs['grant_id']}{path}", "prescriber", office.prescriber)
        assert problem(answer) == (404, "not-found")
    everything = office.made(office.get("/v1/grants", "finance"), 200)["items"]
    assert [grant["grant_id"] for grant in everything] == [mine["grant_id"], theirs["grant_id"]]
    assert all("cheques" not in grant and "beneficiary" not in grant for grant in everything)


def test_a_prescriber_that_is_not_registered_grants_nothing(office: Office) -> None:
    office.envelope(100_000)
    assert problem(office.ask(scope=uuid4())) == (403, "unknown-prescriber")


def test_the_same_request_again_gets_the_same_answer_and_engages_once(office: Office) -> None:
    office.envelope(100_000)
    first = office.ask(key="one")
    assert office.ask(key="one").data == first.data
    assert office.engaged() == [5000]
    assert problem(office.ask(key="one", amount_cents=6000)) == (422, "idempotency-key-reused")
    order = {"programme": "pass", "amount_cents": 5000, "reason": "?"}
    assert problem(office.post("/v1/grants", order, "prescriber", office.prescriber)) == (
        400,
        "idempotency-key-missing",
    )


def test_one_reference_is_one_grant(office: Office) -> None:
    office.envelope(100_000)
    first = office.grant(reference="dossier 12")
    again = office.grant(reference="dossier 12")
    assert again == first | {"already": True}
    assert office.engaged() == [5000]
    assert problem(office.ask(reference="dossier 12", amount_cents=6000)) == (409, "reference-reused")
    other = office.prescriber_named("other")
    assert office.grant(reference="dossier 12", scope=other)["already"] is False


def _everything_logged(caplog: pytest.LogCaptureFixture) -> str:
    logged = "\n".join(f"{record.msg} {record.args}" for record in caplog.records)
    assert "'route': '/v1/grants'" in logged
    return logged


def _everything_stored(office: Office, *but: str) -> str:
    """Every row of every table as text, but for these tables."""
    with office.service.runtime.transaction() as session:
        tables = session.scalars(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'issuer'")).all()
        return "\n".join(
            row
            for table in tables
            if table not in but
            for row in session.scalars(sa.text(f'SELECT "{table}"::text FROM "{table}"'))
        )
