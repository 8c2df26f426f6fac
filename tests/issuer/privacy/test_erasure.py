"""Forgetting a person: who they are goes everywhere, and not one figure changes."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from services.issuer.grants import granting
from services.issuer.grants.issuing import Secrets
from services.issuer.grants.requests import GrantRequest
from services.issuer.people.identities import Identity
from services.issuer.privacy import erasure as erasing
from services.issuer.privacy import stored_answers
from shared.values import clock
from shared.values.ids import new_id
from tests.issuer.office import ALICE, RULE, Office, expired, ids, paid, problem, redeemed
from tests.issuer.privacy.test_personal_data import find

YESTERDAY = clock.today() - timedelta(days=1)
BOB = {"family_name": "Zyxwcourt", "given_name": "Bob", "birth_date": "1950-01-01"}


@pytest.fixture
def desk(office: Office) -> Office:
    """An office with money."""
    office.envelope(1_000_000)
    return office


def erase(office: Office, person: str, role: str = "admin", scope: UUID | None = None) -> Any:
    return office.made(office.post(f"/v1/people/{person}/erasure", None, role, scope), 200)


def identity(person: Mapping[str, str]) -> Identity:
    return Identity(person["family_name"], person["given_name"], date.fromisoformat(person["birth_date"]))


def rows(office: Office, query: str) -> Sequence[Any]:
    with office.service.runtime.transaction() as session:
        return [tuple(row) for row in session.execute(sa.text(query))]


def everything(office: Office) -> str:
    """All that the issuer has stored, as text, but who did what, which names the row of a person and not the person."""
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'issuer' AND tablename <> 'audit_entry'"
    tables = rows(office, query)
    return "\n".join(str(row) for (table,) in tables for row in rows(office, f'SELECT t::text FROM "{table}" AS t'))


def test_who_is_forgotten_is_not_found_any_more(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    person = find(desk)
    done = erase(desk, person)
    assert (done["grants"], done["spendable_number"], done["spendable_cents"]) == (1, 5, 5000)
    assert problem(desk.post("/v1/people/searches", ALICE)) == (404, "not-found")
    assert problem(desk.get(f"/v1/people/{person}")) == (404, "not-found")
    assert problem(desk.post(f"/v1/people/{person}/erasure", None)) == (404, "not-found")
    assert desk.value("SELECT count(*) FROM beneficiary") == 0


def test_what_was_written_of_the_person_goes_with_them_and_the_rules_words_stay(desk: Office) -> None:
    rule = RULE | {"per_person": {"ceiling_cents": 5000, "exceeding": {"roles": ["prescriber"]}}}
    desk.programme("limited", assessment=rule)
    desk.envelope(1_000_000, "limited")
    common = {"programme": "limited", "beneficiary": ALICE}
    stated = desk.grant(**common, amount_cents=5000, reason="Aliénor lost her job.", reference="alienor-1")
    assessed = desk.grant(
        **common, answers={"computer": "no", "forms": "alone"}, exception_reason="Aliénor moved.", reference="alienor-2"
    )
    asked = {"cheque_ids": ids(stated)[:1], "reason": "Alienor does not want it."}
    cancellation = desk.made(desk.post("/v1/cancellations", asked), 202)["cancellation_id"]
    erase(desk, find(desk))
    first, second = (desk.made(desk.get(f"/v1/grants/{each['grant_id']}"), 200) for each in (stated, assessed))
    assert (first["reason"], first["exception_reason"], first["amount_cents"]) == (erasing.ERASED, None, 5000)
    assert (second["reason"], second["exception_reason"]) == (assessed["reason"], erasing.ERASED)
    assert all(grant["reference"].startswith("erased:") for grant in (first, second))
    assert desk.made(desk.get(f"/v1/cancellations/{cancellation}"), 200)["reason"] == erasing.ERASED
    exceptional = desk.made(desk.get("/v1/grants?exceptional=true"), 200)["items"]
    assert [grant["grant_id"] for grant in exceptional] == [assessed["grant_id"]]


def test_the_reason_of_a_cancellation_stays_while_it_is_of_others_cheques_too(desk: Office) -> None:
    one, two = desk.grant(beneficiary=ALICE), desk.grant(beneficiary=BOB)
    asked = {"cheque_ids": [ids(one)[0], ids(two)[0]], "reason": "Misprinted."}
    path = f"/v1/cancellations/{desk.made(desk.post('/v1/cancellations', asked), 202)['cancellation_id']}"
    erase(desk, find(desk))
    assert desk.made(desk.get(path), 200)["reason"] == "Misprinted."
    erase(desk, find(desk, BOB))
    assert desk.made(desk.get(path), 200)["reason"] == erasing.ERASED


def test_an_order_of_somebody_forgotten_sent_again_is_not_granted_again(desk: Office) -> None:
    order: dict[str, Any] = {"beneficiary": ALICE, "reference": "dupont"}
    grant = desk.grant(**order)
    line = {"programme": "pass", "amount_cents": 5000, "reason": "x", **order}
    erase(desk, find(desk))
    again = desk.grant(**order)
    assert (again["already"], again["grant_id"]) == (True, grant["grant_id"])
    bulk = desk.made(desk.post("/v1/grants/bulk", [line], "prescriber", desk.prescriber, "bulk"), 200)
    assert bulk["lines"][0]["already"]
    assert desk.value("SELECT count(*) FROM cheque_grant") == 1
    assert desk.value("SELECT count(*) FROM beneficiary") == 0


def test_a_file_of_people_forgotten_sent_again_is_not_granted_again(desk: Office) -> None:
    line = {"programme": "pass", "amount_cents": 5000, "reason": "x"}
    lines = [line | {"beneficiary": ALICE}, line | {"beneficiary": BOB}]

    def send() -> list[bool]:
        with desk.service.runtime.transaction() as session:  # as if the kept answer had gone
            session.execute(sa.text("DELETE FROM idempotent_answer"))
        answer = desk.post("/v1/grants/bulk", lines, "prescriber", desk.prescriber, "one file")
        return [line["already"] for line in desk.made(answer, 200)["lines"]]

    assert send() == [False, False]
    erase(desk, find(desk))
    assert send() == [True, True]


def test_the_kept_answer_goes_and_its_key_still_keeps_from_granting_twice(desk: Office) -> None:
    order: dict[str, Any] = {"beneficiary": ALICE, "reason": "For Aliénor.", "key": "k-alice"}
    desk.grant(**order)
    desk.grant(beneficiary=BOB, key="k-bob")
    erase(desk, find(desk))
    assert problem(desk.ask(**order)) == (409, "idempotency-answer-gone")
    assert desk.made(desk.ask(beneficiary=BOB, key="k-bob"))["already"] is False
    query = "SELECT octet_length(body) > 0, octet_length(request_digest) FROM idempotent_answer WHERE key LIKE 'k-%'"
    assert sorted(rows(desk, query)) == [(False, 0), (True, 32)]


def test_answers_are_kept_for_thirty_days(desk: Office) -> None:
    desk.grant(key="old")
    runtime = desk.service.runtime
    assert stored_answers.empty_old(runtime, clock.now() + timedelta(days=29)) == 0
    assert stored_answers.empty_old(runtime, clock.now() + timedelta(days=31)) > 0
    assert stored_answers.empty_old(runtime, clock.now() + timedelta(days=31)) == 0
    assert problem(desk.ask(key="old")) == (409, "idempotency-answer-gone")
    assert desk.value("SELECT count(*) FROM cheque_grant") == 1


def test_a_prescriber_cannot_forget_a_person_of_others(desk: Office) -> None:
    other = desk.prescriber_named("other")
    desk.grant(beneficiary=ALICE)
    person = find(desk)
    desk.grant(beneficiary=ALICE, scope=other)
    answer = desk.post(f"/v1/people/{person}/erasure", None, "prescriber", other)
    assert problem(answer) == (409, "person-of-others")
    assert erase(desk, person)["grants"] == 2


def test_a_prescriber_forgets_a_person_of_its_own(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    assert erase(desk, find(desk), "prescriber", desk.prescriber)["grants"] == 1


def test_it_is_kept_that_somebody_was_forgotten_and_not_who(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    desk.grant(beneficiary=ALICE)
    person = find(desk)
    done = erase(desk, person)
    [erasure] = desk.made(desk.get("/v1/erasures"), 200)["items"]
    assert erasure["erasure_id"] == done["erasure_id"]
    assert (erasure["ground"], erasure["asked_by"], erasure["people"], erasure["grants"]) == (
        "request", "admin:-:test", 1, 2,
    )  # fmt: skip
    assert person not in everything(desk)


def test_cheques_of_somebody_forgotten_are_spent_replaced_and_printed_as_before(desk: Office) -> None:
    grant = desk.grant(beneficiary=ALICE)
    erase(desk, find(desk))
    assert desk.states(grant) == ["spendable"] * 5
    desk.tell(redeemed(ids(grant)[:1]))
    assert desk.states(grant) == ["redeemed"] + ["spendable"] * 4
    codes = desk.made(desk.get(f"/v1/grants/{grant['grant_id']}/codes", "prescriber", desk.prescriber), 200)
    assert {cheque["code"] for cheque in codes["cheques"]} == {cheque["code"] for cheque in grant["cheques"]}
    body = {"cheque_ids": ids(grant)[1:2], "reason": "Lost.", "cause": "lost"}
    assert desk.post("/v1/replacements", body, "prescriber", desk.prescriber).status_code == 202


def test_a_person_who_comes_back_is_new(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    old = find(desk)
    erase(desk, old)
    assert desk.grant(beneficiary=ALICE)["previous_grants"] == 0
    assert find(desk) != old


def test_the_others_are_left_alone(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    desk.grant(beneficiary=BOB, reason="Bob's own.", reference="b-1")
    before = desk.made(desk.get(f"/v1/people/{find(desk, BOB)}"), 200)
    erase(desk, find(desk))
    after = desk.made(desk.get(f"/v1/people/{find(desk, BOB)}"), 200)
    assert after | {"told_at": None} == before | {"told_at": None}


def test_nothing_that_names_the_person_is_left_in_any_table(desk: Office) -> None:
    order: dict[str, Any] = {"reason": "Zéphyrine-Dùpont asked.", "reference": "ZEPHYRINE-DUPONT/1"}
    desk.grant(beneficiary=ALICE, **order)
    digest = desk.value("SELECT encode(digest, 'hex') FROM beneficiary")
    sealed = desk.value("SELECT encode(sealed_identity, 'hex') FROM beneficiary")
    assert "ZEPHYRINE" in everything(desk)
    erase(desk, find(desk))
    left = everything(desk)
    assert all(trace.casefold() not in left.casefold() for trace in ("phyrine", digest, sealed, "dupont", "dùpont"))


FIGURES = (
    "/v1/balances",
    "/v1/envelopes",
    "/v1/conventions",
    "/v1/reports/conventions",
    "/v1/reports/conventions/summary.csv",
    "/v1/reports/conventions/lines.csv",
    "/v1/envelopes/export.csv",
    "/v1/cheques/export.csv",
    "/v1/expiring?days=366",
    "/v1/expiring/grants.csv?days=366",
    "/v1/lots",
    "/v1/lots/may/statement",
    "/v1/notices",
)


def figures(office: Office) -> dict[str, bytes]:
    """Every balance and report, of today and of past days, as its bytes."""
    dated = [f"{path}?as_of={day}" for path in FIGURES if "reports" in path for day in (YESTERDAY, "2026-03-10")]
    got = {path: office.get(path) for path in (*FIGURES, *dated)}
    assert {path: answer.status_code for path, answer in got.items() if answer.status_code != 200} == {}
    return {path: answer.data for path, answer in got.items()}


def test_forgetting_changes_no_balance_and_no_report_by_a_byte(desk: Office) -> None:
    desk.made(desk.post("/v1/lots", {"code": "may", "name": "May", "programme": "pass"}))
    grant = desk.grant(beneficiary=ALICE, target_public="seniors", lot="may", granted_on="2026-03-01")
    desk.grant(beneficiary=ALICE, answers={"computer": "no", "forms": "never"})
    desk.grant(beneficiary=BOB)
    redemptions = [new_id(), new_id()]
    desk.tell(redeemed(ids(grant)[:2], redemptions), expired(ids(grant)[2:3]), paid(redemptions[:1]))
    asked = {"cheque_ids": ids(grant)[3:4], "reason": "Unwanted."}
    desk.made(desk.post("/v1/cancellations", asked), 202)
    before = figures(desk)
    erase(desk, find(desk))
    assert figures(desk) == before
    erase(desk, find(desk, BOB))
    assert figures(desk) == before


def test_what_is_being_granted_meanwhile_is_forgotten_too(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    person, runtime = find(desk), desk.service.runtime
    request = GrantRequest(desk.prescriber, "pass", amount_cents=5000, reason="x", beneficiary=identity(ALICE))
    with ThreadPoolExecutor(1) as threads:
        with runtime.transaction() as session:
            granting.grant(session, Secrets.of(desk.service.settings.keys), request)
            erasing_now = threads.submit(erase, desk, person)
            wait([erasing_now], timeout=0.5)
            assert not erasing_now.done()
        assert erasing_now.result()["grants"] == 2
    assert desk.value("SELECT count(*) FROM beneficiary") == 0


def test_who_is_granted_something_while_being_forgotten_is_new(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    person, settings = find(desk), desk.service.settings
    with ThreadPoolExecutor(1) as threads:
        with desk.service.runtime.transaction() as session:
            erasing.erase(session, settings.keys, UUID(person), "test", None)
            granted = threads.submit(desk.grant, beneficiary=ALICE)
            wait([granted], timeout=0.5)
            assert not granted.done()
        assert granted.result()["previous_grants"] == 0
    assert find(desk) != person


def test_two_who_forget_the_same_person_do_it_once(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    path = f"/v1/people/{find(desk)}/erasure"
    with ThreadPoolExecutor(4) as threads:
        answers_of_all = list(threads.map(lambda _: desk.post(path, None).status_code, range(4)))
    assert sorted(answers_of_all) == [200, 404, 404, 404]
    assert len(desk.made(desk.get("/v1/erasures"), 200)["items"]) == 1
