"""Grants at the same instant: no envelope is overdrawn, none is left unused, nobody waits without need."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import pytest
import sqlalchemy as sa

from services.issuer import create_app
from services.issuer.funding import envelopes
from services.issuer.funding.models import EnvelopeMovement
from services.issuer.grants import granting
from services.issuer.grants.issuing import IssuedGrant, Secrets
from services.issuer.grants.requests import GrantRequest
from shared.problems import Problem
from tests.harness import ServiceUnderTest
from tests.issuer.office import ALICE, Office, problem

THREADS = 40
T = TypeVar("T")


def at_once(threads: int, action: Callable[[int], T]) -> list[T]:
    """What an action gave in each of so many threads that began together."""
    start = threading.Barrier(threads)

    def run(number: int) -> T:
        start.wait()
        return action(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


@pytest.fixture
def wide(issuer: ServiceUnderTest) -> Iterator[Office]:
    """An office whose service has a connection for every thread."""
    app = create_app(replace(issuer.settings, pool_size=THREADS))
    office = Office(replace(issuer, app=app))
    office.programme()
    yield office
    office.service.runtime.engine.dispose()


def grant(office: Office, **changes: Any) -> IssuedGrant | Problem:
    """A grant of 50 €, straight through the use case."""
    request = GrantRequest(office.prescriber, "pass", amount_cents=5000, reason="?", **changes)
    try:
        with office.service.runtime.transaction() as session:
            return granting.grant(session, Secrets.of(office.service.settings.keys), request)
    except Problem as refusal:
        return refusal


def test_forty_threads_exhaust_the_envelopes_to_the_last_cent(wide: Office) -> None:
    for number in range(4):  # 4 × 205 €: the 5 € left in each are less than a cheque; 80 cheques are 16 grants
        wide.envelope(20_500, priority=number)
    assert wide.prescriber

    def until_refused(_: int) -> list[IssuedGrant | Problem]:
        answers = [grant(wide)]
        while isinstance(answers[-1], IssuedGrant):
            answers.append(grant(wide))
        return answers

    answers = [answer for batch in at_once(THREADS, until_refused) for answer in batch]
    granted = [answer for answer in answers if isinstance(answer, IssuedGrant)]
    refused = [answer for answer in answers if isinstance(answer, Problem)]
    assert len(granted) == 16
    assert wide.engaged() == [20_000] * 4
    charged = Counter(cheque.envelope_id for answer in granted for cheque in answer.cheques)
    assert sorted(charged.values()) == [20] * 4
    assert len(refused) == THREADS
    assert {(problem.slug, problem.members["available_cents"]) for problem in refused} == {("envelope-exhausted", 2000)}


def test_forty_threads_charge_exactly_the_amount_of_one_envelope(wide: Office) -> None:
    wide.envelope(150_000)
    assert wide.prescriber
    answers = at_once(THREADS, lambda _: grant(wide))
    assert [type(answer) for answer in answers].count(IssuedGrant) == 30
    assert wide.engaged() == [150_000]
    assert len(wide.events("cheques.issued")) == 30


def test_a_grant_does_not_wait_for_an_envelope_that_it_does_not_touch(office: Office) -> None:
    held = office.envelope(100_000, target_publics=["seniors"])
    office.envelope(100_000, target_publics=["jeunes"])
    assert office.prescriber
    with _locked(office, "envelope", held):
        assert isinstance(grant(office, target_public="jeunes"), IssuedGrant)
    assert office.engaged() == [0, 5000]


def test_an_envelope_that_is_written_is_planned_with_all_the_same(office: Office) -> None:
    """Only the charge itself waits: until then nothing is locked, so both get their turn."""
    held = office.envelope(100_000)
    assert office.prescriber
    with ThreadPoolExecutor(1) as pool:
        with _locked(office, "envelope", held):
            waiting = pool.submit(grant, office)
            _wait_for_a_lock(office)
        assert isinstance(waiting.result(), IssuedGrant)


def test_money_taken_between_plan_and_charge_is_looked_for_elsewhere(office: Office) -> None:
    first, second = office.envelope(5_000, priority=1), office.envelope(5_000, priority=2)
    assert office.prescriber
    with ThreadPoolExecutor(1) as pool:
        with office.service.runtime.engine.begin() as other:
            _engage(other, first, 5_000)
            waiting = pool.submit(grant, office)
            _wait_for_a_lock(office)
        granted = waiting.result()
    assert isinstance(granted, IssuedGrant)
    assert {str(cheque.envelope_id) for cheque in granted.cheques} == {second}
    assert len(office.events("cheques.issued")) == 1


def test_a_grant_that_meets_another_crosswise_is_made_after_it(office: Office) -> None:
    """Another transaction has the second envelope and waits for the first, which the grant has: one must give way."""
    first, second = office.envelope(2_000, priority=1), office.envelope(100_000, priority=2)
    assert office.prescriber
    with ThreadPoolExecutor(1) as pool:
        with office.service.runtime.engine.connect() as other:
            _engage(other, second, 1_000)
            waiting = pool.submit(grant, office)
            _wait_for_a_lock(office)
            # PostgreSQL chooses, and where all is slow it may have looked at the grant before the two met.
            with suppress(sa.exc.OperationalError):
                _engage(other, first, 1_000)
                other.commit()
        assert isinstance(waiting.result(), IssuedGrant)
    assert office.engaged() in ([2_000, 5_000], [2_000, 3_000])


def test_grants_that_race_at_the_last_cheques_with_lowering_the_envelope_never_overdraw_it(wide: Office) -> None:
    """Of 100 €, two grants want 50 € each and the finance team wants 50 € back: two of the three have their way."""
    assert wide.prescriber
    for _ in range(12):
        envelope = wide.envelope(10_000)
        answers = at_once(3, partial(_lower_or_grant, wide, envelope))
        kept = [not isinstance(answer, Problem) for answer in answers]
        assert sum(kept) == 2
        assert {answer.slug for answer in answers if isinstance(answer, Problem)} <= {
            "amount-engaged",
            "envelope-exhausted",
        }
        [shown] = [item for item in _envelopes(wide) if item["envelope_id"] == envelope]
        assert (shown["amount_cents"], shown["available_cents"]) == (5_000 if kept[2] else 10_000, 0)


def test_a_grant_that_waited_while_its_envelope_was_closed_is_charged_elsewhere(office: Office) -> None:
    first, second = office.envelope(5_000, priority=1), office.envelope(5_000, priority=2)
    assert office.prescriber
    with ThreadPoolExecutor(1) as pool:
        with office.service.runtime.transaction() as session:
            envelopes.close(session, UUID(first), "?", "test")
            waiting = pool.submit(grant, office)
            _wait_for_a_lock(office)
        granted = waiting.result()
    assert isinstance(granted, IssuedGrant)
    assert {str(cheque.envelope_id) for cheque in granted.cheques} == {second}


def test_envelopes_added_at_once_hold_no_more_than_their_convention_grants(wide: Office) -> None:
    convention = wide.convention()
    terms = {"programme": "pass", "convention_id": convention, "amount_cents": 30_000}
    answers = at_once(8, lambda _: wide.post("/v1/envelopes", terms))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5


def test_envelopes_that_name_a_new_convention_at_once_make_one(wide: Office) -> None:
    at_once(8, lambda _: wide.envelope(5_000))
    assert len(wide.made(wide.get("/v1/conventions"), 200)["items"]) == 1


def _lower_or_grant(office: Office, envelope: str, number: int) -> EnvelopeMovement | IssuedGrant | Problem:
    if number < 2:
        return grant(office)
    try:
        with office.service.runtime.transaction() as session:
            return envelopes.set_amount(session, UUID(envelope), 5_000, "?", "test")
    except Problem as refusal:
        return refusal


def _envelopes(office: Office) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = office.made(office.get("/v1/envelopes"), 200)["items"]
    return found


def test_two_grants_to_one_person_at_once_are_counted_one_after_the_other(wide: Office) -> None:
    wide.envelope(1_000_000)
    assert wide.prescriber
    answers = at_once(8, lambda _: wide.grant(beneficiary=ALICE)["previous_grants"])
    assert sorted(answers) == list(range(8))


def test_one_key_in_two_threads_is_one_grant(wide: Office) -> None:
    wide.envelope(100_000)
    assert wide.prescriber
    answers = at_once(2, lambda _: wide.ask(key="same"))
    good = [answer for answer in answers if answer.status_code == 201]
    assert good
    assert all(problem(answer) == (409, "request-in-hand") for answer in answers if answer not in good)
    assert len({answer.data for answer in good}) == 1
    assert wide.engaged() == [5000]


def test_one_reference_in_many_threads_is_one_grant(wide: Office) -> None:
    wide.envelope(100_000)
    assert wide.prescriber
    answers = at_once(8, lambda _: wide.grant(reference="dossier"))
    assert sorted(answer["already"] for answer in answers) == [False] + [True] * 7
    assert len({answer["grant_id"] for answer in answers}) == 1
    assert wide.engaged() == [5000]


@contextmanager
def _locked(office: Office, table: str, row: str) -> Iterator[None]:
    """Another transaction holds a row as firmly as can be."""
    with office.service.runtime.engine.begin() as other:
        other.execute(sa.text(f"SELECT FROM {table} WHERE id = :id FOR UPDATE"), {"id": row})
        yield


def _engage(connection: sa.Connection, envelope: str, cents: int) -> None:
    statement = sa.text("UPDATE envelope SET engaged_cents = engaged_cents + :cents WHERE id = :id")
    connection.execute(statement, {"cents": cents, "id": envelope})


def _wait_for_a_lock(office: Office) -> None:
    """Returns when some transaction of the service waits for another."""
    waits = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    pause = threading.Event()
    for _ in range(500):
        with office.service.runtime.engine.connect() as connection:
            if connection.execute(waits).scalar_one():
                return
        pause.wait(0.01)
    raise AssertionError("nothing waits")
