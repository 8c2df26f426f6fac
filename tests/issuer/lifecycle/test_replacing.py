"""Replacing lost cheques: blocked at once, replaced when the redeemer has cancelled the old ones, never paid twice."""

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from pypdf import PdfReader

from shared.values import clock
from tests.issuer.office import (
    Office,
    cancellation_refused,
    cancelled,
    expired,
    ids,
    problem,
    redeemed,
    told,
)


@pytest.fixture
def desk(office: Office) -> Office:
    """An office with exactly the money of one grant."""
    office.envelope(5_000)
    return office


def ask(office: Office, role: str = "prescriber", **what: Any) -> Any:
    body = {"cause": "lost", "reason": "Perdus."} | what
    return office.post("/v1/replacements", body, role, office.prescriber if role == "prescriber" else None)


def asked(office: Office, **what: Any) -> Any:
    return office.made(ask(office, **what), 202)


def look(office: Office, replacement: Mapping[str, Any]) -> Any:
    path = f"/v1/replacements/{replacement['replacement_id']}"
    return office.made(office.get(path, "prescriber", office.prescriber), 200)


def outcomes(shown: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return [(cheque["outcome"], cheque["reason"]) for cheque in shown["cheques"]]


def test_a_lost_cheque_is_blocked_at_once_and_its_cancellation_asked_for(desk: Office) -> None:
    grant = desk.grant()
    first, *_ = ids(grant)
    answer = ask(desk, cheque_ids=[first])
    shown = desk.made(answer, 202)
    assert answer.headers["Location"] == f"/v1/replacements/{shown['replacement_id']}"
    assert shown["pending"]
    assert outcomes(shown) == [("pending", None)]
    assert desk.states(grant) == ["blocked"] + ["spendable"] * 4
    assert desk.events("cheques.blocked") == [{"cheque_ids": [first], "reason": "Perdus."}]
    [told] = desk.events("cancellation.requested")
    assert told == {"cancellation_id": shown["replacement_id"], "cheque_ids": [first], "reason": "Perdus."}
    assert outcomes(look(desk, shown)) == [("pending", None)]


def test_a_cancelled_cheque_is_replaced_from_its_own_money_although_the_envelope_is_full(desk: Office) -> None:
    grant = desk.grant()
    first, *_ = ids(grant)
    request = asked(desk, cheque_ids=[first])
    desk.tell(cancelled(request["replacement_id"], [first]))
    shown = look(desk, request)
    assert not shown["pending"]
    [line] = shown["cheques"]
    assert (line["outcome"], line["cheque_id"]) == ("replaced", first)
    new = line["new_cheque"]
    assert new["cheque_id"] == line["new_cheque_id"] != first
    assert new["envelope_id"] == grant["cheques"][0]["envelope_id"]
    assert (new["value_cents"], new["state"]) == (1000, "spendable")
    assert new["code"] not in [cheque["code"] for cheque in grant["cheques"]]
    assert desk.states(grant) == ["cancelled"] + ["spendable"] * 5
    assert desk.engaged() == [5_000]
    old, again = desk.events("cheques.issued")
    assert [cheque["cheque_id"] for cheque in again["cheques"]] == [new["cheque_id"]]
    assert {**again, "cheques": []} == {**old, "cheques": []}
    cheques = desk.made(desk.get(f"/v1/grants/{grant['grant_id']}"), 200)["cheques"]
    assert [(cheque["replaces"], cheque["replaced_by"]) for cheque in cheques] == [
        (None, new["cheque_id"]),
        *[(None, None)] * 4,
        (first, None),
    ]


def test_an_envelope_that_was_closed_meanwhile_pays_for_the_new_cheque_all_the_same(desk: Office) -> None:
    desk.envelope(2_000, priority=-1)
    grant = desk.grant()
    request = asked(desk, cheque_ids=ids(grant)[:3])
    for envelope in desk.made(desk.get("/v1/envelopes"), 200)["items"]:
        desk.made(desk.post(f"/v1/envelopes/{envelope['envelope_id']}/closing", {"reason": "Fin."}, "finance"))
    before = desk.engaged()
    desk.tell(cancelled(request["replacement_id"], ids(grant)[:3]))
    new = [line["new_cheque"]["envelope_id"] for line in look(desk, request)["cheques"]]
    assert new == [cheque["envelope_id"] for cheque in grant["cheques"][:3]]
    assert desk.engaged() == before == [3_000, 2_000]


def test_two_who_report_one_cheque_lost_at_once_make_one_request(desk: Office) -> None:
    grant = desk.grant()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(desk, grant_id=grant["grant_id"]), range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    assert len(desk.events("cancellation.requested")) == len(desk.events("cheques.blocked")) == 1


def test_the_news_of_a_cancellation_makes_one_new_cheque_however_often_it_comes(desk: Office) -> None:
    grant = desk.grant()
    request = asked(desk, cheque_ids=ids(grant)[:2])
    news = cancelled(request["replacement_id"], ids(grant)[:2])
    desk.tell(news, news)
    desk.tell(news)
    assert len(desk.states(grant)) == 7
    assert len(desk.events("cheques.issued")) == 2
    assert desk.engaged() == [5_000]


def test_a_spent_cheque_is_not_replaced_and_the_prescriber_is_told_why(desk: Office) -> None:
    grant = desk.grant()
    spent, kept, *_ = ids(grant)
    request = asked(desk, cheque_ids=[spent, kept])
    desk.tell(
        redeemed([spent]),
        cancellation_refused(request["replacement_id"], spent, "already-redeemed"),
        cancelled(request["replacement_id"], [kept]),
    )
    assert outcomes(look(desk, request)) == [("refused", "already-redeemed"), ("replaced", None)]
    assert desk.states(grant) == ["redeemed", "cancelled"] + ["spendable"] * 4
    assert desk.engaged() == [5_000]
    path = "/v1/notices?kind=replacement.refused"
    [notice] = desk.made(desk.get(path, "prescriber", desk.prescriber), 200)["items"]
    assert notice["subject_id"] == grant["grant_id"]
    assert notice["body"]["cheques"] == [{"cheque_id": spent, "reason": "already-redeemed"}]


def test_what_has_ended_is_refused_at_once_and_the_rest_goes_on(desk: Office) -> None:
    grant = desk.grant()
    spent, over, *others = ids(grant)
    desk.tell(redeemed([spent]), expired([over]))
    request = asked(desk, grant_id=grant["grant_id"])
    assert outcomes(request) == [("refused", "redeemed"), ("refused", "expired"), *[("pending", None)] * 3]
    desk.tell(cancelled(request["replacement_id"], others))
    assert [outcome for outcome, _ in outcomes(look(desk, request))].count("replaced") == 3
    answer = ask(desk, cheque_ids=[spent, over])
    assert problem(answer) == (409, "nothing-to-replace")


def test_whoever_asks_twice_is_shown_where_the_first_request_stands(desk: Office) -> None:
    first, *_ = ids(desk.grant())
    request = asked(desk, cheque_ids=[first])
    for reason in ("cancellation-in-hand", "cancelled"):
        answer = ask(desk, cheque_ids=[first])
        assert problem(answer) == (409, "nothing-to-replace")
        assert told(answer)["replacement_ids"] == [request["replacement_id"]]
        assert told(answer)["cheques"] == [{"cheque_id": first, "reason": reason}]
        desk.tell(cancelled(request["replacement_id"], [first]))


def move_last_day(office: Office, days: int) -> None:
    """Makes the grants' last day of presentation lie this far from today."""
    query = "UPDATE cheque_grant SET granted_on = :early, valid_until = :early, presentable_until = :last"
    given = {"early": "2020-01-01", "last": clock.today().fromordinal(clock.today().toordinal() + days)}
    with office.service.runtime.transaction() as session:
        session.execute(sa.text(query), given)


def test_a_cheque_that_nobody_can_present_any_more_is_not_replaced(desk: Office) -> None:
    grant = desk.grant()
    move_last_day(desk, -1)
    answer = ask(desk, grant_id=grant["grant_id"])
    assert problem(answer) == (409, "nothing-to-replace")
    assert {cheque["reason"] for cheque in told(answer)["cheques"]} == {"expired"}
    assert desk.states(grant) == ["spendable"] * 5


def test_a_cheque_lost_in_the_days_of_grace_is_replaced(desk: Office) -> None:
    grant = desk.grant()
    move_last_day(desk, 0)
    request = asked(desk, cheque_ids=ids(grant)[:1])
    desk.tell(cancelled(request["replacement_id"], ids(grant)[:1]))
    assert outcomes(look(desk, request)) == [("replaced", None)]


def test_a_cheque_that_the_redeemer_cancels_after_its_last_day_has_no_new_one(desk: Office) -> None:
    grant = desk.grant()
    request = asked(desk, cheque_ids=ids(grant)[:1])
    move_last_day(desk, -1)
    desk.tell(cancelled(request["replacement_id"], ids(grant)[:1]))
    assert outcomes(look(desk, request)) == [("refused", "expired")]
    assert desk.engaged() == [4_000]


def test_a_replaced_cheque_can_be_lost_and_replaced_again(desk: Office) -> None:
    grant = desk.grant()
    lost = ids(grant)[0]
    for _ in range(3):
        request = asked(desk, cheque_ids=[lost], cause="stolen")
        desk.tell(cancelled(request["replacement_id"], [lost]))
        lost = look(desk, request)["cheques"][0]["new_cheque_id"]
    assert desk.states(grant) == ["cancelled"] + ["spendable"] * 4 + ["cancelled"] * 2 + ["spendable"]
    assert desk.engaged() == [5_000]


def test_a_booklet_printed_again_has_the_new_cheque_in_the_place_of_the_lost_one(desk: Office) -> None:
    grant = desk.grant()
    request = asked(desk, cheque_ids=ids(grant)[:1])
    desk.tell(cancelled(request["replacement_id"], ids(grant)[:1]))
    new = look(desk, request)["cheques"][0]["new_cheque"]["code"]
    answer = desk.get(f"/v1/grants/{grant['grant_id']}/booklet.pdf", "prescriber", desk.prescriber)
    printed = "".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.data)).pages)
    assert new in printed
    assert grant["cheques"][0]["code"] not in printed
    assert "Ne sont plus dedans" not in printed


def test_where_an_operator_has_to_register_cheques_the_new_one_waits_for_it_too(empty_office: Office) -> None:
    empty_office.programme(spendable="on_registration")
    empty_office.envelope(5_000)
    grant = empty_office.grant()
    request = asked(empty_office, cheque_ids=ids(grant)[:1])
    empty_office.tell(cancelled(request["replacement_id"], ids(grant)[:1]))
    assert look(empty_office, request)["cheques"][0]["new_cheque"]["state"] == "issued"


def test_a_plain_cancellation_replaces_nothing(desk: Office) -> None:
    grant = desk.grant()
    body = {"cheque_ids": ids(grant)[:1], "reason": "Rendu."}
    cancellation = desk.made(desk.post("/v1/cancellations", body), 202)
    desk.tell(cancelled(cancellation["cancellation_id"], ids(grant)[:1]))
    assert len(desk.states(grant)) == 5
    assert desk.engaged() == [4_000]
    assert problem(desk.get(f"/v1/replacements/{cancellation['cancellation_id']}")) == (404, "not-found")


def test_another_prescriber_neither_asks_nor_sees(desk: Office) -> None:
    grant = desk.grant()
    request = asked(desk, cheque_ids=ids(grant)[:1])
    other = desk.prescriber_named("other")
    body = {"cause": "lost", "reason": "?", "grant_id": grant["grant_id"]}
    assert problem(desk.post("/v1/replacements", body, "prescriber", other)) == (404, "not-found")
    path = f"/v1/replacements/{request['replacement_id']}"
    assert problem(desk.get(path, "prescriber", other)) == (404, "not-found")
    assert desk.made(desk.get("/v1/replacements", "prescriber", other), 200)["items"] == []
    assert problem(desk.get(f"/v1/replacements/{uuid4()}")) == (404, "not-found")


def test_finance_lists_replacements_without_codes(desk: Office) -> None:
    grant = desk.grant()
    request = asked(desk, cheque_ids=ids(grant)[:1])
    desk.tell(cancelled(request["replacement_id"], ids(grant)[:1]))
    code = look(desk, request)["cheques"][0]["new_cheque"]["code"]
    for query in ("", f"?grant_id={grant['grant_id']}"):
        answer = desk.get(f"/v1/replacements{query}", "finance")
        [listed] = desk.made(answer, 200)["items"]
        assert listed["cheques"][0]["outcome"] == "replaced"
        assert code not in answer.text
    assert desk.made(desk.get(f"/v1/replacements?grant_id={uuid4()}", "finance"), 200)["items"] == []
    assert desk.get(f"/v1/replacements/{request['replacement_id']}", "finance").status_code == 403


def test_a_request_names_a_cause_and_a_grant_or_cheques(desk: Office) -> None:
    first = ids(desk.grant())[0]
    both = {"grant_id": str(UUID(int=1)), "cheque_ids": [first]}
    wrongs: list[dict[str, Any]] = [{}, {"cheque_ids": []}, {"cheque_ids": [first], "cause": "eaten"}, both]
    for wrong in wrongs:
        assert problem(ask(desk, **wrong)) == (422, "invalid")


def test_the_same_request_sent_again_is_answered_as_the_first_time(desk: Office) -> None:
    body = {"cause": "lost", "reason": "?", "cheque_ids": ids(desk.grant())[:1]}
    first, second = (desk.made(desk.post("/v1/replacements", body, key="once"), 202) for _ in range(2))
    assert first == second
    assert len(desk.events("cancellation.requested")) == 1
