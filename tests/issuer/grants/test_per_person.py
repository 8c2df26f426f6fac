"""What one person may have: noticed whoever grants it, refused or allowed with a reason as the programme says."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from shared.values import clock
from tests.issuer.grants.test_concurrency import at_once, wide
from tests.issuer.office import ALICE, Office, cancelled, expired, ids, problem, redeemed, wrong_fields

__all__ = ["wide"]

TODAY = clock.today()
BOB = ALICE | {"given_name": "Bob"}


def limited(office: Office, **per_person: Any) -> None:
    """Puts a limit in force for the programme `pass`, which has plenty of money."""
    office.made(
        office.post("/v1/programmes/pass/rules", {"assessment": {"per_person": per_person}, "reason": "Délibération."})
    )
    office.envelope(10_000_000)


def granted(office: Office, day: date = TODAY, **order: Any) -> Any:
    """A grant to Alice on a day."""
    return office.grant(granted_on=day.isoformat(), **({"beneficiary": ALICE} | order))


def refused(office: Office, day: date = TODAY, **order: Any) -> str:
    """Why a grant to Alice on a day is refused."""
    answer = office.ask(granted_on=day.isoformat(), **({"beneficiary": ALICE} | order))
    assert problem(answer) == (409, "person-limit-exceeded")
    assert answer.json is not None
    return str(answer.json["detail"])


def test_a_second_grant_within_the_period_is_refused_whoever_makes_it(office: Office) -> None:
    limited(office, grants=1, period={"months": 12})
    other = office.prescriber_named("other")
    granted(office)
    assert refused(office, scope=other) == (
        "The person has 1 grant of the programme in this period, and may have 1. Nobody may go beyond it."
    )
    granted(office, beneficiary=BOB, scope=other)
    assert len(office.events("cheques.issued")) == 2


def test_the_ceiling_holds_to_the_cent(office: Office) -> None:
    limited(office, ceiling_cents=12_000)
    granted(office, amount_cents=6_000)
    assert refused(office, amount_cents=7_000) == (
        "The person has 60.00 EUR of the programme in this period; 70.00 EUR more would exceed the ceiling of"
        " 120.00 EUR. Nobody may go beyond it."
    )
    granted(office, amount_cents=6_000)
    answer = office.ask(beneficiary=ALICE)
    assert answer.json is not None
    assert {name: answer.json[name] for name in ("grants", "granted_cents", "remaining_cents", "may_exceed")} == {
        "grants": 2,
        "granted_cents": 12_000,
        "remaining_cents": 0,
        "may_exceed": False,
    }


def test_a_refusal_names_nobody_and_leaves_no_trace_of_the_person(office: Office) -> None:
    limited(office, ceiling_cents=5_000)
    other = office.prescriber_named("other")
    granted(office)
    touched = office.value("SELECT last_granted_at FROM beneficiary")
    answer = office.ask(beneficiary=ALICE, scope=other)
    assert str(office.prescriber) not in answer.text
    assert office.value("SELECT last_granted_at FROM beneficiary") <= touched
    assert problem(office.ask(beneficiary=BOB, amount_cents=6_000)) == (409, "person-limit-exceeded")
    assert office.value("SELECT count(*) FROM beneficiary") == 1


def test_no_run_of_months_holds_more_than_the_limit_even_for_a_grant_dated_back(office: Office) -> None:
    limited(office, grants=1, period={"months": 12})
    start = date(2024, 3, 31)
    granted(office, start)
    refused(office, date(2025, 3, 30))
    granted(office, date(2025, 3, 31))
    refused(office, date(2024, 10, 1))
    refused(office, date(2023, 4, 1))
    granted(office, date(2023, 3, 31))


def test_a_calendar_year_begins_anew(office: Office) -> None:
    limited(office, grants=1, period={"calendar": "year"})
    granted(office, date(2024, 12, 31))
    granted(office, date(2025, 1, 1))
    refused(office, date(2025, 12, 31))


def test_without_a_period_the_limit_is_for_ever(office: Office) -> None:
    limited(office, grants=1)
    granted(office, date(2021, 1, 1))
    refused(office)


def test_cancelled_cheques_do_not_count_and_spent_or_expired_ones_do(office: Office) -> None:
    limited(office, ceiling_cents=10_000)
    first = granted(office, amount_cents=10_000)
    spent, ended, gone = ids(first)[:3], ids(first)[3:5], ids(first)[5:]
    answer = office.made(office.post("/v1/cancellations", {"cheque_ids": gone, "reason": "?"}, "admin", key="c"), 202)
    office.tell(redeemed(spent), expired(ended))
    refused(office)
    office.tell(cancelled(answer["cancellation_id"], gone))
    granted(office)
    refused(office)


def test_a_grant_that_was_cancelled_whole_is_no_grant(office: Office) -> None:
    limited(office, grants=1)
    first = granted(office)
    body = {"cheque_ids": ids(first), "reason": "?"}
    answer = office.made(office.post("/v1/cancellations", body, "admin", key="c"), 202)
    office.tell(cancelled(answer["cancellation_id"], ids(first)))
    granted(office)
    refused(office)


def test_who_may_go_beyond_gives_a_reason_that_the_grant_keeps(office: Office) -> None:
    limited(office, grants=1, exceeding={"roles": ["prescriber"]})
    first = granted(office, exception_reason="Not needed.")
    assert (first["exception_reason"], first["exception_by"]) == (None, None)
    assert refused(office).endswith("Give an `exception_reason` to grant it all the same.")
    second = granted(office, exception_reason="Lost everything in a fire.")
    assert second["exception_reason"] == "Lost everything in a fire."
    assert second["exception_by"] == f"prescriber:{office.prescriber}:test"
    assert second["previous_grants"] == 1
    for which, grant in (("true", second), ("false", first)):
        [found] = office.made(office.get(f"/v1/grants?exceptional={which}", "finance"), 200)["items"]
        assert found["grant_id"] == grant["grant_id"]


def test_who_may_not_go_beyond_cannot_by_giving_a_reason(office: Office) -> None:
    limited(office, grants=1, exceeding={"roles": ["admin"]})
    granted(office)
    assert refused(office, exception_reason="Please.").endswith("Only admin may go beyond it, with a reason.")
    order = {
        "programme": "pass", "amount_cents": 5000, "reason": "?", "beneficiary": ALICE,
        "prescriber_id": str(office.prescriber), "exception_reason": "Décision du 3 mars.",
    }  # fmt: skip
    made = office.made(office.post("/v1/grants", order, "admin", key="by the team"))
    assert (made["exception_reason"], made["exception_by"]) == ("Décision du 3 mars.", "admin:-:test")
    assert made["prescriber_id"] == str(office.prescriber)


def test_an_admin_grants_for_a_prescriber_that_it_names_and_a_prescriber_for_itself(office: Office) -> None:
    office.envelope(100_000)
    order = {"programme": "pass", "amount_cents": 5000, "reason": "?"}
    nobody = office.post("/v1/grants", order, "admin", key="1")
    others = order | {"prescriber_id": str(office.prescriber_named("other"))}
    another = office.post("/v1/grants", others, "prescriber", office.prescriber, "2")
    for answer in (nobody, another):
        assert problem(answer) == (422, "invalid")
        assert wrong_fields(answer) == ["prescriber_id"]


def test_only_prescribers_of_the_named_kinds_may_go_beyond(office: Office) -> None:
    limited(office, grants=1, exceeding={"roles": ["prescriber"], "typologies": ["CCAS"]})
    granted(office)
    refused(office, exception_reason="?")
    with office.service.runtime.transaction() as session:
        session.execute(sa.text("UPDATE prescriber SET typologies = '{CCAS}'"))
    granted(office, exception_reason="?")


def test_a_programme_with_a_limit_wants_to_know_who_it_is_for_unless_it_says_otherwise(office: Office) -> None:
    limited(office, grants=1)
    answer = office.ask()
    assert problem(answer) == (422, "invalid")
    assert wrong_fields(answer) == ["beneficiary"]
    limited(office, grants=1, beneficiary="optional")
    assert [office.grant()["previous_grants"] for _ in range(2)] == [0, 0]


def test_a_person_who_was_forgotten_begins_anew(office: Office) -> None:
    limited(office, grants=1)
    granted(office)
    with office.service.runtime.transaction() as session:
        session.execute(sa.text("DELETE FROM beneficiary"))
    granted(office)
    refused(office)


def test_each_programme_counts_for_itself(office: Office) -> None:
    limited(office, grants=1)
    office.programme("other", assessment={"per_person": {"grants": 1}})
    office.envelope(100_000, "other")
    granted(office)
    assert granted(office, programme="other")["previous_grants"] == 1


def test_a_repeat_is_the_grant_made_before_and_not_a_second_one(office: Office) -> None:
    limited(office, grants=1)
    first = granted(office, reference="dossier 1")
    assert granted(office, reference="dossier 1") == first | {"already": True}
    refused(office, reference="dossier 2")


def test_within_one_file_the_first_line_counts_for_the_second(office: Office) -> None:
    limited(office, ceiling_cents=10_000)
    line = {"programme": "pass", "amount_cents": 5000, "reason": "?"}
    people = (ALICE, BOB, ALICE, ALICE, BOB, BOB)
    lines = [line | {"beneficiary": person, "reference": str(at)} for at, person in enumerate(people)]
    for _ in range(2):  # sent again, it says the same
        report = office.made(office.post("/v1/grants/bulk", lines, "prescriber", office.prescriber), 200)
        refusals = [at for at, item in enumerate(report["lines"]) if "problem" in item]
        assert refusals == [3, 5]
    assert office.engaged() == [20_000]


def test_the_team_goes_beyond_the_limit_by_a_column_of_its_file(office: Office) -> None:
    limited(office, grants=1, exceeding={"roles": ["admin"]})
    granted(office)
    person = ",".join(ALICE[name] for name in ("family_name", "given_name", "birth_date"))
    text = (
        "programme,prescriber_id,reference,amount_cents,reason,family_name,given_name,birth_date,exception_reason\n"
        f"pass,{office.prescriber},a,5000,?,{person},\n"
        f"pass,{office.prescriber},b,5000,?,{person},Sinistre\n"
    )
    report = office.made(office.post("/v1/grants/bulk", text.encode(), key="file"), 200)
    assert ["problem" in line for line in report["lines"]] == [True, False]
    grant = office.made(office.get(f"/v1/grants/{report['lines'][1]['grant_id']}"), 200)
    assert (grant["exception_reason"], grant["exception_by"]) == ("Sinistre", "admin:-:test")


def test_a_preview_says_what_the_limit_would_say(office: Office) -> None:
    limited(office, ceiling_cents=8_000, exceeding={"roles": ["admin"]})
    granted(office)
    body = {"programme": "pass", "amount_cents": 5000, "beneficiary": ALICE}
    answer = office.made(office.post("/v1/assessments", body, "prescriber", office.prescriber), 200)["per_person"]
    assert answer | {"detail": None} == {
        "verdict": "refused", "detail": None, "grants": 1, "granted_cents": 5_000, "remaining_cents": 3_000
    }  # fmt: skip
    assert "exceed the ceiling of 80.00 EUR" in answer["detail"]
    assert office.made(office.post("/v1/assessments", body), 200)["per_person"]["verdict"] == "with_reason"
    nobody = {"programme": "pass", "amount_cents": 5000}
    assert office.made(office.post("/v1/assessments", nobody), 200)["per_person"] is None


def test_of_many_prescribers_at_once_no_more_get_through_than_the_ceiling_allows(wide: Office) -> None:
    limited(wide, ceiling_cents=15_000, period={"months": 12})
    desks = [wide.prescriber_named(f"desk {number}") for number in range(8)]
    answers = at_once(24, lambda number: wide.ask(beneficiary=ALICE, scope=desks[number % 8]))
    good = [answer for answer in answers if answer.status_code == 201]
    assert len(good) == 3
    assert {problem(answer) for answer in answers if answer not in good} == {(409, "person-limit-exceeded")}
    assert wide.engaged() == [15_000]
    assert wide.value("SELECT count(*) FROM beneficiary") == 1


def test_files_of_two_prescribers_at_once_that_name_the_same_people_hold_every_ceiling(wide: Office) -> None:
    limited(wide, grants=1)
    desks = [wide.prescriber_named(f"desk {number}") for number in range(2)]
    people = [ALICE | {"birth_date": (date(1950, 1, 1) + timedelta(days)).isoformat()} for days in range(60)]

    def send(number: int) -> list[int]:
        order = people if number else list(reversed(people))
        lines = [{"programme": "pass", "amount_cents": 5000, "reason": "?", "beneficiary": item} for item in order]
        numbered = [line | {"reference": str(at)} for at, line in enumerate(lines)]
        report = wide.made(wide.post("/v1/grants/bulk", numbered, "prescriber", desks[number]), 200)
        return [report["accepted"], report["refused"]]

    [(first, lost), (second, lost_too)] = at_once(2, send)
    assert first + second == lost + lost_too == 60
    assert wide.engaged() == [60 * 5000]


def test_an_order_that_waits_for_its_own_first_sending_is_no_second_grant(wide: Office) -> None:
    limited(wide, grants=1)
    assert wide.prescriber
    answers = at_once(8, lambda _: wide.ask(beneficiary=ALICE, reference="dossier"))
    assert sorted(wide.made(answer)["already"] for answer in answers) == [False] + [True] * 7
    assert wide.engaged() == [5000]


def test_a_person_is_waited_for_and_others_are_not(office: Office) -> None:
    limited(office, grants=1)
    first = granted(office, day=date(2021, 1, 1))
    assert first
    with _held(office):
        granted(office, beneficiary=BOB)
        waiting: list[str] = []
        thread = threading.Thread(target=lambda: waiting.append(refused(office)))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join()
    assert waiting


@contextmanager
def _held(office: Office) -> Iterator[None]:
    """Another transaction is granting to the person whom everybody knows by now."""
    with office.service.runtime.engine.begin() as other:
        other.execute(sa.text("UPDATE beneficiary SET last_granted_at = now()"))
        yield
