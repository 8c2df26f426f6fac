"""Random faults under load: whatever was answered 201 is there once, whatever was refused left nothing.

`make test-faults` plays the plans that FAULT_SEEDS names; a seed plays the same plan again.
"""

import heapq
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from demo.acts import settling
from tests.faults import ground, judge
from tests.faults.figures import Figures, Played
from tests.faults.ground import Field
from tests.faults.injuries import INJURIES
from tests.faults.load import Load
from tests.faults.plan import Plan, Planned, plans
from tests.faults.record import Entry, Record
from tests.faults.town import Silent, eventually
from tests.faults.watching import Watch

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
REPORT = Path(os.environ.get("FAULT_REPORT", "build/faults.json"))
LULL_SECONDS = 3.0
READY_SECONDS = 120.0
# A worker with nothing to do looks at no clock, an operator with nothing to say sends nothing: then it lasts longer.
SHOWS_SECONDS = 20.0


class Grounds:
    """The town that the plans are played in, one after the other; a new one after a plan that failed."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._field: Field | None = None
        self.whole = False

    def field(self) -> Field:
        """A town that is whole."""
        if self._field is None or not self.whole:
            self.close()
            self._field = self._open.enter_context(ground.field_())
            self.whole = True
        return self._field

    def close(self) -> None:
        """Ends the town."""
        self._field = None
        self._open.close()


@pytest.fixture(scope="module")
def grounds() -> Iterator[Grounds]:
    made = Grounds()
    yield made
    made.close()


@pytest.fixture
def field_(grounds: Grounds) -> Field:
    return grounds.field()


@pytest.fixture
def owner(field_: Field) -> Iterator[sa.Engine]:
    engine = sa.create_engine(field_.town.stack.environ["DATABASE_URL"], poolclass=sa.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def figures() -> Figures:
    return Figures()


@pytest.mark.parametrize("plan", plans(os.environ.get("FAULT_SEEDS", "1-20")), ids=lambda plan: plan.name)
def test_faults_at_random_moments_lose_and_double_nothing(
    grounds: Grounds, field_: Field, owner: sa.Engine, figures: Figures, plan: Plan
) -> None:
    grounds.whole = False
    try:
        _play(field_, owner, figures, plan)
        grounds.whole = True
    except BaseException as error:
        figures.failed[plan.name] = f"{type(error).__name__}: {error}"
        raise
    finally:
        figures.write(REPORT)


def _play(at: Field, owner: sa.Engine, figures: Figures, plan: Plan) -> None:
    load = Load(at.town.year, at.operator_address, plan.name)
    watch = Watch(at.town.stack.environ["DATABASE_URL"])
    restarts = at.restarts()
    with watch.watching():
        with load.flowing() as record:
            assert eventually(lambda: all(record.of(kind, "done") for kind in ("redeem", "spend at the operator")))
            played = _injure(at, plan.injuries, watch)
            assert eventually(at.town.serves, READY_SECONDS)
            time.sleep(LULL_SECONDS)
        settling.settle(at.town.year, Silent())
        time.sleep(0.5)
    _have_paid(at, owner)
    figures.add_waits(watch.waits)
    agree = settling.compare(at.town.year, at.town.year.contract_id, Silent())
    at.town.assert_balanced()
    lost = judge.losses(record, owner)
    record.counted["restarts"] = at.restarts() - restarts
    figures.add(plan.name, played, record, len(lost))
    assert lost == []
    assert agree == 0
    assert [each.planned.name for each in played if not each.showed] == []
    assert record.counted["restarts"] == 0, "a worker ended by itself: see its log"


def _have_paid(at: Field, owner: sa.Engine) -> None:
    """Has the operator pay all that it owes, and tell of it twice and shuffled: each payment counts once."""

    def paid() -> int:
        with owner.connect() as connection:
            query = "SELECT count(*) FROM redeemer.redemption WHERE state = 'paid'"
            return int(connection.execute(sa.text(query)).scalar_one())

    before = paid()
    at.disturb_webhooks()
    due = at.town.year.calls.post_to(f"{at.operator_address}/admin/payments", {}, expected=200)["redemptions"]
    assert eventually(lambda: paid() == before + due), (before, due, paid())
    at.leave_webhooks_alone()
    settling.settle(at.town.year, Silent())


def _injure(at: Field, planned: Sequence[Planned], watch: Watch) -> list[Played]:
    """Does what the plan says, at its moments; gives each injury with when it began and ended.

    One that does not show when it should end goes on for a while, and the others go on meanwhile.
    """
    start = time.monotonic()
    begun: dict[Planned, float] = {}
    played = []
    turns = [(each.begins, number, each) for number, each in enumerate(planned)]
    heapq.heapify(turns)
    while turns:
        moment, number, each = heapq.heappop(turns)
        time.sleep(max(0.0, start + moment - time.monotonic()))
        if each not in begun:
            begun[each] = time.monotonic()
            INJURIES[each.name].begin(at)
            heapq.heappush(turns, (each.ends, number, each))
            continue
        showed = INJURIES[each.name].shows(at)
        if not showed and moment < each.ends + SHOWS_SECONDS:
            heapq.heappush(turns, (time.monotonic() - start + 0.5, number, each))
            continue
        INJURIES[each.name].end(at)
        played.append(Played(each, begun[each], time.monotonic(), showed))
        watch.begin(each.name)
    return played


def test_the_judge_sees_what_is_missing_what_is_too_much_and_what_is_there_by_half(
    field_: Field, owner: sa.Engine
) -> None:
    load = Load(field_.town.year, field_.operator_address, "judged")
    with load.flowing() as record:
        time.sleep(LULL_SECONDS)
        done = eventually(lambda: bool(record.of("redeem", "done") and record.of("replace", "done")))
        assert done, Counter((each.kind, each.outcome) for each in record.entries)
    settling.settle(field_.town.year, Silent())
    assert judge.losses(record, owner) == []
    made = {kind: record.of(kind, "done")[0] for kind in ("grant", "redeem", "replace")}
    cheque = next(iter(record.cheques))
    lies = [
        Entry("grant", "", "done", {"grant_id": "nowhere", "cheques": []}, subject="never made"),
        Entry("grant", "", "done", made["grant"].answer | {"cheques": []}, subject=made["grant"].subject),
        Entry("grant", "", "refused", {}, subject=made["grant"].subject),
        Entry("redeem", "never made", "done", {"redemptions": [{"redemption_id": "nowhere"}]}),
        Entry("redeem", made["redeem"].key, "refused", {}),
        Entry("redeem", made["redeem"].key, "unanswered", {}, ("a code",) * 9),
        Entry("replace", "", "done", {}, subject="never lost"),
        Entry("replace", "", "refused", {}, subject=made["replace"].subject),
    ]
    for lie in lies:
        assert len(judge.losses(Record(entries=[lie]), owner)) == 1, lie
    assert len(judge.losses(Record(cheques={cheque: {"expired"}, "nowhere": {"spendable"}}), owner)) == 2
