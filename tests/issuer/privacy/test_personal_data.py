"""What a person may ask: found by who they are and never listed, told what is held, whole and readable."""

import io
import json
import logging
from typing import Any
from uuid import UUID, uuid4

import pytest
from pypdf import PdfReader
from werkzeug.test import TestResponse

from tests.issuer.office import ALICE, RULE, Office, ids, problem, redeemed, told, wrong_fields

WRITTEN_OTHERWISE = {"family_name": "zephyrine dupont", "given_name": "ALIENOR", "birth_date": ALICE["birth_date"]}


@pytest.fixture
def desk(office: Office) -> Office:
    """An office with money."""
    office.envelope(1_000_000)
    return office


def find(office: Office, person: Any = ALICE, role: str = "admin", scope: UUID | None = None) -> str:
    found: str = office.made(office.post("/v1/people/searches", person, role, scope), 200)["person_id"]
    return found


def test_a_person_is_found_by_who_they_are_however_it_is_written(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    assert find(desk) == find(desk, WRITTEN_OTHERWISE)
    assert problem(desk.post("/v1/people/searches", ALICE | {"birth_date": "1961-03-10"})) == (404, "not-found")


def test_people_are_never_listed(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    assert desk.get("/v1/people").status_code == 404
    assert desk.get("/v1/people/searches").status_code == 405


def test_a_prescriber_finds_those_whom_it_granted_something_and_nobody_else(desk: Office) -> None:
    other = desk.prescriber_named("other")
    desk.grant(beneficiary=ALICE)
    person = find(desk, scope=desk.prescriber, role="prescriber")
    unknown = desk.post("/v1/people/searches", ALICE | {"given_name": "Nobody"}, "prescriber", other)
    foreign = desk.post("/v1/people/searches", ALICE, "prescriber", other)
    assert told(foreign) == told(unknown)
    for path in ("", "/export.json", "/letter.pdf"):
        assert problem(desk.get(f"/v1/people/{person}{path}", "prescriber", other)) == (404, "not-found")
    assert problem(desk.post(f"/v1/people/{person}/erasure", None, "prescriber", other)) == (404, "not-found")


def test_all_that_is_held_is_shown_to_the_departement(desk: Office) -> None:
    other = desk.prescriber_named("other")
    grant = desk.grant(beneficiary=ALICE, reference="dossier 12", target_public="seniors")
    desk.grant(beneficiary=WRITTEN_OTHERWISE, scope=other, answers={"computer": "no", "forms": "never"})
    desk.tell(redeemed(ids(grant)[:2]))
    body = {"cheque_ids": ids(grant)[2:3], "reason": "Booklet left on a bus.", "cause": "lost"}
    desk.made(desk.post("/v1/replacements", body, "prescriber", desk.prescriber), 202)
    held = desk.made(desk.get(f"/v1/people/{find(desk)}"), 200)
    assert held["identity"] == ALICE
    first, second = held["grants"]
    assert (first["grant_id"], first["reference"], first["reason"]) == (
        grant["grant_id"],
        "dossier 12",
        "Stated by the desk.",
    )
    assert [cheque["state"] for cheque in first["cheques"]] == ["redeemed"] * 2 + ["blocked"] + ["spendable"] * 2
    assert [bool(cheque["redeemed_on"]) for cheque in first["cheques"]] == [True, True, False, False, False]
    assert (second["points"], second["previous_grants"], second["prescriber_id"]) == (8, 1, str(other))
    [request] = held["requests"]
    assert (request["cause"], request["reason"]) == ("lost", "Booklet left on a bus.")
    assert held["grants_of_others"] == 0


def test_a_prescriber_is_shown_its_own_grants_and_how_many_others_there_are(desk: Office) -> None:
    other = desk.prescriber_named("other")
    mine = desk.grant(beneficiary=ALICE)
    desk.grant(beneficiary=ALICE, scope=other)
    person = find(desk)
    held = desk.made(desk.get(f"/v1/people/{person}", "prescriber", desk.prescriber), 200)
    assert [grant["grant_id"] for grant in held["grants"]] == [mine["grant_id"]]
    assert held["grants_of_others"] == 1
    assert "le Département peut vous remettre" in letter(desk, person, "prescriber", desk.prescriber)


def test_the_export_is_the_same_as_a_file_and_has_no_code(desk: Office) -> None:
    grant = desk.grant(beneficiary=ALICE)
    person = find(desk)
    shown, exported = desk.get(f"/v1/people/{person}"), desk.get(f"/v1/people/{person}/export.json")
    assert exported.headers["Content-Disposition"] == 'attachment; filename="donnees-personnelles.json"'
    documents = [json.loads(answer.text) | {"told_at": None} for answer in (shown, exported)]
    assert documents[0] == documents[1]
    assert all(cheque["code"] not in exported.text for cheque in grant["cheques"])


def letter(office: Office, person: str, role: str = "admin", scope: UUID | None = None) -> str:
    answer = office.get(f"/v1/people/{person}/letter.pdf", role, scope)
    assert (answer.status_code, answer.content_type) == (200, "application/pdf")
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.data)).pages)
    return " ".join(text.replace("\u00ad\n", "").replace("\u00ad", "-").replace("’", "'").split())


def test_the_letter_says_it_in_french_with_the_persons_rights(desk: Office) -> None:
    grant = desk.grant(beneficiary=ALICE, granted_on="2026-01-01")
    desk.grant(beneficiary=ALICE, answers={"computer": "no", "forms": "never"})
    desk.tell(redeemed(ids(grant)[:2]))
    text = letter(desk, find(desk))
    for said in (
        "Zéphyrine-Dùpont", "Aliénor", "9 mars 1961", "Aide du 1er janvier 2026", "50,00", "3 utilisables, 2 utilisés",
        "Stated by the desk.", "évaluation de votre situation", "CNIL", "l'ensemble de ces données",
    ):  # fmt: skip
        assert said in text, said
    assert "Assessed" not in text
    assert all(cheque["code"] not in text for cheque in grant["cheques"])


def test_the_letter_says_each_reason_in_the_words_of_whoever_wrote_it(desk: Office) -> None:
    """What a prescriber or a programme wrote stands there, however it begins; what the product writes does not."""
    on_means = {"when": {"computer": ["no"]}, "cents": 5000, "reason": "Assessed by the commission: no computer."}
    conditions = [on_means, {"cents": 10_000}]
    desk.programme("commission", assessment={"questions": RULE["questions"], "conditions": conditions})
    desk.envelope(1_000_000, "commission")
    desk.grant(beneficiary=ALICE, reason="Assessed at the town hall.")
    for computer in ("no", "yes"):
        desk.grant(beneficiary=ALICE, programme="commission", answers={"computer": computer, "forms": "alone"})
    text = letter(desk, find(desk))
    assert "Assessed at the town hall." in text
    assert "Assessed by the commission: no computer." in text
    assert text.count("évaluation de votre situation") == 2  # the third grant, and what the letter says of answers
    assert "Assessed: 100" not in text


def test_who_looks_is_recorded_and_the_name_is_not(desk: Office, caplog: pytest.LogCaptureFixture) -> None:
    desk.grant(beneficiary=ALICE)
    with caplog.at_level(logging.INFO):
        person = find(desk)
        for path in ("", "/export.json", "/letter.pdf"):
            assert desk.get(f"/v1/people/{person}{path}").status_code == 200
        desk.made(desk.post(f"/v1/people/{person}/erasure", None), 200)
    records = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    seen = [record for record in records if record.get("event") == "person_data"]
    assert [record["action"] for record in seen] == ["found", "read", "exported", "letter", "erased"]
    assert {(record["person_id"], record["caller"]) for record in seen} == {(person, "admin:-:test")}
    assert "phyrine" not in str(records)
    kept = "SELECT string_agg(coalesce(after ->> 'shown', after ->> 'did'), ' ' ORDER BY sequence) FROM audit_entry"
    assert desk.value(f"{kept} WHERE object_kind = 'beneficiary'").split() == [record["action"] for record in seen]


def test_asking_what_a_person_had_before_is_a_look_too(desk: Office, caplog: pytest.LogCaptureFixture) -> None:
    rule = RULE | {"per_person": {"ceiling_cents": 10000}}
    desk.programme("limited", assessment=rule)
    desk.envelope(1_000_000, "limited")
    body = {"programme": "limited", "amount_cents": 5000, "beneficiary": ALICE}
    with caplog.at_level(logging.INFO):
        desk.made(desk.post("/v1/assessments", body), 200)
        desk.grant(**body)
        desk.made(desk.post("/v1/assessments", body), 200)
    records = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert [record["action"] for record in records if record.get("event") == "person_data"] == ["assessed"]


@pytest.mark.parametrize(
    ("terms", "told"),
    [("dry_run=true", 2), ("mode=all-or-nothing", 2), ("dry_run=true&mode=all-or-nothing", 2), ("", 1)],
)
def test_a_file_that_asks_what_people_had_before_is_a_look_at_each(desk: Office, terms: str, told: int) -> None:
    """Else a trial with thousands of names would tell of all of them and leave nothing."""
    desk.programme("limited", assessment=RULE | {"per_person": {"ceiling_cents": 5000}})
    desk.envelope(1_000_000, "limited")
    order = {"programme": "limited", "amount_cents": 5000, "reason": "Vu.", "beneficiary": ALICE}
    other, stranger = ALICE | {"given_name": "Alain"}, ALICE | {"given_name": "Personne"}
    desk.grant(**order)
    desk.grant(beneficiary=other)
    whom = [find(desk), find(desk, other)]
    lines = [order | {"beneficiary": person} for person in (ALICE, other, stranger)]
    answer = desk.post(f"/v1/grants/bulk?{terms}", lines, "prescriber", desk.prescriber_named("curious"), "file")
    assert '"granted_cents":5000' in answer.text.replace(" ", "")
    assert shown(desk) == sorted(whom[:told])


def shown(office: Office) -> list[str]:
    """The rows of people of whom was told how they stand, and by whom that was asked."""
    query = "SELECT string_agg(object_id, ' ' ORDER BY object_id) FROM audit_entry WHERE after ->> 'shown' = 'assessed'"
    asked_by = " AND role = 'prescriber' AND action = 'POST /v1/grants/bulk'"
    return (office.value(query + asked_by) or "").split()


@pytest.mark.parametrize("role", ["finance", "operations", "structure", "service"])
def test_a_persons_data_are_for_who_granted_and_the_departement(desk: Office, role: str) -> None:
    scope = uuid4() if role == "structure" else None
    assert desk.post("/v1/people/searches", ALICE, role, scope).status_code == 403
    assert desk.get(f"/v1/people/{uuid4()}", role, scope).status_code == 403


@pytest.mark.parametrize("path", ["cancellations", "replacements", "blocks", "unblocks"])
def test_a_reason_that_other_services_read_may_not_name_the_person(desk: Office, path: str) -> None:
    grant = desk.grant(beneficiary=ALICE)
    before = desk.states(grant)
    body: dict[str, Any] = {"cheque_ids": ids(grant), "reason": "Mme ZEPHYRINE DUPONT a déménagé."}
    if path == "replacements":
        body["cause"] = "lost"
    answer = desk.post(f"/v1/{path}", body, "prescriber", desk.prescriber)
    assert problem(answer) == (422, "invalid")
    assert wrong_fields(answer) == ["reason"]
    assert desk.states(grant) == before
    kinds = ("cancellation.requested", "cheques.blocked", "cheques.unblocked")
    assert [desk.events(kind) for kind in kinds] == [[], [], []]
    nameless = desk.post(f"/v1/{path}", body | {"reason": "A déménagé."}, "prescriber", desk.prescriber)
    assert nameless.status_code < 300


def put(office: Office, path: str, body: Any, role: str = "admin", scope: UUID | None = None) -> TestResponse:
    return office.service.app.test_client().put(path, json=body, headers=office.service.headers(role, scope))


def test_a_wrong_name_is_corrected_and_the_person_stays_the_same(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    person, right = find(desk), ALICE | {"family_name": "Zéphyrin", "birth_date": "1961-09-03"}
    assert desk.made(put(desk, f"/v1/people/{person}/identity", right), 200) == right
    assert find(desk, right) == person
    assert problem(desk.post("/v1/people/searches", ALICE)) == (404, "not-found")
    assert desk.made(desk.get(f"/v1/people/{person}"), 200)["identity"] == right
    assert desk.grant(beneficiary=right)["previous_grants"] == 1


def test_nobody_is_corrected_into_somebody_else(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    other = ALICE | {"given_name": "Alain"}
    desk.grant(beneficiary=other)
    path = f"/v1/people/{find(desk)}/identity"
    assert problem(put(desk, path, other)) == (409, "person-known")
    assert put(desk, path, WRITTEN_OTHERWISE).status_code == 200
    assert desk.value("SELECT count(*) FROM beneficiary") == 2


def test_a_prescriber_corrects_people_of_its_own_alone(desk: Office) -> None:
    other = desk.prescriber_named("other")
    desk.grant(beneficiary=ALICE)
    path, right = f"/v1/people/{find(desk)}/identity", ALICE | {"given_name": "Alain"}
    assert problem(put(desk, path, right, "prescriber", other)) == (404, "not-found")
    assert put(desk, path, right, "prescriber", desk.prescriber).status_code == 200
    desk.grant(beneficiary=right, scope=other)
    assert problem(put(desk, path, ALICE, "prescriber", desk.prescriber)) == (409, "person-of-others")
