"""Expiring: what may no longer be presented, once, in events of at most a thousand."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from services.redeemer.cheques import expiring, intake
from services.redeemer.tasks import BEAT
from services.redeemer.transitions import CHEQUE
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
    assert expiring.expire(till.redeemer.runtime, day(1))[0] == 2

    assert [till.state(cheque) for cheque in (today, spendable, waiting)] == ["expired"] * 3
    assert [till.state(cheque) for cheque in (spent, blocked, cancelled)] == ["redeemed", "blocked", "cancelled"]
    assert [set(told["cheque_ids"]) for told in till.told("cheques.expired")] == [
        {waiting.id},
        {today.id, spendable.id},
    ]


def test_a_cheque_given_back_after_its_last_day_expires_at_the_next_tick(till: Till) -> None:
    [cheque] = till.issue(presentable_until=day(0), valid_until=day(0))
    redemption_id = till.present([cheque.code]).get_json()["redemptions"][0]["redemption_id"]
    assert expiring.expire(till.redeemer.runtime, day(1))[0] == 0
    till.reverse(redemption_id)
    assert till.state(cheque) == "spendable"

    assert expiring.expire(till.redeemer.runtime, day(1))[0] == 1
    assert till.check(cheque.code).get_json()["reason"] == "expired"


def test_thousands_expire_in_events_of_at_most_a_thousand(till: Till) -> None:
    till.issue(2001, valid_until=day(-5), presentable_until=day(-1))

    assert expiring.expire(till.redeemer.runtime)[0] == 2001
    assert sorted(len(told["cheque_ids"]) for told in till.told("cheques.expired")) == [1, 1000, 1000]


def rows_read(till: Till) -> int:
    """The number of cheques that a run reads to find those that are due."""
    query = f"EXPLAIN (ANALYZE, FORMAT JSON) {expiring.DUE}"
    states = CHEQUE.before("expired")
    [(plan,)] = till.rows(query, since=date.min, today=day(0), before=states)
    return sum(read(node) for node in [plan[0]["Plan"]])


def read(node: dict[str, Any]) -> int:
    own = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) if node.get("Relation Name") == "cheque" else 0
    return int(own + sum(read(child) for child in node.get("Plans", [])))


def test_what_expired_before_is_not_read_again(till: Till, owner: sa.Engine) -> None:
    till.issue(2000, valid_until=day(-9), presentable_until=day(-9))
    till.issue(300, valid_until=day(9), presentable_until=day(9))
    expiring.expire(till.redeemer.runtime)
    with owner.begin() as connection:
        connection.exec_driver_sql("ANALYZE redeemer.cheque")

    assert rows_read(till) == 0


@pytest.mark.parametrize("how", ["issued", "unblocked", "given back"])
def test_a_cheque_that_becomes_spendable_after_its_day_was_done_expires_all_the_same(till: Till, how: str) -> None:
    over: dict[str, Any] = {"valid_until": day(-5), "presentable_until": day(-1)}
    [cheque] = till.issue(presentable_until=day(0), valid_until=day(0))
    if how == "given back":
        redemption_id = till.present([cheque.code]).get_json()["redemptions"][0]["redemption_id"]
    elif how == "unblocked":
        till.tell("cheques.blocked", {"cheque_ids": [cheque.id], "reason": "lost"})
    expiring.expire(till.redeemer.runtime, day(1))

    if how == "given back":
        till.reverse(redemption_id)
    elif how == "unblocked":
        till.tell("cheques.unblocked", {"cheque_ids": [cheque.id], "reason": "found"})
    else:
        [cheque] = till.issue(**over)

    assert expiring.expire(till.redeemer.runtime, day(1)) == (1, False)
    assert till.state(cheque) == "expired"


def test_a_day_is_not_done_before_those_who_have_it_read_again_commit(till: Till) -> None:
    """What they change is not seen before, and must not be passed over for ever."""
    runtime = till.redeemer.runtime
    [cheque] = till.issue(presentable_until=day(-1), valid_until=day(-1))
    till.tell("cheques.blocked", {"cheque_ids": [cheque.id], "reason": "lost"})
    with ThreadPoolExecutor() as threads:
        with runtime.transaction() as session:
            intake.block(session, [cheque.id], False)
            run = threads.submit(expiring.expire, runtime)
            time.sleep(0.5)
            assert not run.done()
        run.result()
    expiring.expire(runtime)
    assert till.state(cheque) == "expired"


def test_a_run_that_is_out_of_time_leaves_the_rest_to_the_next(till: Till) -> None:
    till.issue(2500, valid_until=day(-5), presentable_until=day(-1))
    runtime = till.redeemer.runtime
    assert [expiring.expire(runtime, seconds=0) for _ in range(4)] == [
        (1000, True),
        (1000, True),
        (500, False),
        (0, False),
    ]


def test_it_is_done_every_hour() -> None:
    assert BEAT["expire"]["task"] == "redeemer.expire"
    assert BEAT["expire"]["schedule"] == 3600
