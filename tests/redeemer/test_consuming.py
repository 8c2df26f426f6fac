"""The others' news: once or twice, early or late, they end in the same state."""

import itertools
import threading
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from services.redeemer.inbox import HANDLERS
from shared.eventlog import consumer, event_kinds
from shared.eventlog.log import Event
from shared.values import clock
from shared.values.ids import new_id
from tests.redeemer.conftest import ANYTHING, Cheque, Till, day

ON_REGISTRATION = {**ANYTHING, "spendable": "on_registration"}


def cancellation(*cheques: Cheque) -> dict[str, Any]:
    return {"cancellation_id": new_id(), "cheque_ids": [cheque.id for cheque in cheques], "reason": "returned"}


def test_cheques_told_of_twice_are_there_once(till: Till) -> None:
    made, body = till.granted(3)
    till.tell("cheques.issued", body, times=2)
    till.tell("cheques.issued", body)

    assert [till.state(cheque) for cheque in made] == ["spendable"] * 3
    assert len(till.rows("SELECT FROM cheque")) == 3
    assert len(till.rows("SELECT FROM spending_rules")) == 1


def test_a_cheque_keeps_the_rules_under_which_it_was_granted(till: Till) -> None:
    [first], [second] = till.issue(), till.issue(programme={**ANYTHING, "services": ["Bases"]})

    assert till.check(first.code).get_json()["redeemable"]
    assert till.check(second.code).get_json()["reason"] == "service-not-covered"


def test_a_cheque_that_waits_is_spendable_once_an_operator_registered_it(till: Till) -> None:
    made = till.issue(2, ON_REGISTRATION)
    till.tell("cheques.registered", {"contract_id": till.contract, "cheque_ids": [made[0].id]}, times=2)

    assert [till.state(cheque) for cheque in made] == ["spendable", "pending"]


def test_blocked_and_unblocked_a_cheque_is_what_it_was(till: Till) -> None:
    [waiting], [ready] = till.issue(1, ON_REGISTRATION), till.issue()
    both = {"cheque_ids": [waiting.id, ready.id], "reason": "lost"}
    till.tell("cheques.blocked", both)
    assert [till.state(cheque) for cheque in (waiting, ready)] == ["blocked", "blocked"]
    till.tell("cheques.unblocked", both)
    assert [till.state(cheque) for cheque in (waiting, ready)] == ["pending", "spendable"]


def test_a_cancellation_reaches_what_is_not_over_and_says_why_of_the_rest(till: Till) -> None:
    spendable, spent, waiting, blocked = *till.issue(2), *till.issue(1, ON_REGISTRATION), *till.issue()
    till.present([spent.code])
    till.tell("cheques.blocked", {"cheque_ids": [blocked.id], "reason": "lost"})
    unknown = Cheque(new_id(), "")
    body = cancellation(spendable, spent, waiting, blocked, unknown)

    till.tell("cancellation.requested", body)

    [cancelled] = till.told("cheques.cancelled")
    assert cancelled["cancellation_id"] == body["cancellation_id"]
    assert set(cancelled["cheque_ids"]) == {spendable.id, waiting.id, blocked.id}
    [refused] = till.told("cancellation.refused")
    assert {line["cheque_id"]: line["reason"] for line in refused["cheques"]} == {
        spent.id: "already-redeemed",
        unknown.id: "unknown-cheque",
    }
    assert [till.state(cheque) for cheque in (spendable, spent, waiting)] == ["cancelled", "redeemed", "cancelled"]


def event(kind: str, body: Mapping[str, Any]) -> Event[Any]:
    """An event as the consumer reads it."""
    return Event(new_id(), kind, "", clock.now(), event_kinds.load(kind, body))


def test_of_two_cancellations_of_a_cheque_in_one_page_the_first_has_it(till: Till) -> None:
    [cheque] = till.issue()
    bodies = [cancellation(cheque) for _ in range(2)]
    run = [event("cancellation.requested", body) for body in bodies]
    with till.redeemer.runtime.transaction() as session:
        consumer.run_handlers(session, run, HANDLERS)

    assert [told["cancellation_id"] for told in till.told("cheques.cancelled")] == [bodies[0]["cancellation_id"]]
    [refused] = till.told("cancellation.refused")
    assert refused["cancellation_id"] == bodies[1]["cancellation_id"]
    assert refused["cheques"][0]["reason"] == "cancelled"


class TestTheOperatorsOwnTill:
    """A report is one more till: the first of all has the cheque."""

    def test_a_report_spends_the_cheque(self, till: Till) -> None:
        [cheque] = till.issue()
        body = till.reported(cheque)

        till.tell("redemption.reported", body, times=2)

        [row] = till.rows("SELECT * FROM redemption")
        assert (row.id, row.via, row.state, row.amount_cents) == (body["report_id"], "operator", "confirmed", 1000)
        [told] = till.told("cheques.redeemed")
        assert (told["via"], told["contract_id"], told["structure_id"]) == ("operator", till.contract, till.structure)
        assert told["redemptions"][0]["redemption_id"] == body["report_id"]
        assert till.check(cheque.code).get_json()["reason"] == "already-redeemed"

    def test_a_report_of_a_cheque_that_is_spent_is_contested(self, till: Till) -> None:
        [cheque] = till.issue()
        till.present([cheque.code])
        body = till.reported(cheque)

        till.tell("redemption.reported", body)

        [told] = till.told("redemption.contested")
        assert told == {"report_id": body["report_id"], "cheque_id": cheque.id, "reason": "already-redeemed"}
        assert len(till.rows("SELECT FROM redemption")) == 1

    def test_of_two_reports_of_a_cheque_in_one_page_the_first_has_it(self, till: Till) -> None:
        [cheque] = till.issue()
        bodies = [till.reported(cheque) for _ in range(2)]
        run = [event("redemption.reported", body) for body in [*bodies, bodies[0]]]
        with till.redeemer.runtime.transaction() as session:
            consumer.run_handlers(session, run, HANDLERS)

        assert [row.id for row in till.rows("SELECT id FROM redemption")] == [bodies[0]["report_id"]]
        assert [told["report_id"] for told in till.told("redemption.contested")] == [bodies[1]["report_id"]]

    def test_a_report_that_was_reversed_since_does_not_spend_the_cheque_again(self, till: Till) -> None:
        [cheque] = till.issue()
        body = till.reported(cheque)
        till.tell("redemption.reported", body)
        till.reverse(body["report_id"])

        till.tell("redemption.reported", body)

        assert till.state(cheque) == "spendable"


def news_of(till: Till, redemption_id: UUID) -> dict[str, Mapping[str, Any]]:
    """What an operator may say of a redemption."""
    of = {"contract_id": till.contract}
    return {
        "redemptions.confirmed": {**of, "redemption_ids": [redemption_id]},
        "redemptions.refused": {**of, "redemptions": [{"redemption_id": redemption_id, "reason": "too late"}]},
        "redemptions.paid": {
            **of, "payment_reference": "V1", "paid_on": day(-1), "redemption_ids": [redemption_id]
        },
    }  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(["confirmed", "refused", "paid"])))
def test_what_an_operator_says_of_a_redemption_ends_the_same_in_any_order(till: Till, order: list[str]) -> None:
    [cheque] = till.issue()
    till.present([cheque.code])
    [redemption] = till.rows("SELECT id FROM redemption")
    news = news_of(till, redemption.id)

    for word in order:
        till.tell(f"redemptions.{word}", news[f"redemptions.{word}"], times=2)

    [row] = till.rows("SELECT * FROM redemption")
    assert (row.state, row.payment_reference, row.paid_on, row.contract_id) == ("paid", "V1", day(-1), till.contract)


def test_a_refused_redemption_keeps_the_reason_until_it_is_accepted_after_all(till: Till) -> None:
    [cheque] = till.issue()
    till.present([cheque.code])
    [redemption] = till.rows("SELECT id FROM redemption")
    for kind, expected in (("redemptions.refused", "too late"), ("redemptions.confirmed", None)):
        till.tell(kind, news_of(till, redemption.id)[kind])
        [row] = till.rows("SELECT state, refusal_reason FROM redemption")
        assert (row.state, row.refusal_reason) == (kind.partition(".")[2], expected)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_bridge_that_is_ahead_of_the_issuer_changes_nothing(till: Till, order: list[int]) -> None:
    """Issued by one, registered, reported and paid by the other: the other's news keep their order among themselves."""
    [cheque], body = till.granted(1, ON_REGISTRATION)
    report_id = new_id()
    bridge = [
        ("cheques.registered", {"contract_id": till.contract, "cheque_ids": [cheque.id]}),
        ("redemption.reported", till.reported(cheque, report_id)),
        ("redemptions.paid", news_of(till, report_id)["redemptions.paid"]),
    ]
    told = [("cheques.issued", body) if place == 0 else None for place in order]
    steps = iter(bridge)

    for kind, news in (one or next(steps) for one in told):
        till.tell(kind, news, times=2)

    assert till.state(cheque) == "redeemed"
    assert [row.state for row in till.rows("SELECT state FROM redemption")] == ["paid"]
    assert not till.rows("SELECT FROM parked_event")
    assert len(till.told("cheques.redeemed")) == 1


def test_one_page_that_speaks_of_known_and_unknown_cheques_is_applied_to_the_known(till: Till) -> None:
    [known], ([unknown], body) = till.issue(1, ON_REGISTRATION), till.granted(1, ON_REGISTRATION)
    till.tell("cheques.registered", {"contract_id": till.contract, "cheque_ids": [known.id, unknown.id]})
    assert till.state(known) == "spendable"

    till.tell("cheques.issued", body)

    assert till.state(unknown) == "spendable"


def test_news_of_a_cheque_that_is_being_issued_at_that_moment_is_not_lost(till: Till, owner: sa.Engine) -> None:
    """Neither transaction sees the other's row: without a lock the news would be parked for ever."""
    [cheque], body = till.granted(1, ON_REGISTRATION)
    issued = event("cheques.issued", body)
    registered = threading.Thread(
        target=till.tell, args=("cheques.registered", {"contract_id": till.contract, "cheque_ids": [cheque.id]})
    )
    with till.redeemer.runtime.transaction() as session:
        consumer.run_handlers(session, [issued], HANDLERS)
        registered.start()
        registered.join(0.3)
        assert registered.is_alive()
    registered.join()

    assert till.state(cheque) == "spendable"
    assert not till.rows("SELECT FROM parked_event")


def test_a_contract_is_mirrored_as_it_was_last_told(till: Till) -> None:
    for state in ("draft", "live", "ended"):
        till.tell_contract(till.contract, state=state)

    [row] = till.rows("SELECT id, state, programme FROM contract")
    assert (row.id, row.state, row.programme) == (till.contract, "ended", ANYTHING["code"])
