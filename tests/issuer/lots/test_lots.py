"""Lots: suspended and resumed as a whole, and agreed upon once at their end."""

import csv
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pypdf import PdfReader

from tests.issuer.office import (
    Office,
    cancelled,
    expired,
    ids,
    problem,
    redeemed,
    reversed_,
    told,
)


@pytest.fixture
def town(office: Office) -> Office:
    """An office with a lot `hiver` and money in two envelopes."""
    office.envelope(7_000, priority=1)
    office.envelope(100_000, priority=2, funder="Département", convention_reference="CD-1")
    office.made(office.post("/v1/lots", {"code": "hiver", "name": "Hiver 2026", "programme": "pass"}))
    return office


def suspend(office: Office, lot: str = "hiver") -> Any:
    return office.made(office.post(f"/v1/lots/{lot}/suspension", {"reason": "Carton volé."}), 200)


def resume(office: Office, lot: str = "hiver") -> Any:
    return office.made(office.post(f"/v1/lots/{lot}/resumption", {"reason": "Retrouvé."}), 200)


def statement(office: Office, lot: str = "hiver") -> Any:
    return office.made(office.get(f"/v1/lots/{lot}/statement", "finance"), 200)


def agree(office: Office, digest: str) -> Any:
    return office.post("/v1/lots/hiver/statement", {"digest": digest}, "finance", subject="mme-arrete")


def block(office: Office, *cheque_ids: str) -> None:
    office.made(office.post("/v1/blocks", {"cheque_ids": cheque_ids, "reason": "Perdu."}), 200)


def test_a_grant_names_its_lot(town: Office) -> None:
    inside, outside = town.grant(lot="hiver"), town.grant()
    [listed] = town.made(town.get("/v1/grants?lot=hiver", "prescriber", town.prescriber), 200)["items"]
    assert listed["grant_id"] == inside["grant_id"]
    assert (listed["lot_id"], outside["lot_id"]) == (town.made(town.get("/v1/lots/hiver"), 200)["lot_id"], None)
    assert statement(town)["figures"]["total"]["issued_number"] == 5


def test_a_lot_of_another_programme_or_of_none_is_refused(town: Office) -> None:
    town.programme("autre")
    town.envelope(10_000, "autre")
    town.made(town.post("/v1/lots", {"code": "autre", "name": "Autre", "programme": "autre"}))
    for lot in ("autre", "personne"):
        assert problem(town.ask(lot=lot)) == (409, "unknown-lot")
    assert problem(town.post("/v1/lots", {"code": "hiver", "name": "x", "programme": "pass"})) == (409, "lot-exists")
    assert problem(town.get("/v1/lots/personne")) == (404, "not-found")


def test_lots_are_listed_by_programme(town: Office) -> None:
    town.programme("autre")
    items = town.made(town.get("/v1/lots?programme=pass", "prescriber", town.prescriber), 200)["items"]
    assert [(lot["code"], lot["programme"], lot["suspended_at"]) for lot in items] == [("hiver", "pass", None)]
    assert town.made(town.get("/v1/lots?programme=autre"), 200)["items"] == []
    assert town.made(town.get("/v1/lots/hiver"), 200) == items[0]


def test_a_bulk_line_names_its_lot(town: Office) -> None:
    lines = "reference;programme;amount_cents;reason;lot\na;pass;5000;x;hiver\nb;pass;5000;x;?\nc;pass;5000;x;\n"
    answer = town.post("/v1/grants/bulk", lines.encode(), "prescriber", town.prescriber, "bulk")
    assert town.made(answer, 200)["accepted"] == 2
    assert statement(town)["figures"]["total"]["issued_number"] == 5


def test_a_suspended_lot_is_blocked_whole_and_grants_nothing_until_it_is_resumed(town: Office) -> None:
    inside, outside = town.grant(lot="hiver"), town.grant()
    town.tell(redeemed(ids(inside)[:1]))
    shown = suspend(town)
    assert (shown["suspension_reason"], shown["suspended_by"]) == ("Carton volé.", "admin:-:test")
    assert town.states(inside) == ["redeemed"] + ["blocked"] * 4
    assert town.states(outside) == ["spendable"] * 5
    assert [set(event["cheque_ids"]) for event in town.events("cheques.blocked")] == [set(ids(inside)[1:])]
    assert problem(town.ask(lot="hiver")) == (409, "lot-suspended")
    suspend(town)
    assert len(town.events("cheques.blocked")) == 1
    resume(town)
    assert town.states(inside) == ["redeemed"] + ["spendable"] * 4
    assert len(town.grant(lot="hiver")["cheques"]) == 5
    kinds = [notice["kind"] for notice in town.made(town.get("/v1/notices"), 200)["items"]]
    assert [kind for kind in kinds if kind.startswith("lot.")] == ["lot.suspended", "lot.resumed"]


def test_what_is_blocked_for_a_reason_of_its_own_outlives_the_suspension(town: Office) -> None:
    grant = town.grant(lot="hiver")
    before, during, *_ = ids(grant)
    block(town, before)
    suspend(town)
    block(town, during)
    resume(town)
    assert town.states(grant) == ["blocked", "blocked"] + ["spendable"] * 3
    [released] = town.events("cheques.unblocked")
    assert set(released["cheque_ids"]) == set(ids(grant)[2:])


def test_a_cheque_of_a_suspended_lot_is_not_released_by_itself(town: Office) -> None:
    grant = town.grant(lot="hiver")
    block(town, ids(grant)[0])
    suspend(town)
    for cheque_id in ids(grant)[:2]:
        answer = town.post("/v1/unblocks", {"cheque_ids": [cheque_id], "reason": "?"})
        assert problem(answer) == (409, "lot-suspended")
    assert town.states(grant) == ["blocked"] * 5


def test_a_cheque_that_comes_back_to_a_suspended_lot_is_blocked_with_it(town: Office) -> None:
    grant = town.grant(lot="hiver")
    spent, lost, *_ = ids(grant)
    presented = redeemed([spent])
    town.tell(presented)
    body = {"cheque_ids": [lost], "cause": "stolen", "reason": "Volé."}
    request = town.made(town.post("/v1/replacements", body), 202)
    suspend(town)
    redemption = presented[1]["redemptions"][0]["redemption_id"]
    kind, taken_back = reversed_(spent)
    town.tell((kind, {**taken_back, "redemption_id": redemption}), cancelled(request["replacement_id"], [lost]))
    assert town.states(grant) == ["blocked", "cancelled", "blocked", "blocked", "blocked", "blocked"]
    resume(town)
    assert town.states(grant) == ["spendable", "cancelled"] + ["spendable"] * 4


@pytest.mark.slow
def test_thousands_of_cheques_are_told_of_a_thousand_at_a_time(town: Office) -> None:
    town.envelope(3_000_000, priority=3)
    for _ in range(3):
        town.grant(lot="hiver", amount_cents=700_000)
    suspend(town)
    assert [len(event["cheque_ids"]) for event in town.events("cheques.blocked")] == [1000, 1000, 100]
    resume(town)
    assert [len(event["cheque_ids"]) for event in town.events("cheques.unblocked")] == [1000, 1000, 100]


def test_no_grant_slips_into_a_lot_while_it_is_suspended(town: Office) -> None:
    assert town.prescriber  # registered before the others look

    def grant(number: int) -> int:
        return town.ask(lot="hiver", key=f"k{number}").status_code

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(grant, number) for number in range(12)]
        suspend(town)
        done = [answer.result() for answer in answers]
    assert set(done) <= {201, 409}
    total = statement(town)["figures"]["total"]
    assert total["blocked_number"] == total["issued_number"] == 5 * done.count(201)


def test_news_of_cancellations_and_a_suspension_at_once_leave_no_cheque_free_in_a_suspended_lot(town: Office) -> None:
    grants = [town.grant(lot="hiver") for _ in range(6)]
    requests = []
    for grant in grants:
        body = {"cheque_ids": ids(grant)[:2], "cause": "lost", "reason": "?"}
        requests.append(town.made(town.post("/v1/replacements", body), 202)["replacement_id"])

    def apply(number: int) -> None:
        town.tell(cancelled(requests[number], ids(grants[number])[:2]))

    with ThreadPoolExecutor(4) as pool:
        news = [pool.submit(apply, number) for number in range(6)]
        suspend(town)
        for future in news:
            future.result()
    total = statement(town)["figures"]["total"]
    assert (total["issued_number"], total["replaced_number"]) == (42, 12)
    assert (total["blocked_number"], total["open_number"]) == (30, 0)
    resume(town)
    assert statement(town)["figures"]["total"]["open_number"] == 30


def end(office: Office, grant: Mapping[str, Any]) -> None:
    """Of five cheques two are spent, one is cancelled, one is over and one blocked."""
    spent, spent_too, returned, lapsed, blocked = ids(grant)
    body = {"cheque_ids": [returned], "reason": "Rendu."}
    request = office.made(office.post("/v1/cancellations", body), 202)
    office.tell(redeemed([spent, spent_too]), cancelled(request["cancellation_id"], [returned]), expired([lapsed]))
    block(office, blocked)


def test_the_statement_adds_up_by_envelope_and_in_all(town: Office) -> None:
    end(town, town.grant(lot="hiver"))
    town.grant(lot="hiver")
    figures = statement(town)["figures"]
    total = figures["total"]
    expected = {"issued": 10, "used": 2, "expired": 1, "cancelled": 1, "replaced": 0, "blocked": 1, "open": 5}
    assert total == {f"{column}_number": number for column, number in expected.items()} | {
        f"{column}_cents": number * 1000 for column, number in expected.items()
    }
    for name, sum_ in total.items():
        assert sum(line[name] for line in figures["envelopes"]) == sum_
    assert [line["funder"] for line in figures["envelopes"]] == ["Département", "État"]


def test_a_lot_is_agreed_upon_once_with_the_figures_that_were_looked_at(town: Office) -> None:
    grant = town.grant(lot="hiver")
    assert problem(agree(town, statement(town)["digest"])) == (409, "lot-still-open")
    end(town, grant)
    assert problem(agree(town, "0" * 64)) == (409, "statement-changed")
    seen = statement(town)
    assert seen["agreed_at"] is None
    agreed = town.made(agree(town, seen["digest"]))
    assert agreed["figures"] == seen["figures"]
    assert agreed["agreed_by"] == "finance:-:mme-arrete"
    assert statement(town) == agreed
    assert problem(agree(town, seen["digest"])) == (409, "lot-closed")
    assert problem(town.ask(lot="hiver")) == (409, "lot-closed")
    assert problem(town.post("/v1/lots/hiver/suspension", {"reason": "?"})) == (409, "lot-closed")
    [notice] = town.made(town.get("/v1/notices?kind=lot.agreed"), 200)["items"]
    assert notice["body"]["digest"] == seen["digest"]


def test_a_cancellation_in_hand_keeps_a_lot_open(town: Office) -> None:
    grant = town.grant(lot="hiver")
    town.tell(redeemed(ids(grant)[1:]))
    block(town, ids(grant)[0])
    town.made(town.post("/v1/cancellations", {"cheque_ids": ids(grant)[:1], "reason": "?"}), 202)
    answer = agree(town, statement(town)["digest"])
    assert problem(answer) == (409, "lot-still-open")
    assert told(answer)["in_hand"] == 1


def test_what_happens_after_the_agreement_is_shown_beside_it_and_changes_nothing_in_it(town: Office) -> None:
    grant = town.grant(lot="hiver")
    spent = redeemed(ids(grant))
    town.tell(spent)
    agreed = town.made(agree(town, statement(town)["digest"]))
    assert not agreed["differs"]
    kind, taken_back = reversed_(ids(grant)[0])
    town.tell((kind, {**taken_back, "redemption_id": spent[1]["redemptions"][0]["redemption_id"]}))
    shown = statement(town)
    assert shown["differs"]
    assert shown["figures"] == agreed["figures"]
    assert shown["now"]["total"]["used_number"] == 4
    assert shown["now"]["total"]["open_number"] == 1


def test_a_blocked_cheque_of_a_closed_lot_is_not_replaced(town: Office) -> None:
    grant = town.grant(lot="hiver")
    end(town, grant)
    town.made(agree(town, statement(town)["digest"]))
    body = {"cheque_ids": ids(grant)[4:], "cause": "lost", "reason": "?"}
    answer = town.post("/v1/replacements", body)
    assert problem(answer) == (409, "nothing-to-replace")
    assert told(answer)["cheques"][0]["reason"] == "lot-closed"


def test_the_statement_is_a_table_and_an_accessible_document(town: Office) -> None:
    end(town, town.grant(lot="hiver"))
    seen = statement(town)
    draft = town.get("/v1/lots/hiver/statement.pdf", "finance")
    assert "Projet" in text_of(draft.data)
    town.made(agree(town, seen["digest"]))
    table = list(csv.DictReader(io.StringIO(town.get("/v1/lots/hiver/statement.csv", "finance").text)))
    assert [(line["funder"], line["used_cents"], line["issued_number"]) for line in table] == [("État", "2000", "5")]
    first, second = (town.get("/v1/lots/hiver/statement.pdf", "finance") for _ in range(2))
    assert first.content_type == "application/pdf"
    assert first.data == second.data
    written = text_of(first.data)
    assert "Hiver 2026" in written
    assert "vingt euros" in written
    assert "Projet" not in written


def text_of(document: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(document)).pages)
