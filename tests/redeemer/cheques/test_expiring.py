"""Expiring: what may no longer be presented, once, in events of at most a thousand."""

from typing import Any

from services.redeemer.cheques import expiring
from services.redeemer.tasks import BEAT
from tests.redeemer.conftest import ANYTHING, Till, day


def test_what_may_no_longer_be_presented_expires_once(till: Till) -> None:
    last_day: dict[str, Any] = {"valid_until": day(-5), "presentable_until": day(0)}
    over: dict[str, Any] = {"valid_until": day(-5), "presentable_until": day(-1)}
    [today], [spendable, spent, blocked, cancelled] = till.issue(**last_day), till.issue(4, **last_day)
    [waiting] = till.issue(1, {**ANYTHING, "spendable": "on_registration"}, **over)
    till.present([spent.code], given_on=day(-6))
    till.tell("cheques.blocked", {"cheque_ids": [blocked.id], "reason": "lost"})
    body = {"cancellation_id": spendable.id, "cheque_ids": [cancelled.id], "reason": "returned"}
    till.tell("cancellation.requested", body)

    answers = [till.post("/v1/expiries", "operations").get_json() for _ in range(2)]
    assert answers == [{"expired": 1}, {"expired": 0}]
    assert expiring.expire(till.redeemer.runtime, day(1)) == 2

    assert [till.state(cheque) for cheque in (today, spendable, waiting)] == ["expired"] * 3
    assert [till.state(cheque) for cheque in (spent, blocked, cancelled)] == ["redeemed", "blocked", "cancelled"]
    assert [set(told["cheque_ids"]) for told in till.told("cheques.expired")] == [
        {waiting.id},
        {today.id, spendable.id},
    ]


def test_a_cheque_given_back_after_its_last_day_expires_at_the_next_tick(till: Till) -> None:
    [cheque] = till.issue(presentable_until=day(0), valid_until=day(0))
    redemption_id = till.present([cheque.code]).get_json()["redemptions"][0]["redemption_id"]
    assert expiring.expire(till.redeemer.runtime, day(1)) == 0
    till.reverse(redemption_id)
    assert till.state(cheque) == "spendable"

    assert expiring.expire(till.redeemer.runtime, day(1)) == 1
    assert till.check(cheque.code).get_json()["reason"] == "expired"


def test_thousands_expire_in_events_of_at_most_a_thousand(till: Till) -> None:
    till.issue(2001, valid_until=day(-5), presentable_until=day(-1))

    assert expiring.expire(till.redeemer.runtime) == 2001
    assert sorted(len(told["cheque_ids"]) for told in till.told("cheques.expired")) == [1, 1000, 1000]


def test_it_is_done_every_hour() -> None:
    assert BEAT["expire"]["task"] == "redeemer.expire"
    assert BEAT["expire"]["schedule"] == 3600
