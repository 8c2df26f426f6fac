"""Presentations of strangers in one statement: each is judged and kept by itself, as if it had come alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import permutations
from random import Random
from uuid import UUID

import pytest
import sqlalchemy as sa
from psycopg.errors import LockNotAvailable

from services.redeemer.redemptions import eligibility, redeeming
from services.redeemer.redemptions.lockout import Guesser
from services.redeemer.redemptions.redeeming import Attempt, Outcome, Request
from shared.audit import trail
from shared.audit.trail import Act
from shared.values import cheque_code
from shared.values.ids import new_id
from tests.redeemer.conftest import ANYTHING, Till, day


def attempt(till: Till, codes: Sequence[str], structure: UUID | None = None, key: str = "", who: str = "a") -> Attempt:
    """A presentation on its way, of a till of this name."""
    at = structure or till.structure
    workshop = eligibility.workshop(None, None, None)
    request = Request(Guesser(at, "192.0.2.1"), key or str(new_id()), who.encode(), eligibility.read(codes), workshop)
    with trail.acting(Act("structure", who, "POST /v1/redemptions", at, "192.0.2.1", f"request of {who}")):
        return Attempt.of(request, [*till.redeemer.settings.keys["CODE_DIGEST_KEY"].values()])


def verdicts(outcome: Outcome | None) -> list[str | None] | None:
    return [line.verdict for line in outcome.lines] if outcome else None


@pytest.fixture
def kinds(till: Till) -> dict[str, tuple[Attempt, list[str | None]]]:
    """A presentation of each kind, and what is to come of it."""
    good, bad, blocked, foreign, another, shut = till.issue(6)
    [elsewhere] = till.issue(programme={**ANYTHING, "code": "other"})
    till.tell("cheques.blocked", {"cheque_ids": [blocked.id], "reason": "lost"})
    till.redeemer.runtime.engine.dispose()
    second, stranger, suspended = till.affiliated("s2"), till.add_structure("s3"), till.affiliated("s4")
    till.post(f"/v1/structures/{suspended}/suspension", "admin", {"reason": "doubt"})
    spent = till.issue()[0]
    till.present([spent.code])
    return {
        "good": (attempt(till, [good.code], second, who="b"), [None]),
        "two": (attempt(till, [cheque.code for cheque in till.issue(2)], who="c"), [None, None]),
        "one of two": (attempt(till, [bad.code, blocked.code]), [None, "blocked"]),
        "unknown": (attempt(till, [cheque_code.generate()]), ["unknown-code"]),
        "typing error": (attempt(till, ["0000"]), ["unknown-code"]),
        "not taken here": (attempt(till, [elsewhere.code]), ["unknown-code"]),
        "stranger": (attempt(till, [foreign.code], stranger), ["structure-not-affiliated"]),
        "suspended": (attempt(till, [shut.code], suspended), ["suspended"]),
        "spent": (attempt(till, [spent.code]), ["already-redeemed"]),
        "another": (attempt(till, [another.code], who="d"), [None]),
    }


def test_each_is_judged_by_itself_whoever_it_goes_with(
    till: Till, kinds: dict[str, tuple[Attempt, list[str | None]]]
) -> None:
    names = list(kinds)
    Random(1).shuffle(names)

    outcomes = redeeming.together(till.redeemer.runtime, [kinds[name][0] for name in names])

    assert {name: verdicts(outcome) for name, outcome in zip(names, outcomes, strict=True)} == {
        name: expected for name, (_, expected) in kinds.items()
    }
    done = {name for name, outcome in zip(names, outcomes, strict=True) if outcome and outcome.lines[0].done}
    assert done == {"good", "two", "another"}


def test_each_leaves_what_it_would_have_left_alone(
    till: Till, kinds: dict[str, tuple[Attempt, list[str | None]]]
) -> None:
    before = len(till.told("cheques.redeemed"))
    redeeming.together(till.redeemer.runtime, [each for each, _ in kinds.values()])

    events = {body["presentation_id"]: body for body in till.told("cheques.redeemed")[before:]}
    assert len(events) == 3
    for name in ("good", "two", "another"):
        one = kinds[name][0]
        body = events[one.presentation_id]
        assert body["structure_id"] == one.request.guesser.structure_id
        assert [line["redemption_id"] for line in body["redemptions"]] == list(one.redemption_ids)
        query = "SELECT * FROM audit_entry WHERE object_id = :id"
        [entry] = till.rows(query, id=str(one.presentation_id))
        assert (entry.subject, entry.scope) == (one.act["subject"], one.request.guesser.structure_id)
        assert entry.request_id == f"request of {entry.subject}"
        assert entry.after == {"redemptions": len(one.redemption_ids), "amount_cents": 1000 * len(one.redemption_ids)}
        [event] = till.rows("SELECT request_id FROM event WHERE key = :id", id=str(one.presentation_id))
        assert event.request_id == entry.request_id
        [kept] = till.rows("SELECT * FROM presentation WHERE id = :id", id=one.presentation_id)
        assert (kept.key, bytes(kept.request_digest)) == (one.request.key, one.request.digest)
        assert kept.structure_id == one.request.guesser.structure_id
    spent = till.rows("SELECT cheque_id FROM redemption WHERE presentation_id = ANY(:ids)", ids=list(events))
    assert len(spent) == len({row.cheque_id for row in spent}) == 4


def test_two_who_want_the_same_cheque_never_go_together(till: Till) -> None:
    first, second, third = till.issue(3)
    wanted = [[first.code, second.code], [second.code, third.code], [third.code]]
    other = till.affiliated("s2")

    outcomes = redeeming.together(
        till.redeemer.runtime,
        [attempt(till, codes, [till.structure, other][index % 2]) for index, codes in enumerate(wanted)],
    )

    assert [verdicts(outcome) for outcome in outcomes] == [[None, None], None, [None]]
    assert len(till.rows("SELECT FROM redemption")) == 3


def test_two_with_the_same_key_never_go_together(till: Till) -> None:
    first, second = till.issue(2)
    pair = [attempt(till, [first.code], key="k"), attempt(till, [second.code], key="k")]
    outcomes = redeeming.together(till.redeemer.runtime, pair)
    assert [verdicts(outcome) for outcome in outcomes] == [[None], None]


def test_who_is_locked_out_takes_nobody_with_it(till: Till) -> None:
    good, mine = till.issue(2)
    guesser = till.affiliated("guesser")
    with till.redeemer.runtime.engine.begin() as connection:
        locked = "INSERT INTO guessing (who, scope, clear_at, locked_until) VALUES (:who, 'structure', now(), :until)"
        connection.execute(sa.text(locked), {"who": f"structure {guesser}", "until": day(2)})
    pair = [attempt(till, [mine.code], guesser), attempt(till, [good.code])]

    barred, free = redeeming.together(till.redeemer.runtime, pair)

    assert barred
    assert free
    assert barred.lines[0].locked_out_until
    assert (barred.lines[0].done, free.lines[0].done) == (False, True)
    assert (till.state(mine), till.state(good)) == ("spendable", "redeemed")


@contextmanager
def held(owner: sa.Engine, query: str, **values: object) -> Iterator[None]:
    with owner.begin() as connection:
        connection.exec_driver_sql("SET LOCAL search_path = redeemer")
        connection.execute(sa.text(query), values)
        yield


def test_nobody_waits_for_the_cheque_of_a_stranger(till: Till, owner: sa.Engine) -> None:
    good, contested = till.issue(2)
    pair = [attempt(till, [good.code]), attempt(till, [contested.code])]
    with held(owner, "SELECT FROM cheque WHERE id = :id FOR UPDATE", id=contested.id):
        with pytest.raises(LockNotAvailable, match="could not obtain lock"):  # and not after a timeout
            redeeming.together(till.redeemer.runtime, pair)
        assert till.present([good.code]).status_code == 201
    assert till.rows("SELECT FROM redemption") == [()]


def test_whose_twin_is_in_hand_is_told_so_and_the_others_are_served(till: Till, owner: sa.Engine) -> None:
    good, mine = till.issue(2)
    pair = [attempt(till, [mine.code], key="k"), attempt(till, [good.code])]
    twin = "SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))"
    with held(owner, twin, lock=f"{till.structure} k"):
        waiting, free = redeeming.together(till.redeemer.runtime, pair)
    assert waiting
    assert free
    assert [(line.has_key, line.done) for line in (waiting.lines[0], free.lines[0])] == [(False, False), (True, True)]


def test_a_repeat_among_others_changes_nothing_and_spoils_nothing(till: Till) -> None:
    first, second = till.issue(2)
    assert till.present([first.code], key="k").status_code == 201
    repeat, fresh = redeeming.together(
        till.redeemer.runtime, [attempt(till, [first.code], key="k"), attempt(till, [second.code])]
    )
    assert repeat
    assert fresh
    assert (repeat.lines[0].done, fresh.lines[0].done) == (False, True)
    assert len(till.rows("SELECT FROM redemption")) == 2


def test_the_order_in_which_they_stand_decides_nothing(till: Till) -> None:
    for order in permutations(range(3)):
        cheques = till.issue(3)
        attempts = [attempt(till, [cheques[index].code], who=f"till {index}") for index in order]
        outcomes = redeeming.together(till.redeemer.runtime, attempts)
        assert [outcome.lines[0].cheque_id for outcome in outcomes if outcome] == [cheques[index].id for index in order]
