"""Who a grant is for is kept so many months after the last contact, by programme, and not a day longer."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from services.issuer import tasks
from services.issuer.privacy import erasure as erasing
from services.issuer.privacy import retention
from shared.values import clock
from shared.values.ids import new_id
from tests.issuer.office import ALICE, RULE, Office, ids, problem, redeemed, reversed_, told
from tests.issuer.privacy.test_erasure import BOB, figures
from tests.issuer.privacy.test_personal_data import find

TODAY = clock.today()
IN_TWO_YEARS = clock.add_months(TODAY, 24)


@pytest.fixture
def desk(office: Office) -> Office:
    """An office with money."""
    office.envelope(1_000_000)
    return office


def run(office: Office, today: date) -> tuple[int, int]:
    """A run as of a day: how many identities it dropped, and how many grants it took them off."""
    done = retention.run(office.service.runtime, "test", today)
    assert done.finished
    return done.people, done.grants


def known(office: Office) -> int:
    found: int = office.value("SELECT count(*) FROM beneficiary")
    return found


def spent_on(office: Office, grant: Mapping[str, Any], day: date) -> None:
    """Moves the redemptions of a grant's cheques to a day."""
    with office.service.runtime.transaction() as session:
        of_grant = "cheque_id = ANY(CAST(:ids AS uuid[]))"
        session.execute(
            sa.text(f"UPDATE redemption SET redeemed_on = :day WHERE {of_grant}"), {"day": day, "ids": ids(grant)}
        )


def test_a_person_is_kept_for_two_years_after_the_last_grant(desk: Office) -> None:
    desk.grant(beneficiary=ALICE, granted_on="2026-01-01")
    assert run(desk, IN_TWO_YEARS - timedelta(days=1)) == (0, 0)
    assert run(desk, IN_TWO_YEARS) == (1, 1)
    assert known(desk) == 0
    assert run(desk, IN_TWO_YEARS) == (0, 0)


def test_a_cheque_that_was_spent_is_a_contact_and_so_is_one_taken_back(desk: Office) -> None:
    spent, back = desk.grant(beneficiary=ALICE), desk.grant(beneficiary=BOB)
    redemption = new_id()
    desk.tell(redeemed(ids(spent)[:1]), redeemed(ids(back)[:1], [redemption]))
    later = TODAY + timedelta(days=100)
    spent_on(desk, spent, later)
    desk.tell(reversed_(ids(back)[0], redemption))
    with desk.service.runtime.transaction() as session:
        session.execute(
            sa.text("UPDATE redemption SET reversed_on = :day WHERE reversed_on IS NOT NULL"), {"day": later}
        )
    assert run(desk, IN_TWO_YEARS + timedelta(days=99)) == (0, 0)
    assert run(desk, clock.add_months(later, 24)) == (2, 2)


def test_each_programme_says_how_long_and_the_identity_goes_with_the_last_of_them(desk: Office) -> None:
    desk.programme("short", retention_months=6)
    desk.envelope(1_000_000, "short")
    long, short = desk.grant(beneficiary=ALICE), desk.grant(beneficiary=ALICE, programme="short", reason="Hers.")
    assert run(desk, clock.add_months(TODAY, 7)) == (0, 1)
    [kept] = desk.made(desk.get(f"/v1/people/{find(desk)}"), 200)["grants"]
    assert kept["grant_id"] == long["grant_id"]
    shown = desk.made(desk.get(f"/v1/grants/{short['grant_id']}"), 200)
    assert shown["reason"] == erasing.ERASED
    assert run(desk, IN_TWO_YEARS + timedelta(days=3)) == (1, 1)


def test_how_long_can_be_changed_and_counts_for_grants_already_made(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    change = {"retention_months": 3}
    path = "/v1/programmes/pass/retention"
    client, headers = desk.service.app.test_client(), desk.service.headers("admin")
    assert client.put(path, json=change, headers=headers).get_json() == change
    assert client.put(path, json={"retention_months": 0}, headers=headers).status_code == 422
    assert client.put("/v1/programmes/none/retention", json=change, headers=headers).status_code == 404
    assert desk.made(desk.get("/v1/programmes/pass"), 200)["retention_months"] == 3
    [grant] = desk.made(desk.get(f"/v1/people/{find(desk)}"), 200)["grants"]
    assert grant["kept_until"] == clock.add_months(TODAY, 3).isoformat()
    assert run(desk, clock.add_months(TODAY, 4)) == (1, 1)


def test_a_new_grant_of_the_programme_keeps_its_older_ones(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    with desk.service.runtime.transaction() as session:
        session.execute(sa.text("UPDATE cheque_grant SET created_at = created_at - interval '3 years'"))
    desk.grant(beneficiary=ALICE)
    assert run(desk, TODAY) == (0, 0)
    assert known(desk) == 1


def aged(office: Office) -> None:
    """Makes all grants, and all contacts, three years older."""
    with office.service.runtime.transaction() as session:
        session.execute(sa.text("UPDATE cheque_grant SET created_at = created_at - interval '3 years'"))
        session.execute(sa.text("UPDATE redemption SET redeemed_on = redeemed_on - 1100"))


def test_a_dry_run_says_who_is_due_in_numbers_and_does_nothing(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    desk.grant(beneficiary=ALICE)
    aged(desk)
    desk.grant(beneficiary=BOB)
    until = clock.add_months(TODAY, -24).isoformat()
    due = [{"programme": "pass", "last_contact_until": until, "people": 1, "grants": 2}]
    tried = desk.made(desk.post("/v1/retention/runs?dry_run=true", None), 200)
    assert tried == {
        "dry_run": True, "due": due, "erasure_id": None, "people": 0, "grants": 0, "finished": False,
    }  # fmt: skip
    assert known(desk) == 2
    done = desk.made(desk.post("/v1/retention/runs", None), 200)
    assert (done["due"], done["people"], done["grants"], done["finished"]) == (due, 1, 2, True)
    again = desk.made(desk.post("/v1/retention/runs", None), 200)
    assert (again["due"], again["people"], again["erasure_id"]) == ([], 0, None)
    [erasure] = desk.made(desk.get("/v1/erasures"), 200)["items"]
    assert (erasure["erasure_id"], erasure["ground"], erasure["people"], erasure["grants"]) == (
        done["erasure_id"], "retention", 1, 2,
    )  # fmt: skip


def test_a_slip_in_the_name_of_the_dry_run_forgets_nobody(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    aged(desk)
    assert problem(desk.post("/v1/retention/runs?dryrun=true", None)) == (422, "invalid")
    assert known(desk) == 1


def test_the_clock_does_it(desk: Office) -> None:
    entry = tasks.BEAT["forget people"]
    assert entry["task"] == tasks.forget_people.name
    assert entry["schedule"] <= 86_400


@pytest.mark.slow
def test_hundreds_are_forgotten_in_portions_and_a_run_cut_short_is_made_good(desk: Office) -> None:
    desk.envelope(10_000_000)
    line = {"programme": "pass", "amount_cents": 5000, "reason": "x"}
    lines = [line | {"beneficiary": ALICE | {"family_name": f"Nom {word(n)}"}} for n in range(1_100)]
    answer = desk.post("/v1/grants/bulk", lines, "prescriber", desk.prescriber, "bulk")
    assert desk.made(answer, 200)["accepted"] == 1_100
    aged(desk)
    cut = retention.run(desk.service.runtime, "test", seconds=0)
    assert (cut.people, cut.finished) == (500, False)
    assert run(desk, TODAY) == (600, 600)
    erasures = desk.made(desk.get("/v1/erasures"), 200)["items"]
    assert [erasure["people"] for erasure in erasures] == [500, 600]


def word(number: int) -> str:
    """A word for a number: names have letters."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def test_who_is_being_granted_something_is_left_for_the_next_run(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    desk.grant(beneficiary=BOB)
    aged(desk)
    with desk.service.runtime.transaction() as session:
        query = sa.text("SELECT 1 FROM beneficiary WHERE id = :id FOR UPDATE")
        session.execute(query, {"id": find(desk)})
        assert run(desk, TODAY) == (1, 1)
    assert problem(desk.post("/v1/people/searches", BOB)) == (404, "not-found")
    assert run(desk, TODAY) == (1, 1)


def test_retention_changes_no_balance_and_no_report_by_a_byte(desk: Office) -> None:
    desk.made(desk.post("/v1/lots", {"code": "may", "name": "May", "programme": "pass"}))
    desk.programme("limited", assessment=RULE)
    desk.envelope(1_000_000, "limited")
    grant = desk.grant(beneficiary=ALICE, target_public="seniors", lot="may", granted_on="2026-03-01")
    desk.grant(beneficiary=BOB, programme="limited", answers={"computer": "no", "forms": "never"})
    desk.tell(redeemed(ids(grant)[:2]))
    aged(desk)
    before = figures(desk)
    assert run(desk, TODAY) == (2, 2)
    assert figures(desk) == before


def test_forgotten_people_count_for_nobodys_limit(desk: Office) -> None:
    rule = RULE | {"per_person": {"ceiling_cents": 5000}}
    desk.programme("limited", assessment=rule)
    desk.envelope(1_000_000, "limited")
    order: dict[str, Any] = {"programme": "limited", "beneficiary": ALICE}
    desk.grant(**order)
    refused = desk.ask(**order)
    assert told(refused)["granted_cents"] == 5000
    aged(desk)
    assert run(desk, TODAY) == (1, 1)
    assert desk.grant(**order)["previous_grants"] == 0
