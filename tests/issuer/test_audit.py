"""What the issuer records of people's acts, and what it never does."""

from typing import Any

import pytest
import sqlalchemy as sa

from shared.values import clock
from shared.values.ids import new_id
from tests.issuer.office import ALICE, Office, expired, ids, places

REASON = "Zéphyrine-Dùpont asked for it at the desk."


def entries(office: Office, **query: object) -> list[dict[str, Any]]:
    """What an auditor finds, oldest first."""
    headers = office.service.headers("admin", subject="auditor")
    answer = office.service.client.get("/v1/audit", query_string={"limit": 500} | query, headers=headers)
    assert answer.status_code == 200, answer.json
    found: list[dict[str, Any]] = answer.get_json()["items"]
    return found


def changes(office: Office, **query: object) -> list[tuple[Any, Any]]:
    return [(entry["before"], entry["after"]) for entry in entries(office, **query)]


def written(office: Office) -> str:
    """All that the trail holds, as text."""
    with office.service.runtime.engine.connect() as connection:
        return "\n".join(connection.exec_driver_sql("SELECT to_jsonb(audit_entry)::text FROM audit_entry").scalars())


def test_a_grant_says_who_made_it_when_and_from_where(office: Office) -> None:
    office.envelope(100_000)
    began = clock.now()
    grant = office.grant(amount_cents=7000, beneficiary=ALICE)
    [entry] = entries(office, object_id=grant["grant_id"])
    assert entry["action"] == "POST /v1/grants"
    assert (entry["role"], entry["scope"], entry["subject"]) == ("prescriber", str(office.prescriber), "test")
    assert entry["address"] == "127.0.0.1"
    assert entry["request_id"]
    assert entry["outcome"] == "done"
    assert began.isoformat() <= entry["occurred_at"].replace("Z", "+00:00") <= clock.now().isoformat()
    assert entry["object_kind"] == "grant"
    assert entry["before"] is None
    assert entry["after"]["amount_cents"] == 7000


def test_neither_codes_nor_people_nor_their_answers_nor_free_words_are_in_it(office: Office) -> None:
    office.envelope(1_000_000)
    grant = office.grant(answers={"computer": "no", "forms": "never"}, beneficiary=ALICE, target_public="seniors")
    stated = office.grant(reason=REASON, reference="Zéphyrine-1", beneficiary=ALICE)
    office.post("/v1/blocks", {"cheque_ids": ids(stated)[:1], "reason": REASON})
    office.post("/v1/cancellations", {"grant_id": grant["grant_id"], "reason": REASON})
    office.get(f"/v1/grants/{grant['grant_id']}/codes")
    person = office.post("/v1/people/searches", ALICE).get_json()["person_id"]
    office.get(f"/v1/people/{person}")
    office.post(f"/v1/people/{person}/erasure", {})
    trail = written(office)
    assert len(trail.splitlines()) > 15
    codes = [cheque["code"] for each in (grant, stated) for cheque in each["cheques"]]
    secrets = [*codes, *(code.replace("-", "") for code in codes), *ALICE.values(), "phyrine", "never", "seniors"]
    assert [secret for secret in secrets if secret in trail] == []


def test_raising_an_envelope_says_from_what_to_what(office: Office) -> None:
    envelope = office.envelope(100_000)
    office.made(office.post(f"/v1/envelopes/{envelope}/movements", {"amount_cents": 150_000, "reason": REASON}))
    opened, raised = changes(office, object_kind="envelope", object_id=envelope)
    assert opened[0] is None
    assert opened[1]["amount_cents"] == 100_000
    assert raised[0]["amount_cents"] == 100_000
    assert raised[1]["amount_cents"] == 150_000


def test_what_grants_engage_of_an_envelope_is_booked_and_not_recorded_again(office: Office) -> None:
    envelope = office.envelope(100_000)
    office.grant()
    office.grant()
    assert len(entries(office, object_id=envelope)) == 1


def test_each_cheque_that_is_blocked_and_released_says_by_whom(office: Office) -> None:
    office.envelope(100_000)
    cheques = ids(office.grant())[:2]
    office.made(office.post("/v1/blocks", {"cheque_ids": cheques, "reason": "lost"}, subject="marie"), 200)
    office.made(office.post("/v1/unblocks", {"cheque_ids": cheques, "reason": "found"}, subject="paul"), 200)
    for cheque in cheques:
        found = entries(office, object_kind="cheque", object_id=cheque)
        assert [(entry["subject"], entry["before"], entry["after"]) for entry in found] == [
            ("marie", {"blocked": False, "state": "spendable"}, {"blocked": True, "state": "blocked"}),
            ("paul", {"blocked": True, "state": "blocked"}, {"blocked": False, "state": "spendable"}),
        ]


def test_what_the_redeemer_tells_of_a_cheque_is_not_an_act(office: Office) -> None:
    office.envelope(100_000)
    cheques = ids(office.grant())
    office.tell(expired(cheques))
    assert entries(office, object_id=cheques[0]) == []


def test_a_file_leaves_an_entry_for_each_place_that_it_changed(empty_office: Office) -> None:
    empty_office.post("/v1/prescribers/imports", places("a", "b", "c"))
    assert len(entries(empty_office, object_kind="prescriber")) == 3
    empty_office.post("/v1/prescribers/imports", places("a", "b", date_maj="2026-02-02"))
    found = entries(empty_office, object_kind="prescriber")[3:]
    assert [(entry["before"], entry["after"]) for entry in found] == [
        ({"updated_on": "2026-01-15"}, {"updated_on": "2026-02-02"})
    ] * 2
    assert len(entries(empty_office, object_kind="file")) == 2


def test_a_trial_of_a_file_leaves_nothing(empty_office: Office) -> None:
    answer = empty_office.post("/v1/prescribers/imports?dry_run=true", places("a", "b"))
    assert answer.status_code == 200
    assert [entry for entry in entries(empty_office) if entry["outcome"] == "done"] == []


def test_the_same_request_again_leaves_no_second_entry(office: Office) -> None:
    office.envelope(100_000)
    grant = office.grant(key="once")
    assert office.grant(key="once") == grant
    assert len(entries(office, object_kind="grant")) == 1


def test_reading_codes_is_recorded_each_time(office: Office) -> None:
    office.envelope(100_000)
    grant_id = office.grant()["grant_id"]
    office.get(f"/v1/grants/{grant_id}/codes", "prescriber", office.prescriber)
    office.get(f"/v1/grants/{grant_id}/booklet.html")
    found = entries(office, object_kind="grant", object_id=grant_id)[1:]
    assert [(entry["action"], entry["after"]["shown"]) for entry in found] == [
        ("GET /v1/grants/<uuid:grant_id>/codes", "codes"),
        ("GET /v1/grants/<uuid:grant_id>/booklet.html", "booklet"),
    ]


def test_codes_asked_for_by_the_bridge_are_recorded_by_cheque(office: Office) -> None:
    office.envelope(100_000)
    cheques = ids(office.grant())
    headers = office.service.headers("service", subject="operator_bridge")
    office.service.client.post("/v1/codes", json={"cheque_ids": cheques}, headers=headers)
    [entry] = entries(office, role="service")
    assert sorted(entry["after"]["cheque_ids"]) == sorted(cheques)


def test_looking_for_a_person_reading_and_erasing_are_recorded(office: Office) -> None:
    office.envelope(100_000)
    grant = office.grant(beneficiary=ALICE)
    person = office.post("/v1/people/searches", ALICE, subject="marie").get_json()["person_id"]
    office.get(f"/v1/people/{person}")
    office.made(office.post(f"/v1/people/{person}/erasure", {}, subject="paul"), 200)
    found = entries(office, object_kind="beneficiary", object_id=person)
    assert {entry["action"] for entry in found} == {
        "POST /v1/people/searches",
        "GET /v1/people/<uuid:person_id>",
        "POST /v1/people/<uuid:person_id>/erasure",
    }
    assert {entry["subject"] for entry in found if entry["action"].startswith("POST")} == {"marie", "paul"}
    detached = entries(office, object_id=grant["grant_id"])[-1]
    assert detached["subject"] == "paul"
    assert detached["after"]["beneficiary_id"] == "…"
    assert [entry["after"]["people"] for entry in entries(office, object_kind="erasure")] == [1]


@pytest.mark.parametrize(
    ("role", "scope", "status", "problem"),
    [("prescriber", new_id(), 404, "not-found"), ("finance", None, 403, "forbidden")],
)
def test_what_a_known_caller_was_refused_is_recorded(
    office: Office, role: str, scope: Any, status: int, problem: str
) -> None:
    office.envelope(100_000)
    cheques = ids(office.grant())
    answer = office.post("/v1/blocks", {"cheque_ids": cheques, "reason": "x"}, role, scope, subject="mallory")
    assert answer.status_code == status
    [entry] = entries(office, outcome="refused")
    assert (entry["subject"], entry["action"]) == ("mallory", "POST /v1/blocks")
    assert entry["after"] == {"problem": problem, "status": status}


def test_who_has_no_token_and_bad_input_fill_no_table(office: Office) -> None:
    before = len(entries(office))
    assert office.service.client.post("/v1/blocks", json={}).status_code == 401
    assert office.post("/v1/blocks", {}).status_code == 422
    assert len(entries(office)) == before


def test_only_admins_read_the_trail(office: Office) -> None:
    for role in ("finance", "operations", "service"):
        assert office.get("/v1/audit", role).status_code == 403
        assert office.get("/v1/audit/export", role).status_code == 403
    assert office.get("/v1/audit", "prescriber", office.prescriber).status_code == 403


def test_a_column_that_no_migration_called_harmless_keeps_its_values(office: Office) -> None:
    with office.service.runtime.transaction() as session:
        session.execute(sa.text("UPDATE programme SET name = 'Zéphyrine', face_value_cents = 500"))
    entry = entries(office, object_kind="programme")[-1]
    assert entry["before"] == {"name": "…", "face_value_cents": 1000}
    assert entry["after"] == {"name": "…", "face_value_cents": 500}
