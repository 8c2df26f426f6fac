"""Many tills at the same instant, against a real PostgreSQL: a cheque pays at most once."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa

from demo.stack.embedded import EmbeddedPostgres
from services.redeemer import create_app
from services.redeemer.cheques import expiring
from shared.settings import settings as config
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.redeemer.conftest import Cheque, Till, day

TILLS = 50
PATIENCE_SECONDS = 20


@pytest.fixture
def many(till: Till) -> Iterator[Till]:
    """The same redeemer with a connection for every till, so that none waits for another before the database."""
    under_test = till.redeemer
    settings = config.load("redeemer", {**under_test.environ, "DATABASE_POOL_SIZE": str(TILLS)})
    wide = ServiceUnderTest(create_app(settings), settings, under_test.signer, under_test.environ)
    yield Till(wide, till.contract, till.structure)
    wide.runtime.engine.dispose()


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of calls that are all made at the same instant, each on a thread of its own."""
    barrier = threading.Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        barrier.wait()
        return one()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, calls))


def until_waiting(owner: sa.Engine, number: int) -> None:
    """Returns when so many sessions wait for a lock."""
    query = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    deadline = time.monotonic() + PATIENCE_SECONDS
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.execute(query).scalar_one() < number:
            assert time.monotonic() < deadline, "they do not all wait"
            time.sleep(0.02)


@contextmanager
def held(owner: sa.Engine, cheque: Cheque) -> Iterator[sa.Connection]:
    """Holds a cheque, so that all who want it wait, each with a snapshot from before the first of them had it."""
    with owner.begin() as connection:
        connection.exec_driver_sql("SET LOCAL search_path = redeemer")
        connection.execute(sa.text("SELECT FROM cheque WHERE id = :id FOR UPDATE"), {"id": cheque.id})
        yield connection


def present_while_held(owner: sa.Engine, cheque: Cheque, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of calls that all wait for the same cheque and are let go together."""
    with ThreadPoolExecutor(len(calls)) as threads:
        with held(owner, cheque):
            waiting = [threads.submit(call) for call in calls]
            until_waiting(owner, len(calls))
        return [one.result() for one in waiting]


def deadlocks(postgres: EmbeddedPostgres) -> int:
    return (postgres.directory / "postgres.log").read_text().count("deadlock detected")


def test_a_cheque_presented_by_fifty_tills_at_once_pays_one(many: Till, owner: sa.Engine) -> None:
    structures = [many.structure, *(many.affiliated(f"till {number}") for number in range(TILLS - 1))]
    [cheque] = many.issue()

    def present_at(structure: UUID) -> Callable[[], Any]:
        return lambda: many.present([cheque.code], structure=structure)

    answers = present_while_held(owner, cheque, [present_at(structure) for structure in structures])

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: TILLS - 1}
    refusals = [answer.get_json()["refusals"] for answer in answers if answer.status_code == 409]
    assert {refusal["reason"] for [refusal] in refusals} == {"already-redeemed"}
    redeemed_at = next(answer for answer in answers if answer.status_code == 201).get_json()["redeemed_at"]
    assert {refusal["redeemed_at"] for [refusal] in refusals} == {redeemed_at}
    assert len(many.rows("SELECT FROM redemption")) == len(many.told("cheques.redeemed")) == 1


def test_the_same_race_run_by_tills_that_look_before_they_spend_pays_all(many: Till, owner: sa.Engine) -> None:
    """The negative control: were the statement naive, the test above would see it."""
    [cheque] = many.issue()

    def look_then_spend() -> bool:
        with many.redeemer.runtime.engine.begin() as connection:
            look = sa.text("SELECT state = 'spendable' FROM cheque WHERE id = :id")
            spend = sa.text("UPDATE cheque SET ending = 'redeemed', redeemed_at = now() WHERE id = :id")
            spendable = connection.execute(look, {"id": cheque.id}).scalar_one()
            return bool(spendable and connection.execute(spend, {"id": cheque.id}).rowcount)

    paid = present_while_held(owner, cheque, [look_then_spend] * TILLS)

    assert sum(paid) == TILLS


def test_a_second_live_redemption_of_a_cheque_cannot_even_be_written(many: Till) -> None:
    [cheque] = many.issue()
    many.present([cheque.code])
    again = """
        INSERT INTO redemption
        SELECT (jsonb_populate_record(redemption, jsonb_build_object('id', gen_random_uuid()))).* FROM redemption
    """
    engine = many.redeemer.runtime.engine
    with pytest.raises(sa.exc.IntegrityError) as refused, engine.begin() as connection:
        connection.exec_driver_sql(again)
    assert isinstance(refused.value.orig, psycopg.errors.UniqueViolation)


def test_overlapping_sets_in_any_order_never_wait_in_a_circle(many: Till, postgres: EmbeddedPostgres) -> None:
    before, chance = deadlocks(postgres), random.Random(1)
    cheques = many.issue(40)

    def present_some(seed: int) -> Callable[[], int]:
        order = random.Random(seed)
        sets = [order.sample(cheques, 6) for _ in range(8)]
        return lambda: sum(
            len(answer.get_json()["redemptions"])
            for answer in (many.present([cheque.code for cheque in some]) for some in sets)
            if answer.status_code == 201
        )

    taken = at_once([present_some(chance.randrange(10**9)) for _ in range(12)])

    assert deadlocks(postgres) == before
    assert sum(taken) == sum(many.state(cheque) == "redeemed" for cheque in cheques)
    assert sum(taken) == len(many.rows("SELECT FROM redemption")) > 0
    assert sum(taken) == sum(len(told["redemptions"]) for told in many.told("cheques.redeemed"))


def test_a_till_that_is_sacrificed_to_end_a_deadlock_tries_again(
    many: Till, owner: sa.Engine, postgres: EmbeddedPostgres
) -> None:
    """Tills never wait in a circle among themselves; a reader of news, with many cheques in hand, may close one."""
    before = deadlocks(postgres)

    def sacrifice() -> bool:
        first, second = sorted(many.issue(2), key=lambda cheque: cheque.id)
        with ThreadPoolExecutor() as threads:
            try:
                with held(owner, second) as connection:
                    waiting = threads.submit(many.present, [first.code, second.code])
                    until_waiting(owner, 1)
                    connection.execute(sa.text("SELECT FROM cheque WHERE id = :id FOR UPDATE"), {"id": first.id})
            except sa.exc.OperationalError:  # the till had waited for so long that the reader was sacrificed instead
                return False
            assert waiting.result().status_code == 201
            return True

    assert any(sacrifice() for _ in range(5))
    assert deadlocks(postgres) > before


def test_one_request_sent_many_times_at_once_has_one_effect_and_one_answer(many: Till) -> None:
    for cheques in [many.issue(3) for _ in range(10)]:
        codes, key = [cheque.code for cheque in cheques], str(new_id())

        answers = at_once([lambda codes=codes, key=key: many.present(codes, key=key)] * 12)  # type: ignore[misc]

        kinds = Counter(answer.get_json().get("type", "redeemed") for answer in answers)
        assert set(kinds) <= {"redeemed", "urn:souche:request-in-hand"}
        assert len({answer.data for answer in answers if answer.status_code == 201}) == 1
    assert len(many.rows("SELECT FROM presentation")) == 10


def test_a_request_whose_twin_is_in_hand_is_told_to_wait(many: Till, owner: sa.Engine) -> None:
    [cheque] = many.issue()
    with ThreadPoolExecutor() as threads:
        with held(owner, cheque):
            first = threads.submit(many.present, [cheque.code], key="k")
            until_waiting(owner, 1)
            second = many.present([cheque.code], key="k")
        assert first.result().status_code == 201
    assert (second.status_code, second.get_json()["type"]) == (409, "urn:souche:request-in-hand")
    assert many.present([cheque.code], key="k").data == first.result().data


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [("active = false", "active = true"), ("blocked = true", "blocked = false")],
    ids=["registered", "unblocked"],
)
def test_a_cheque_that_became_spendable_while_a_till_waited_is_spent_by_it(
    before: str, meanwhile: str, many: Till, owner: sa.Engine
) -> None:
    """In the till's snapshot it was not spendable: what counts is the row that it locked."""
    [cheque] = many.issue()
    with owner.begin() as connection:
        connection.execute(sa.text(f"UPDATE redeemer.cheque SET {before} WHERE id = :id"), {"id": cheque.id})
    with ThreadPoolExecutor() as threads:
        with held(owner, cheque) as connection:
            waiting = threads.submit(many.present, [cheque.code])
            until_waiting(owner, 1)
            connection.execute(sa.text(f"UPDATE cheque SET {meanwhile} WHERE id = :id"), {"id": cheque.id})
        assert waiting.result().status_code == 201
    assert many.state(cheque) == "redeemed"
    assert many.present([cheque.code]).get_json()["refusals"][0]["reason"] == "already-redeemed"


def test_a_cheque_that_was_spent_and_given_back_while_a_till_waited_is_taken_by_it(
    many: Till, owner: sa.Engine
) -> None:
    """Its row has changed twice since the till's snapshot: the till spends it as it stands now."""
    [cheque] = many.issue()
    redemption_id = many.present([cheque.code]).get_json()["redemptions"][0]["redemption_id"]
    with ThreadPoolExecutor() as threads:
        with held(owner, cheque) as connection:
            waiting = threads.submit(many.present, [cheque.code])
            until_waiting(owner, 1)
            take_back = "UPDATE redemption SET reversed_at = now(), reversal_reason = 'mistake' WHERE id = :id"
            connection.execute(sa.text(take_back), {"id": redemption_id})
            free = "UPDATE cheque SET ending = NULL, redeemed_at = NULL WHERE id = :id"
            connection.execute(sa.text(free), {"id": cheque.id})
        assert waiting.result().status_code == 201
    assert many.state(cheque) == "redeemed"
    assert len(many.rows("SELECT FROM redemption WHERE reversed_at IS NULL")) == 1


def test_of_all_who_want_a_cheque_at_once_exactly_one_has_it(many: Till, owner: sa.Engine) -> None:
    """Two tills, an operator's report, a cancellation and expiry race for each of these cheques, in pairs or more."""
    cheques = many.issue(30, valid_until=day(0), presentable_until=day(0))
    ids = [cheque.id for cheque in cheques]

    def present() -> None:
        for cheque in cheques:
            many.present([cheque.code])

    def report() -> None:
        for cheque in reversed(cheques):
            many.tell("redemption.reported", many.reported(cheque))

    def cancel() -> None:
        for cheque_id in random.Random(3).sample(ids, 20):
            many.tell("cancellation.requested", {"cancellation_id": new_id(), "cheque_ids": [cheque_id], "reason": "x"})

    def expire() -> None:
        time.sleep(0.1)
        expiring.expire(many.redeemer.runtime, day(1))

    at_once([present, present, report, cancel, expire])

    states = Counter(many.state(cheque) for cheque in cheques)
    assert set(states) <= {"redeemed", "cancelled", "expired"}
    assert sum(states.values()) == len(cheques)
    assert len(many.rows("SELECT FROM redemption")) == states["redeemed"]
    assert len(many.told("cheques.redeemed")) == states["redeemed"]
    assert sum(len(told["cheque_ids"]) for told in many.told("cheques.cancelled")) == states["cancelled"]
    assert sum(len(told["cheque_ids"]) for told in many.told("cheques.expired")) == states["expired"]
